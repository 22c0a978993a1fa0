// SPDX-License-Identifier: Apache-2.0
/** Raw keys as OpenSSL key objects. Importing is dear (0.1 to 0.4 ms), so every caller keeps the result. */
import { createPrivateKey, createPublicKey } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { MeshError } from "@ctxmesh/model";

/** OpenSSL's name of a primitive. */
export type NativeType = "ed25519" | "ml-dsa-44" | "ml-dsa-65";

function imported(type: NativeType, create: () => KeyObject): KeyObject {
  try {
    return create();
  } catch {
    // The cause is left out on purpose: nothing that touched key bytes goes into an error.
    throw new MeshError("KEY_INVALID", `OpenSSL refuses the ${type} key`, {
      remedy: "ML-DSA needs a Node 24 built with OpenSSL 3.5 or newer",
    });
  }
}

/** A raw public key as a key object. Throws `KEY_INVALID`. */
export const nativePublicKey = (type: NativeType, raw: Uint8Array): KeyObject =>
  imported(type, () =>
    createPublicKey({ key: Buffer.from(raw), format: "raw-public", asymmetricKeyType: type }),
  );

/** A 32-byte seed as a private key object. Throws `KEY_INVALID`. */
export const nativePrivateKey = (type: NativeType, seed: Uint8Array): KeyObject =>
  imported(type, () =>
    createPrivateKey({
      key: Buffer.from(seed),
      format: type === "ed25519" ? "raw-private" : "raw-seed",
      asymmetricKeyType: type,
    }),
  );

/** The raw public key of a key object, private or public. */
export const rawPublicKey = (key: KeyObject): Uint8Array =>
  new Uint8Array(
    (key.type === "private" ? createPublicKey(key) : key).export({ format: "raw-public" }),
  );

/** Throws `KEY_INVALID` unless `bytes` has exactly `length` bytes. */
export function assertLength(bytes: Uint8Array, length: number, what: string): void {
  if (bytes.length !== length) {
    throw new MeshError(
      "KEY_INVALID",
      `${what} has ${String(bytes.length)} bytes, not ${String(length)}`,
    );
  }
}
