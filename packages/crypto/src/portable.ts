// SPDX-License-Identifier: Apache-2.0
/**
 * The primitives in JavaScript, by noble: for where there is no OpenSSL, and as the second opinion of a verifier.
 * It does not claim constant time, so it signs only where nothing else does.
 */
import { Point, getPublicKey, hashes, sign, verify } from "@noble/ed25519";
// oxlint-disable-next-line import/extensions -- the export path of the package ends in .js
import { ml_dsa44, ml_dsa65 } from "@noble/post-quantum/ml-dsa.js";
import type { Engine, Verify } from "./engine.ts";
import { sha512 } from "./native.ts";

const ML_DSA = { "ml-dsa-44": ml_dsa44, "ml-dsa-65": ml_dsa65 } as const;

/** Whether 32 bytes encode, canonically, a point of the prime-order group other than its identity. */
export function isStrongPoint(bytes: Uint8Array): boolean {
  try {
    const point = Point.fromBytes(bytes, false);
    return !point.isSmallOrder() && point.isTorsionFree();
  } catch {
    return false;
  }
}

/** noble compares both sides after clearing the cofactor, so an R with torsion has to be refused before. */
const ed25519Verifier =
  (publicKey: Uint8Array): Verify =>
  (message, signature) => {
    hashes.sha512 = sha512;
    return (
      isStrongPoint(signature.subarray(0, 32)) &&
      verify(signature, message, publicKey, { zip215: false })
    );
  };

/** noble. */
export const portableEngine: Engine = {
  keyPair(name, seed) {
    const kept = seed.slice();
    if (name === "ed25519") {
      hashes.sha512 = sha512;
      return { publicKey: getPublicKey(kept), sign: (message) => sign(message, kept) };
    }
    const { publicKey, secretKey } = ML_DSA[name].keygen(kept);
    return {
      publicKey,
      sign: (message, context) =>
        ML_DSA[name].sign(message, secretKey, context === undefined ? {} : { context }),
    };
  },
  verifier(name, publicKey) {
    if (name === "ed25519") return ed25519Verifier(publicKey);
    return (message, signature, context) =>
      ML_DSA[name].verify(signature, message, publicKey, context === undefined ? {} : { context });
  },
};
