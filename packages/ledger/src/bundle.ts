// SPDX-License-Identifier: Apache-2.0
/**
 * The bundle: everything an auditor needs besides the trust root, in one file of canonical JSON.
 *
 * ```
 * { "batches": [ base64 of a batch ... ],                            there only where batches are enclosed
 *   "envelope": text of the DSSE envelope, "format": "ctxmesh-bundle/v1",
 *   "headers": [ { "header": base64, "signature": base64 } ... ]     one per frontier head, in its order
 *   "proof": text of the tlog-proof@v1,
 *   "snapshot": { "leaves": [ { "leaf": text, "salt": base64(16 bytes) } ... ] } }
 * ```
 *
 * The envelope is kept as text, so that its exact bytes are what was signed and logged.
 */
import { canonicalJson, toBase64, utf8Decode, utf8Encode } from "@ctxmesh/codec";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { CanonicalReader } from "./bundle-reader.ts";
import { malformed, readBase64 } from "./read.ts";
import { SALT_BYTES } from "./snapshot.ts";
import type { SnapshotLeaf } from "./snapshot.ts";

const FORMAT = "ctxmesh-bundle/v1";
const SIGNATURE_BYTES = 64;

/** A batch header with its device signature, as they were received. */
export interface SignedHeader {
  readonly header: Uint8Array;
  readonly signature: Uint8Array;
}

/** A bundle in parts. */
export interface Bundle {
  readonly leaves: readonly SnapshotLeaf[];
  /** Exact envelope bytes. */
  readonly envelope: Uint8Array;
  /** Text of the tlog-proof. */
  readonly proof: string;
  /** The headers of the frontier heads, sorted by replica, then incarnation. */
  readonly headers: readonly SignedHeader[];
  /** Batches of the sealed chains, in any order, from which facts can be derived again. */
  readonly batches?: readonly Uint8Array[];
}

function assertSize(bytes: number): void {
  if (bytes > LIMITS.bundleBytes) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `bundle of ${String(bytes)} bytes is over LIMITS.bundleBytes (${String(LIMITS.bundleBytes)})`,
    );
  }
}

/** The bytes of a bundle file. Throws `LIMIT_EXCEEDED` over `LIMITS.bundleBytes`. */
export function encodeBundle(bundle: Bundle): Uint8Array {
  const text = canonicalJson({
    ...(bundle.batches === undefined ? {} : { batches: bundle.batches.map(toBase64) }),
    format: FORMAT,
    snapshot: {
      leaves: bundle.leaves.map(({ salt, leaf }) => ({ salt: toBase64(salt), leaf })),
    },
    envelope: utf8Decode(bundle.envelope),
    proof: bundle.proof,
    headers: bundle.headers.map(({ header, signature }) => ({
      header: toBase64(header),
      signature: toBase64(signature),
    })),
  });
  const bytes = utf8Encode(text);
  assertSize(bytes.length);
  return bytes;
}

/** The smallest batch: header, signature and one body. */
const MIN_BATCH_BYTES = 128;
const ANY_NUMBER = Number.POSITIVE_INFINITY;

function readBatches(reader: CanonicalReader): readonly Uint8Array[] {
  reader.expect('"batches":');
  const limit = LIMITS.bundleBytes / MIN_BATCH_BYTES;
  const batches = reader.array(limit, (i) =>
    readBase64(reader.string(), `bundle.batches[${String(i)}]`),
  );
  if (batches.length === 0) malformed("bundle.batches is empty");
  reader.expect(",");
  return batches;
}

function readHeader(reader: CanonicalReader, i: number): SignedHeader {
  const what = `bundle.headers[${String(i)}]`;
  reader.expect('{"header":');
  const header = readBase64(reader.string(), `${what}.header`);
  reader.expect(',"signature":');
  const signature = readBase64(reader.string(), `${what}.signature`, SIGNATURE_BYTES);
  reader.expect("}");
  return { header, signature };
}

function readLeaf(reader: CanonicalReader, i: number): SnapshotLeaf {
  reader.expect('{"leaf":');
  const leaf = reader.string();
  reader.expect(',"salt":');
  const salt = readBase64(reader.string(), `bundle.snapshot.leaves[${String(i)}].salt`, SALT_BYTES);
  reader.expect("}");
  return { salt, leaf };
}

/**
 * Parses an untrusted bundle file. Its grammar is fixed and its form canonical, so it is read from front to back, and
 * whatever is not what comes next is refused: other members, duplicates, other spellings, nesting, trailing bytes.
 * Throws `LIMIT_EXCEEDED` or `FORMAT_INVALID`.
 */
export function parseBundle(bytes: Uint8Array): Bundle {
  assertSize(bytes.length);
  const reader = new CanonicalReader(bytes, "bundle");
  reader.expect("{");
  const batches = reader.isNext('"batches":') ? readBatches(reader) : undefined;
  reader.expect('"envelope":');
  const envelope = utf8Encode(reader.string());
  reader.expect(`,"format":"${FORMAT}","headers":`);
  const headers = reader.array(LIMITS.frontierHeads, (i) => readHeader(reader, i));
  reader.expect(',"proof":');
  const proof = reader.string();
  reader.expect(',"snapshot":{"leaves":');
  const leaves = reader.array(ANY_NUMBER, (i) => readLeaf(reader, i));
  reader.expect("}}");
  reader.end();
  return { envelope, proof, leaves, headers, ...(batches === undefined ? {} : { batches }) };
}
