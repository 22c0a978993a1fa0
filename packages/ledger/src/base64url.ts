// SPDX-License-Identifier: Apache-2.0
/** Bytes as JOSE writes them: base64url without padding (RFC 4648 section 5). */
import { fromBase64, toBase64 } from "@ctxmesh/codec";

/** Base64url without padding. */
export const toBase64Url = (bytes: Uint8Array): string =>
  toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/u, "");

/** Bytes of canonical base64url without padding. Throws `FORMAT_INVALID` for any other spelling of bytes. */
export function fromBase64Url(text: string): Uint8Array {
  const padded = text.padEnd(Math.ceil(text.length / 4) * 4, "=");
  return fromBase64(padded.replaceAll("-", "+").replaceAll("_", "/"));
}
