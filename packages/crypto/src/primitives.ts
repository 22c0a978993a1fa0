// SPDX-License-Identifier: Apache-2.0
/**
 * Ed25519 (RFC 8032), strict, and ML-DSA (FIPS 204), pure, keys as 32-byte seeds. OpenSSL signs and verifies where it
 * can, noble where it can't; with a cross-check both have to accept.
 *
 * Ed25519 verifiers in the field disagree about hostile keys and signatures, so only what all of them accept counts
 * as valid, whichever implementation looks:
 *
 * - a public key is canonical, not of small order and torsion-free, checked once when it is loaded;
 * - S < L;
 * - R is canonical, not of small order and torsion-free.
 */
import { MeshError } from "@ctxmesh/model";
import type { KeyPair, PrimitiveName, Verify } from "./engine.ts";
import { nativeEngine } from "./native.ts";
import { isStrongPoint, portableEngine } from "./portable.ts";

/** Bytes of the seed of every primitive. */
export const PRIMITIVE_SEED_BYTES = 32;

/** Lengths in bytes. */
export const PRIMITIVES: Readonly<
  Record<PrimitiveName, { readonly publicKeyBytes: number; readonly signatureBytes: number }>
> = {
  ed25519: { publicKeyBytes: 32, signatureBytes: 64 },
  "ml-dsa-44": { publicKeyBytes: 1312, signatureBytes: 2420 },
  "ml-dsa-65": { publicKeyBytes: 1952, signatureBytes: 3309 },
};

/** Throws `KEY_INVALID` unless `bytes` has exactly `length` bytes. */
export function assertLength(bytes: Uint8Array, length: number, what: string): void {
  if (bytes.length !== length) {
    throw new MeshError(
      "KEY_INVALID",
      `${what} has ${String(bytes.length)} bytes, not ${String(length)}`,
    );
  }
}

/** Throws `KEY_INVALID` for a public key of another length or, for Ed25519, one outside the prime-order group (about 1 ms). */
export function assertPrimitiveKey(name: PrimitiveName, publicKey: Uint8Array): void {
  assertLength(publicKey, PRIMITIVES[name].publicKeyBytes, `${name} public key`);
  if (name === "ed25519" && !isStrongPoint(publicKey)) {
    throw new MeshError(
      "KEY_INVALID",
      "Ed25519 public key is not a canonical point of the prime-order group",
    );
  }
}

/** The key pair of a 32-byte seed. Throws `KEY_INVALID`. */
export function primitiveKeyPair(name: PrimitiveName, seed: Uint8Array): KeyPair {
  assertLength(seed, PRIMITIVE_SEED_BYTES, `${name} seed`);
  return (nativeEngine(name) ?? portableEngine).keyPair(name, seed);
}

/**
 * A verifying function: OpenSSL's where there is one, else noble's; with `crossCheck` both are asked, always, and both
 * have to accept. False for a signature of another length. Throws `KEY_INVALID`.
 */
export function primitiveVerifier(
  name: PrimitiveName,
  publicKey: Uint8Array,
  crossCheck: boolean,
): Verify {
  assertPrimitiveKey(name, publicKey);
  const raw = publicKey.slice();
  const { signatureBytes } = PRIMITIVES[name];
  const native = nativeEngine(name)?.verifier(name, raw);
  const portable =
    native === undefined || crossCheck ? portableEngine.verifier(name, raw) : undefined;
  return (message, signature, context) => {
    if (signature.length !== signatureBytes) return false;
    const first = native?.(message, signature, context) ?? true;
    const second = portable?.(message, signature, context) ?? true;
    return first && second;
  };
}
