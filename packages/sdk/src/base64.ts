// SPDX-License-Identifier: Apache-2.0
/** Base64 (RFC 4648, section 4) with what browsers and Node.js both have. */

const CHUNK = 8_192;

/** Bytes as base64, with padding. */
export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += CHUNK) {
    text += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  }
  return btoa(text);
}

/** The bytes of a base64 text. Throws a `DOMException` for what is none. */
export const fromBase64 = (text: string): Uint8Array =>
  Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
