// SPDX-License-Identifier: Apache-2.0
/** The port behind which the key that protects a store is kept, and its form for keys in files and variables. */
import { createSecretKey } from "node:crypto";
import { MeshError } from "@ctxmesh/model";
import { KEY_BYTES, unwrapKey, wrapKey } from "./key-wrap.ts";

/**
 * Wraps and unwraps the store key with a key that is kept outside the store. Called when a vault
 * is opened and when keys are rotated, never on the path of a write.
 */
export interface KeyProvider {
  /** Names the kind and the place of the key for people, such as `file:/etc/ctxmesh/store.key`; 512 bytes of UTF-8 at most. */
  readonly id: string;
  /** `key` (32 bytes) in a form that only `unwrap` can read; 1,024 bytes at most. Throws `KEY_INVALID`, or `UNREACHABLE` when a device doesn't answer. */
  wrap(key: Uint8Array): Promise<Uint8Array>;
  /** The key that was wrapped, which the caller may overwrite. Throws `KEY_INVALID` when it was wrapped with another key, and what `wrap` throws. */
  unwrap(wrapped: Uint8Array): Promise<Uint8Array>;
}

/** A provider over 32 bytes in memory (AES-256 key wrap, RFC 3394). `read` fetches them anew for each call; they are overwritten after it. */
export function localKeyProvider(
  id: string,
  read: (use: "wrap" | "unwrap") => Promise<Uint8Array>,
): KeyProvider {
  return {
    id,
    async wrap(key) {
      const bytes = await read("wrap");
      const wrapped = wrapKey(createSecretKey(bytes), key);
      bytes.fill(0);
      return wrapped;
    },
    async unwrap(wrapped) {
      const bytes = await read("unwrap");
      const key = unwrapKey(createSecretKey(bytes), wrapped);
      bytes.fill(0);
      if (key !== undefined) return key;
      throw new MeshError("KEY_INVALID", `${id} is not the key that the store key is wrapped with`);
    },
  };
}

/** The text form of a key: 32 bytes as base64url without padding (RFC 4648, 5), and a newline. */
export function formatKeyText(key: Uint8Array): string {
  return `${Buffer.from(key).toString("base64url")}\n`;
}

/** The key in a text of {@link formatKeyText}, with or without the newline. Throws `KEY_INVALID`, naming `id` and never the text. */
export function parseKeyText(id: string, text: string): Uint8Array {
  const trimmed = text.replace(/\r?\n$/u, "");
  const key = Buffer.from(trimmed, "base64url");
  if (key.length === KEY_BYTES && key.toString("base64url") === trimmed) return key;
  throw new MeshError(
    "KEY_INVALID",
    `${id} does not hold a store key: 32 bytes as base64url, which are 43 characters`,
  );
}
