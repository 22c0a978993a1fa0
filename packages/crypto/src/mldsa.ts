// SPDX-License-Identifier: Apache-2.0
/** ML-DSA (FIPS 204), pure, keys as 32-byte seeds. Signed natively and hedged; verified by two implementations. */
import { sign, verify } from "node:crypto";
// oxlint-disable-next-line import/extensions -- the export path of the package ends in .js
import { ml_dsa44, ml_dsa65 } from "@noble/post-quantum/ml-dsa.js";
import { assertLength, nativePrivateKey, nativePublicKey, rawPublicKey } from "./native.ts";

const SEED_BYTES = 32;

/** The parameter sets in use. */
export type MlDsaSet = "ml-dsa-44" | "ml-dsa-65";

const PARAMETER_SETS = {
  "ml-dsa-44": { publicKeyBytes: 1312, signatureBytes: 2420, noble: ml_dsa44 },
  "ml-dsa-65": { publicKeyBytes: 1952, signatureBytes: 3309, noble: ml_dsa65 },
} as const;

/** The public key of a 32-byte seed. Throws `KEY_INVALID`. */
export function mlDsaPublicKey(set: MlDsaSet, seed: Uint8Array): Uint8Array {
  assertLength(seed, SEED_BYTES, `${set} seed`);
  return rawPublicKey(nativePrivateKey(set, seed));
}

/** A signing function with a fixed context string. Throws `KEY_INVALID`. */
export function mlDsaSigner(
  set: MlDsaSet,
  seed: Uint8Array,
  context: Uint8Array,
): (message: Uint8Array) => Uint8Array {
  assertLength(seed, SEED_BYTES, `${set} seed`);
  const key = nativePrivateKey(set, seed);
  return (message) => new Uint8Array(sign(null, message, { key, context }));
}

/** A verifying function with a fixed context: OpenSSL and noble must both accept. Throws `KEY_INVALID`. */
export function mlDsaVerifier(
  set: MlDsaSet,
  publicKey: Uint8Array,
  context: Uint8Array,
): (message: Uint8Array, signature: Uint8Array) => boolean {
  const { publicKeyBytes, signatureBytes, noble } = PARAMETER_SETS[set];
  assertLength(publicKey, publicKeyBytes, `${set} public key`);
  const raw = publicKey.slice();
  const key = nativePublicKey(set, raw);
  return (message, signature) => {
    if (signature.length !== signatureBytes) return false;
    const native = verify(null, message, { key, context }, signature);
    const portable = noble.verify(signature, message, raw, { context });
    return native && portable;
  };
}
