// SPDX-License-Identifier: Apache-2.0
/** Proofs of logging as text: C2SP tlog-proof@v1, without the `extra` line (nothing would authenticate it). */
import { toBase64 } from "@ctxmesh/codec";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { HASH_BYTES } from "./merkle.ts";
import { malformed, readBase64 } from "./read.ts";

const HEADER = "c2sp.org/tlog-proof@v1";
/** A tree of 2^53 leaves is the largest that can be named. */
const MAX_HASHES = 53;

/** A proof in parts; nothing of it is verified yet. */
export interface LogProof {
  /** Index of the entry, from 0. */
  readonly index: number;
  /** Inclusion proof, from the leaf's sibling up. */
  readonly hashes: readonly Uint8Array[];
  /** The checkpoint's text, verbatim. */
  readonly checkpoint: string;
}

/** The text of a proof. */
export const formatLogProof = ({ index, hashes, checkpoint }: LogProof): string =>
  `${HEADER}\nindex ${String(index)}\n${hashes.map((hash) => `${toBase64(hash)}\n`).join("")}\n${checkpoint}`;

/** Parses an untrusted proof. Throws `FORMAT_INVALID` or `LIMIT_EXCEEDED`. */
export function parseLogProof(text: string): LogProof {
  if (text.length > LIMITS.smallFileBytes) {
    throw new MeshError("LIMIT_EXCEEDED", `proof of ${String(text.length)} characters is too long`);
  }
  const end = text.indexOf("\n\n");
  if (end < 0) malformed("proof has no checkpoint");
  const [header, indexLine = "", ...encoded] = text.slice(0, end).split("\n");
  if (header !== HEADER) malformed(`proof does not start with ${HEADER}`);
  const digits = /^index (0|[1-9][0-9]{0,15})$/u.exec(indexLine)?.[1];
  const index = Number(digits);
  if (digits === undefined || !Number.isSafeInteger(index)) malformed("proof has no index line");
  if (encoded.length > MAX_HASHES) malformed("proof has more hashes than any tree is deep");
  const hashes = encoded.map((line) => readBase64(line, "proof hash", HASH_BYTES));
  return { index, hashes, checkpoint: text.slice(end + 2) };
}
