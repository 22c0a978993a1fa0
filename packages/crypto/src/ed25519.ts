// SPDX-License-Identifier: Apache-2.0
/**
 * Ed25519 (RFC 8032), strict. Verifiers in the field disagree about hostile keys and signatures, so
 * only what all of them accept counts as valid:
 *
 * - a public key is canonical, not of small order and torsion-free, checked once when it is loaded;
 * - S < L (OpenSSL checks it);
 * - R has no torsion. OpenSSL recomputes R = [S]B - [k]A and compares encodings; with a torsion-free
 *   A that point is torsion-free and canonically encoded, so only the identity is left to refuse.
 */
import { sign, verify } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { MeshError, toHex } from "@ctxmesh/model";
import type { DeviceSigner, RandomSource, SignatureVerifier } from "@ctxmesh/model";
import { Point, hashes, verify as nobleVerify } from "@noble/ed25519";
import { sha512 } from "./hash.ts";
import { assertLength, nativePrivateKey, nativePublicKey, rawPublicKey } from "./native.ts";

/** Lengths in bytes. */
export const ED25519_SEED_BYTES = 32;
export const ED25519_PUBLIC_KEY_BYTES = 32;
export const ED25519_SIGNATURE_BYTES = 64;

/** Public keys kept as key objects by one device verifier: every writer of a large space. */
const CACHED_DEVICE_KEYS = 16_384;

/** Throws `KEY_INVALID` unless `publicKey` is 32 bytes, canonical, torsion-free and not of small order. */
export function assertEd25519PublicKey(publicKey: Uint8Array): void {
  assertLength(publicKey, ED25519_PUBLIC_KEY_BYTES, "Ed25519 public key");
  let strong = false;
  try {
    const point = Point.fromBytes(publicKey, false);
    strong = !point.isSmallOrder() && point.isTorsionFree();
  } catch {
    strong = false;
  }
  if (!strong) {
    throw new MeshError(
      "KEY_INVALID",
      "Ed25519 public key is not a canonical point of the prime-order group",
    );
  }
}

/** R = (0, 1), the one small-order encoding that can pass under a torsion-free key. */
function hasIdentityR(signature: Uint8Array): boolean {
  if (signature[0] !== 1) return false;
  for (let i = 1; i < 32; i++) if (signature[i] !== 0) return false;
  return true;
}

const verifyNative = (key: KeyObject, message: Uint8Array, signature: Uint8Array): boolean =>
  !hasIdentityR(signature) && verify(null, message, key, signature);

function verifyNoble(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  hashes.sha512 = sha512;
  return nobleVerify(signature, message, publicKey, { zip215: false });
}

/** The public key of a 32-byte seed. Throws `KEY_INVALID`. */
export function ed25519PublicKey(seed: Uint8Array): Uint8Array {
  assertLength(seed, ED25519_SEED_BYTES, "Ed25519 seed");
  return rawPublicKey(nativePrivateKey("ed25519", seed));
}

/** A signing function for a 32-byte seed, native. Throws `KEY_INVALID`. */
export function ed25519Signer(seed: Uint8Array): (message: Uint8Array) => Uint8Array {
  assertLength(seed, ED25519_SEED_BYTES, "Ed25519 seed");
  const key = nativePrivateKey("ed25519", seed);
  return (message) => new Uint8Array(sign(null, message, key));
}

/** A verifying function for one key: OpenSSL and noble must both accept. Throws `KEY_INVALID`. */
export function ed25519Verifier(
  publicKey: Uint8Array,
): (message: Uint8Array, signature: Uint8Array) => boolean {
  assertEd25519PublicKey(publicKey);
  const raw = publicKey.slice();
  const key = nativePublicKey("ed25519", raw);
  return (message, signature) => {
    if (signature.length !== ED25519_SIGNATURE_BYTES) return false;
    const native = verifyNative(key, message, signature);
    const noble = verifyNoble(raw, message, signature);
    return native && noble;
  };
}

/** A fresh 32-byte device seed. */
export function generateSeed(random: RandomSource): Uint8Array {
  const seed = random.bytes(ED25519_SEED_BYTES);
  assertLength(seed, ED25519_SEED_BYTES, "random seed");
  return seed;
}

/** Signs with a device key, given its 32-byte seed; the key object is made once. Throws `KEY_INVALID`. */
export const createDeviceSigner = (seed: Uint8Array): DeviceSigner => ({
  publicKey: ed25519PublicKey(seed),
  sign: ed25519Signer(seed),
});

/**
 * Verifies device signatures: one native verification per call. A key is checked when it is first
 * seen (about 1 ms) and then kept, least recently used out first; a weak key never verifies.
 */
export function createDeviceVerifier(): SignatureVerifier {
  const cache = new Map<string, KeyObject>();
  const keyObject = (publicKey: Uint8Array): KeyObject | undefined => {
    const id = toHex(publicKey);
    let key = cache.get(id);
    if (key === undefined) {
      try {
        assertEd25519PublicKey(publicKey);
        key = nativePublicKey("ed25519", publicKey);
      } catch {
        return undefined;
      }
      const [oldest] = cache.keys();
      if (cache.size >= CACHED_DEVICE_KEYS && oldest !== undefined) cache.delete(oldest);
    } else {
      cache.delete(id);
    }
    cache.set(id, key);
    return key;
  };
  return {
    verify(publicKey, message, signature) {
      if (publicKey.length !== ED25519_PUBLIC_KEY_BYTES) return false;
      if (signature.length !== ED25519_SIGNATURE_BYTES) return false;
      const key = keyObject(publicKey);
      return key !== undefined && verifyNative(key, message, signature);
    },
  };
}
