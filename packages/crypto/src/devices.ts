// SPDX-License-Identifier: Apache-2.0
/** Keys of devices: Ed25519, one signature for each batch. */
import { toHex } from "@ctxmesh/model";
import type { DeviceSigner, RandomSource, SignatureVerifier } from "@ctxmesh/model";
import type { Verify } from "./engine.ts";
import {
  PRIMITIVES,
  PRIMITIVE_SEED_BYTES,
  assertLength,
  primitiveKeyPair,
  primitiveVerifier,
} from "./primitives.ts";

/** Public keys kept as key objects by one device verifier: every writer of a large space. */
const CACHED_DEVICE_KEYS = 16_384;

/** A fresh 32-byte device seed. */
export function generateSeed(random: RandomSource): Uint8Array {
  const seed = random.bytes(PRIMITIVE_SEED_BYTES);
  assertLength(seed, PRIMITIVE_SEED_BYTES, "random seed");
  return seed;
}

/** Signs with a device key, given its 32-byte seed; the key object is made once. Throws `KEY_INVALID`. */
export function createDeviceSigner(seed: Uint8Array): DeviceSigner {
  const pair = primitiveKeyPair("ed25519", seed);
  return { publicKey: pair.publicKey, sign: (message) => pair.sign(message) };
}

/**
 * Verifies device signatures: one native verification per call. A key is checked when it is first
 * seen (about 1 ms) and then kept, least recently used out first; a weak key never verifies.
 */
export function createDeviceVerifier(): SignatureVerifier {
  const cache = new Map<string, Verify>();
  const verifierOf = (publicKey: Uint8Array): Verify | undefined => {
    const id = toHex(publicKey);
    let verify = cache.get(id);
    if (verify === undefined) {
      try {
        verify = primitiveVerifier("ed25519", publicKey, false);
      } catch {
        return undefined;
      }
      const [oldest] = cache.keys();
      if (cache.size >= CACHED_DEVICE_KEYS && oldest !== undefined) cache.delete(oldest);
    } else {
      cache.delete(id);
    }
    cache.set(id, verify);
    return verify;
  };
  const { publicKeyBytes } = PRIMITIVES.ed25519;
  return {
    verify: (publicKey, message, signature) =>
      publicKey.length === publicKeyBytes && verifierOf(publicKey)?.(message, signature) === true,
  };
}
