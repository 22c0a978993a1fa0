// SPDX-License-Identifier: Apache-2.0
/** AES-256 key wrap (RFC 3394, NIST SP 800-38F "KW"): 32 bytes of key become 40, and nothing else unwraps. */
import type { KeyObject } from "node:crypto";
import { createCipheriv, createDecipheriv } from "node:crypto";

/** Bytes of every key here: AES-256. */
export const KEY_BYTES = 32;
/** Bytes of a wrapped key. */
export const WRAPPED_BYTES = 40;

const ALGORITHM = "id-aes256-wrap";
const MIN_WRAPPED_BYTES = 24;
/** RFC 3394, 2.2.3.1. */
const INITIAL_VALUE: Uint8Array = new Uint8Array(8).fill(0xa6);

/** The bytes of `key` wrapped by `wrappingKey` (32 bytes): 8 longer than `key`, which has a multiple of 8 bytes, 16 at least. */
export function wrapKey(wrappingKey: KeyObject, key: Uint8Array): Uint8Array {
  const cipher = createCipheriv(ALGORITHM, wrappingKey, INITIAL_VALUE);
  const wrapped = cipher.update(key);
  cipher.final();
  return wrapped;
}

/** The key that was wrapped, which the caller overwrites after use; undefined when `wrapped` was not made by this wrapping key. */
export function unwrapKey(wrappingKey: KeyObject, wrapped: Uint8Array): Buffer | undefined {
  // RFC 3394, 2: two blocks at least. OpenSSL gives nothing back for nothing, without an error.
  if (wrapped.length < MIN_WRAPPED_BYTES) return undefined;
  try {
    const decipher = createDecipheriv(ALGORITHM, wrappingKey, INITIAL_VALUE);
    const key = decipher.update(wrapped);
    decipher.final();
    return key;
  } catch {
    return undefined;
  }
}
