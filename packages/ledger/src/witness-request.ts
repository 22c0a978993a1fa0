// SPDX-License-Identifier: Apache-2.0
/**
 * The request of C2SP tlog-witness, `POST <prefix>/add-checkpoint`:
 *
 * ```
 * old <size>\n
 * <base64 hash>\n ...        consistency proof from that size, 63 hashes at most; none from size 0
 * \n
 * <checkpoint>
 * ```
 */
import { toBase64, utf8Decode } from "@ctxmesh/codec";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { HASH_BYTES } from "./merkle.ts";
import { malformed, readBase64 } from "./read.ts";

/** C2SP tlog-witness. */
const MAX_HASHES = 63;

/** A request in parts; nothing of it is verified yet. */
export interface AddCheckpoint {
  /** Size of the tree that the witness cosigned last. */
  readonly oldSize: number;
  /** Consistency proof from that size. */
  readonly proof: readonly Uint8Array[];
  /** Text of the checkpoint. */
  readonly checkpoint: string;
}

/** The text of a request. */
export const formatAddCheckpoint = ({ oldSize, proof, checkpoint }: AddCheckpoint): string =>
  `old ${String(oldSize)}\n${proof.map((hash) => `${toBase64(hash)}\n`).join("")}\n${checkpoint}`;

/** Parses an untrusted request. Throws `LIMIT_EXCEEDED` over `LIMITS.checkpointBytes`, `FORMAT_INVALID`. */
export function parseAddCheckpoint(body: Uint8Array): AddCheckpoint {
  if (body.length > LIMITS.checkpointBytes) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `request of ${String(body.length)} bytes is over LIMITS.checkpointBytes`,
    );
  }
  const text = utf8Decode(body);
  const end = text.indexOf("\n\n");
  if (end < 0) malformed("request has no checkpoint");
  const [oldLine = "", ...encoded] = text.slice(0, end).split("\n");
  const digits = /^old (0|[1-9][0-9]{0,15})$/u.exec(oldLine)?.[1];
  const oldSize = Number(digits);
  if (digits === undefined || !Number.isSafeInteger(oldSize)) malformed("request has no old size");
  if (encoded.length > MAX_HASHES) malformed("request has more than 63 hashes");
  const proof = encoded.map((line) => readBase64(line, "proof hash", HASH_BYTES));
  return { oldSize, proof, checkpoint: text.slice(end + 2) };
}

/** Media type of the size with which a witness answers a wrong old size. */
export const TREE_SIZE_MEDIA_TYPE = "text/x.tlog.size";

/** Parses the body of such an answer: the size that the witness cosigned last. Throws `FORMAT_INVALID`. */
export function parseTreeSize(body: string): number {
  const digits = /^(0|[1-9][0-9]{0,15})\n$/u.exec(body)?.[1];
  const size = Number(digits);
  if (digits === undefined || !Number.isSafeInteger(size)) malformed("answer has no tree size");
  return size;
}
