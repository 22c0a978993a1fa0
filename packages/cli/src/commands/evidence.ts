// SPDX-License-Identifier: Apache-2.0
/**
 * `ctxmesh evidence`: proofs that a device signed two histories. The file is JSON:
 *
 * ```
 * {"format": "ctxmesh-evidence/v1", "space": <64 hex digits>, "proofs": [<CBOR proof, base64>, ...]}
 * ```
 */
import { fromBase64 } from "@ctxmesh/codec";
import { createDeviceVerifier } from "@ctxmesh/crypto";
import { LIMITS, MeshError, parseSpaceId, toMeshError } from "@ctxmesh/model";
import type { EvidenceReport } from "@ctxmesh/model";
import { verifyProof } from "@ctxmesh/replica";
import type { Fork } from "@ctxmesh/replica";
import { readBoundedFile, writeWhole } from "../files.ts";
import { createOutput, shortId } from "../output.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh evidence`. */
export interface EvidenceOptions {
  readonly socket?: string;
  readonly out?: string;
  readonly json?: boolean;
}

/** Options of `ctxmesh evidence verify`. */
export interface EvidenceVerifyOptions {
  readonly json?: boolean;
}

const FORMAT = "ctxmesh-evidence/v1";
/** A proof has two headers of a few hundred bytes; a file of `LIMITS.proofs` of them is far below this. */
const MAX_FILE_BYTES = LIMITS.bundleBytes;

const describe = (fork: {
  readonly device: string;
  readonly incarnation: string;
  readonly seq: number;
}): string =>
  `device ${shortId(fork.device)} signed two histories of its chain ${shortId(fork.incarnation)}: nothing from batch ${String(fork.seq)} on counts`;

/** Lists the forks that a daemon has proof of; with `--out` saves the proofs. Throws `NOT_FOUND` when there is nothing to save. */
export async function runEvidence(options: EvidenceOptions): Promise<void> {
  const { out } = options;
  const { space, evidence } = await withClient(options.socket, "agent", async (client) => ({
    space: (await client.membership()).space,
    evidence: await client.evidence(),
  }));
  if (out !== undefined) await save(out, space, evidence);
  const output = createOutput(options);
  if (output.json) {
    await output.line(JSON.stringify({ space, evidence, ...(out === undefined ? {} : { out }) }));
    return;
  }
  if (evidence.length === 0) await output.line("no fork is known");
  for (const fork of evidence) await output.line(describe(fork));
  if (out !== undefined) {
    await output.line(`wrote ${out}; check it: ctxmesh evidence verify ${out}`);
  }
}

async function save(
  out: string,
  space: string,
  evidence: readonly EvidenceReport[],
): Promise<void> {
  if (evidence.length === 0) {
    throw new MeshError("NOT_FOUND", "no fork is known to the daemon, so there is nothing to save");
  }
  const file = { format: FORMAT, space, proofs: evidence.map(({ proof }) => proof) };
  await writeWhole(out, `${JSON.stringify(file, undefined, 2)}\n`, {
    field: "--out",
    remedy: "name a folder that exists and that you may write to",
  });
}

/** Verifies a file of proofs with nothing but itself. Throws `FORMAT_INVALID`, `SIGNATURE_INVALID`, `POLICY_REFUSED`, `FILE_UNAVAILABLE`, `LIMIT_EXCEEDED`. */
export async function verifyEvidence(file: string, options: EvidenceVerifyOptions): Promise<void> {
  const text = await readBoundedFile(file, "evidence", "FILE_UNAVAILABLE", MAX_FILE_BYTES);
  const { space, forks } = parseEvidence(text, file);
  const output = createOutput(options);
  const found = forks.map(({ replica, incarnation, seq }) => ({
    device: replica,
    incarnation,
    seq,
  }));
  if (output.json) {
    await output.line(JSON.stringify({ valid: true, space, forks: found }));
    return;
  }
  for (const fork of found) await output.line(`proven: ${describe(fork)}`);
  await output.line(`space ${space}; the devices, in full:`);
  for (const device of new Set(found.map((fork) => fork.device))) await output.line(`  ${device}`);
}

/** Parses and verifies the text of an evidence file. */
function parseEvidence(
  text: string,
  file: string,
): { readonly space: string; readonly forks: readonly Fork[] } {
  const wrong = (problem: string, cause?: unknown): MeshError =>
    new MeshError("FORMAT_INVALID", `${file}: ${problem}`, {
      remedy: "get it again from ctxmesh evidence --out",
      cause,
    });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw wrong("is not JSON", error);
  }
  if (typeof value !== "object" || value === null) throw wrong("is not an object");
  const { format, space, proofs, ...rest } = value as Readonly<Record<string, unknown>>;
  if (format !== FORMAT) throw wrong(`format is not ${FORMAT}`);
  if (Object.keys(rest).length > 0) throw wrong("must have exactly: format, space, proofs");
  if (typeof space !== "string") throw wrong("space is not text");
  if (!Array.isArray(proofs) || proofs.length === 0 || proofs.length > LIMITS.proofs) {
    throw wrong(`proofs is not a list of 1 to ${String(LIMITS.proofs)}`);
  }
  const verifier = createDeviceVerifier();
  const forks = proofs.map((proof: unknown, index) => {
    const name = `proofs[${String(index)}]`;
    if (typeof proof !== "string") throw wrong(`${name} is not text`);
    try {
      return verifyProof(fromBase64(proof), parseSpaceId(space), verifier);
    } catch (error) {
      const { code, message } = toMeshError(error);
      throw new MeshError(code, `${file}: ${name}: ${message}`, { cause: error });
    }
  });
  return { space, forks };
}
