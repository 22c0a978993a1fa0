// SPDX-License-Identifier: Apache-2.0
/**
 * Stands in the place of `native.ts` in bundles for pages (the field `browser` of package.json): hashes by noble, since those of
 * WebCrypto can't be had at once, and no engine, so that signatures are made by `portable.ts`.
 */
// oxlint-disable-next-line import/extensions -- the export path of the package ends in .js
import { sha256 as nobleSha256, sha512 as nobleSha512 } from "@noble/hashes/sha2.js";
import { toHex } from "@ctxmesh/model";
import type { Engine, PrimitiveName } from "./engine.ts";

/** SHA-256 (FIPS 180-4) of the concatenation of `parts`: 32 bytes. */
export function sha256(...parts: Uint8Array[]): Uint8Array {
  const digest = nobleSha256.create();
  for (const part of parts) digest.update(part);
  return digest.digest();
}

/** SHA-256 of a text's UTF-8, hex. */
export const sha256Hex = (text: string): string => toHex(sha256(new TextEncoder().encode(text)));

/** SHA-512 (FIPS 180-4) of `bytes`: 64 bytes. */
export const sha512 = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => nobleSha512(bytes);

/** None. */
export const nativeEngine = (_name: PrimitiveName): Engine | undefined => undefined;
