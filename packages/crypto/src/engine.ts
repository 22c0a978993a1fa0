// SPDX-License-Identifier: Apache-2.0
/** What an implementation of the signature primitives does. Lengths are checked before it is asked (`primitives.ts`). */

/** A primitive, by the name that OpenSSL has for it. */
export type PrimitiveName = "ed25519" | "ml-dsa-44" | "ml-dsa-65";

/** A key that signs. The context string is ML-DSA's (FIPS 204); Ed25519 has none. */
export interface KeyPair {
  /** Raw public key. */
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array, context?: Uint8Array): Uint8Array;
}

/** Whether a signature of the right length is one of the key over message and context. */
export type Verify = (message: Uint8Array, signature: Uint8Array, context?: Uint8Array) => boolean;

/** An implementation. Both functions throw `KEY_INVALID` for what is no key. */
export interface Engine {
  /** The key pair of a 32-byte seed (RFC 8032, FIPS 204). ML-DSA signatures are hedged. */
  keyPair(name: PrimitiveName, seed: Uint8Array): KeyPair;
  /** Keeps `publicKey`, so the caller hands over a copy. Ed25519 keys have passed `assertEd25519PublicKey`. */
  verifier(name: PrimitiveName, publicKey: Uint8Array): Verify;
}
