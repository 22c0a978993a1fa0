// SPDX-License-Identifier: Apache-2.0
import { readBounded } from "@ctxmesh/auditor";
import {
  DECISION_PREFIX,
  createFactProver,
  decisionDocument,
  encodeDecisionFile,
  encodeFactProof,
  parseBundle,
  parseDecision,
  parseDecisionFile,
} from "@ctxmesh/ledger";
import type { DecisionFile } from "@ctxmesh/ledger";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { writeWhole } from "../files.ts";
import { counted, createOutput, printable } from "../output.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh prove`. */
export interface ProveOptions {
  readonly bundle?: string;
  readonly socket?: string;
  readonly seal?: number;
  readonly out?: string;
  readonly decision?: string;
  readonly json?: boolean;
}

const usage = (message: string, remedy: string): MeshError =>
  new MeshError("USAGE", message, { remedy });

/** Where the bundle is: a file, or a hub. Throws `USAGE` for both. */
async function bundleBytes({ bundle, socket, seal }: ProveOptions): Promise<Uint8Array> {
  if (bundle === undefined) return withClient(socket, "hub", (client) => client.bundle(seal));
  if (seal === undefined && socket === undefined) {
    return readBounded("bundle", bundle, LIMITS.bundleBytes);
  }
  throw usage("a bundle file is one seal, and needs no hub", "leave out --seal and --socket");
}

/** A fact, and the file that its proof becomes. */
interface Wanted {
  readonly doc: string;
  readonly key: string;
  readonly out: string;
  readonly file: (proof: Uint8Array) => Uint8Array;
}

/** The fact that holds the decision of a file; the proof goes into the file. */
function wantedDecision(path: string): Wanted {
  const file: DecisionFile = parseDecisionFile(
    readBounded("decision", path, 2 * LIMITS.factProofBytes),
  );
  const { id, record } = parseDecision(file.envelope);
  return {
    doc: decisionDocument(record.device, record.counter),
    key: `${DECISION_PREFIX}${id}`,
    out: path,
    file: (proof) => encodeDecisionFile({ ...file, proof }),
  };
}

/** A file name for the proof of a key, in the current folder. */
const fileFor = (doc: string, key: string): string =>
  `${`${doc}-${key}`.replaceAll(/[^A-Za-z0-9._-]+/gu, "-").slice(0, 100)}.proof`;

function wanted(doc: string | undefined, key: string | undefined, options: ProveOptions): Wanted {
  const { decision, out } = options;
  if (decision !== undefined) {
    if (doc === undefined) return wantedDecision(decision);
    throw usage("--decision names the fact", "leave out DOC and KEY, or --decision");
  }
  if (doc === undefined || key === undefined) {
    throw usage("which fact?", "ctxmesh prove DOC KEY, or --decision FILE");
  }
  return { doc, key, out: out ?? fileFor(doc, key), file: (proof) => proof };
}

/** Cuts the proof of one key out of a bundle, and saves it. Throws `USAGE`, `NOT_FOUND`, and what reading the bundle throws. */
export async function runProve(
  docName: string | undefined,
  keyName: string | undefined,
  options: ProveOptions,
): Promise<void> {
  const { doc, key, out, file } = wanted(docName, keyName, options);
  const proof = createFactProver(parseBundle(await bundleBytes(options))).prove(doc, key);
  const bytes = encodeFactProof(proof);
  await writeWhole(out, file(bytes), {
    field: "--out",
    remedy: "name a file in a folder that exists and that you may write to",
  });
  const output = createOutput(options);
  const { length: candidates } = proof.facts;
  if (output.json) {
    await output.line(JSON.stringify({ doc, key, candidates, bytes: bytes.length, out }));
    return;
  }
  await output.line(
    `wrote ${out}: ${doc} ${printable(key)}, ${counted(candidates, "statement")}, proof of ${String(bytes.length)} bytes; check it: ctxmesh verify ${out} --trust root.json`,
  );
}
