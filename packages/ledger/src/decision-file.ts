// SPDX-License-Identifier: Apache-2.0
/**
 * A decision as a file, with what makes it hybrid where there is something, as canonical JSON:
 *
 * ```
 * { "batch": null | { "envelope": text of a batch seal, "hashes": [ base64(32) ... ], "index": uint },
 *   "envelope": text of the decision's DSSE envelope, "format": "ctxmesh-decision/v1",
 *   "proof": null | base64 of a fact proof of the fact that holds the decision }
 * ```
 */
import {
  canonicalJson,
  fromBase64,
  parseCanonicalJson,
  toBase64,
  utf8Decode,
  utf8Encode,
} from "@ctxmesh/codec";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import type { BatchPosition } from "./batch-seal.ts";
import { HASH_BYTES } from "./merkle.ts";
import { malformed, readArray, readBase64, readInteger, readMembers, readText } from "./read.ts";

const FORMAT = "ctxmesh-decision/v1";
const MAX_PATH = 53;

/** A decision file in parts. */
export interface DecisionFile {
  /** Exact bytes of the decision's envelope. */
  readonly envelope: Uint8Array;
  /** Its place in a batch, and the batch seal's envelope. */
  readonly batch?: BatchPosition & { readonly envelope: Uint8Array };
  /** Bytes of a fact proof. */
  readonly proof?: Uint8Array;
}

/** The bytes of a decision file. */
export function encodeDecisionFile({ envelope, batch, proof }: DecisionFile): Uint8Array {
  const text = canonicalJson({
    format: FORMAT,
    envelope: utf8Decode(envelope),
    batch:
      batch === undefined
        ? null
        : {
            envelope: utf8Decode(batch.envelope),
            index: batch.index,
            hashes: batch.hashes.map(toBase64),
          },
    proof: proof === undefined ? null : toBase64(proof),
  });
  return utf8Encode(text);
}

const BEGIN = utf8Encode('{"batch":');

/** Whether a file is meant as a decision file: canonical JSON has its members in order of name. */
export const isDecisionFile = (bytes: Uint8Array): boolean =>
  BEGIN.every((byte, i) => byte === bytes[i]);

function readBatch(value: JsonValue): BatchPosition & { readonly envelope: Uint8Array } {
  const batch = readMembers(value, ["envelope", "hashes", "index"], "decision file batch");
  return {
    envelope: utf8Encode(readText(batch.envelope, "decision file batch.envelope")),
    index: readInteger(batch.index, 0, "decision file batch.index"),
    hashes: readArray(batch.hashes, MAX_PATH, "decision file batch.hashes").map((item) =>
      readBase64(item, "decision file batch.hashes", HASH_BYTES),
    ),
  };
}

/** Parses an untrusted decision file. Throws `LIMIT_EXCEEDED`, `FORMAT_INVALID` or `INPUT_INVALID`. */
export function parseDecisionFile(bytes: Uint8Array): DecisionFile {
  if (bytes.length > 2 * LIMITS.factProofBytes) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `decision file of ${String(bytes.length)} bytes is too long`,
    );
  }
  const value = parseCanonicalJson(utf8Decode(bytes), "decision file");
  const file = readMembers(value, ["batch", "envelope", "format", "proof"], "decision file");
  if (file.format !== FORMAT) malformed(`decision file format is not ${FORMAT}`);
  return {
    envelope: utf8Encode(readText(file.envelope, "decision file envelope")),
    ...(file.batch === null ? {} : { batch: readBatch(file.batch) }),
    ...(file.proof === null
      ? {}
      : { proof: fromBase64(readText(file.proof, "decision file proof")) }),
  };
}
