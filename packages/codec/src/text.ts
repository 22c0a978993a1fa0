// SPDX-License-Identifier: Apache-2.0
/** Base64 and UTF-8 for text formats. */
import { MeshError } from "@ctxmesh/model";

/** Standard base64 with padding (RFC 4648 section 4). */
export const toBase64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");

/** Bytes of canonical standard base64. Throws `FORMAT_INVALID` for any other spelling. */
export function fromBase64(text: string): Uint8Array {
  const bytes = new Uint8Array(Buffer.from(text, "base64"));
  if (toBase64(bytes) !== text) {
    throw new MeshError("FORMAT_INVALID", "not canonical base64 (RFC 4648 section 4, padded)");
  }
  return bytes;
}

/** UTF-8 bytes of a string. */
export const utf8Encode = (text: string): Uint8Array => new TextEncoder().encode(text);

const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The string of UTF-8 bytes. Throws `FORMAT_INVALID` for anything ill-formed. */
export function utf8Decode(bytes: Uint8Array): string {
  try {
    return STRICT_UTF8.decode(bytes);
  } catch (error) {
    throw new MeshError("FORMAT_INVALID", "not well-formed UTF-8", { cause: error });
  }
}
