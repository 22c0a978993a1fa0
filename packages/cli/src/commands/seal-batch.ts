// SPDX-License-Identifier: Apache-2.0
import { readBounded } from "@ctxmesh/auditor";
import { createSigner } from "@ctxmesh/crypto";
import { encodeDecisionFile, parseDecision, parseDecisionFile, sealBatch } from "@ctxmesh/ledger";
import type { DecisionFile } from "@ctxmesh/ledger";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { readKey, writeWhole } from "../files.ts";
import { counted, createOutput } from "../output.ts";

/** Options of `ctxmesh seal-batch`. */
export interface SealBatchOptions {
  readonly key: string;
  readonly json?: boolean;
}

function readDecisionFile(path: string): DecisionFile {
  const file = parseDecisionFile(readBounded("decision", path, LIMITS.factProofBytes));
  parseDecision(file.envelope);
  return file;
}

/** Seals decision files with one hybrid signature, and puts each one's place in the batch into its file. Throws `INPUT_INVALID` for a file that has one. */
export async function runSealBatch(
  paths: readonly string[],
  options: SealBatchOptions,
): Promise<void> {
  const files = paths.map(readDecisionFile);
  const sealed = files.findIndex(({ batch }) => batch !== undefined);
  if (sealed >= 0) {
    throw new MeshError("INPUT_INVALID", `${paths[sealed] ?? ""} is in a batch already`);
  }
  const signer = createSigner(await readKey(options.key, "ML-DSA-65-Ed25519"));
  const statements = files.map(({ envelope }) => parseDecision(envelope).envelope);
  const { envelope, positions } = sealBatch(statements, signer, { sealedAt: Date.now() });
  for (const [i, path] of paths.entries()) {
    const position = positions[i];
    const file = files[i];
    if (position === undefined || file === undefined) continue;
    await writeWhole(path, encodeDecisionFile({ ...file, batch: { ...position, envelope } }), {
      field: "files",
      remedy: "run this again for the files that are not in a batch yet",
    });
  }
  const output = createOutput(options);
  await output.line(
    output.json
      ? JSON.stringify({ count: paths.length, keyid: signer.key.keyid })
      : `sealed ${counted(paths.length, "decision")} with ${signer.key.alg} ${signer.key.keyid}`,
  );
}
