// SPDX-License-Identifier: Apache-2.0
import { createHash, hash } from "node:crypto";

/** SHA-256 (FIPS 180-4) of the concatenation of `parts`: 32 bytes. */
export function sha256(...parts: Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined)
    return new Uint8Array(hash("sha256", only, "buffer"));
  const digest = createHash("sha256");
  for (const part of parts) digest.update(part);
  return new Uint8Array(digest.digest());
}

/** SHA-256 of a text's UTF-8, hex: without a buffer in between, of which facts that are answered many times a second would leave many. */
export const sha256Hex = (text: string): string => hash("sha256", text, "hex");

/** SHA-512 (FIPS 180-4) of `bytes`: 64 bytes. */
export const sha512 = (bytes: Uint8Array): Uint8Array<ArrayBuffer> =>
  new Uint8Array(hash("sha512", bytes, "buffer"));
