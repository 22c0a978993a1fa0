// SPDX-License-Identifier: Apache-2.0
/** Stored bytes that are not encrypted: 0x00 || bytes. */
import type { Vault } from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";
import { PLAIN, SEALED } from "./data-key.ts";

/**
 * A vault that encrypts nothing: it marks bytes as plain, so that encryption can be switched on
 * later. `open` throws `KEY_INVALID` for bytes that are encrypted.
 */
export function createPlainVault(): Vault {
  return {
    seal(_scope, _place, plain) {
      const marked = new Uint8Array(1 + plain.length);
      marked[0] = PLAIN;
      marked.set(plain, 1);
      return marked;
    },
    open(_scope, _place, sealed) {
      if (sealed[0] === PLAIN) return plainBytes(sealed);
      if (sealed[0] === SEALED) {
        throw new MeshError("KEY_INVALID", "the store is encrypted, and no key is configured", {
          remedy: "configure the key that the store was written with",
        });
      }
      throw new MeshError("STORE_CORRUPT", `stored bytes of unknown version ${String(sealed[0])}`);
    },
    takeChanges: () => [],
  };
}

/** The bytes after the mark, as a view. */
export function plainBytes(marked: Uint8Array): Uint8Array {
  return new Uint8Array(marked.buffer, marked.byteOffset + 1, marked.length - 1);
}
