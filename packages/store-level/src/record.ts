// SPDX-License-Identifier: Apache-2.0
/**
 * A record on disk: `hash || payload`, where `hash` is the first 16 bytes of
 * SHA-256(key length as 32 bits big endian || key || payload). LevelDB as it is built here does not
 * check its block checksums on reads, so each record carries its own; the key is part of it so that
 * a record that turns up under another key is noticed as well.
 */
import { hash } from "node:crypto";
import { MeshError, toHex } from "@ctxmesh/model";

const HASH_BYTES = 16;
const LENGTH_BYTES = 4;
/** Bytes of a key that go into an error message. */
const SHOWN_KEY_BYTES = 16;

/** The record to store under `key`. */
export function encodeRecord(key: Uint8Array, payload: Uint8Array): Uint8Array {
  const record = new Uint8Array(HASH_BYTES + payload.length);
  record.set(recordHash(key, payload), 0);
  record.set(payload, HASH_BYTES);
  return record;
}

/** The payload of a record, as a view of it. Throws `STORE_CORRUPT`, naming the key's first bytes, when the hash differs. */
export function decodeRecord(key: Uint8Array, record: Uint8Array): Uint8Array {
  // A plain view: what LevelDB hands out is a Buffer, whose slice() would not copy.
  const payload = new Uint8Array(
    record.buffer,
    record.byteOffset + Math.min(HASH_BYTES, record.length),
    Math.max(0, record.length - HASH_BYTES),
  );
  if (Buffer.compare(record.subarray(0, HASH_BYTES), recordHash(key, payload)) !== 0) {
    const rest = key.length > SHOWN_KEY_BYTES ? "..." : "";
    throw new MeshError(
      "STORE_CORRUPT",
      `the record under key ${toHex(key.subarray(0, SHOWN_KEY_BYTES))}${rest} (hex) does not match its hash`,
    );
  }
  return payload;
}

function recordHash(key: Uint8Array, payload: Uint8Array): Uint8Array {
  const input = Buffer.allocUnsafe(LENGTH_BYTES + key.length + payload.length);
  input.writeUInt32BE(key.length, 0);
  input.set(key, LENGTH_BYTES);
  input.set(payload, LENGTH_BYTES + key.length);
  return hash("sha256", input, "buffer").subarray(0, HASH_BYTES);
}
