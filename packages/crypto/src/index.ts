// SPDX-License-Identifier: Apache-2.0
/** Hashes, device keys, signature suites and key files. The only importer of the noble libraries. */
export { createDeviceSigner, createDeviceVerifier, generateSeed } from "./devices.ts";
export { sha256, sha256Hex } from "./native.ts";
export {
  createSigner,
  createVerifier,
  formatPrivateKey,
  generatePrivateKey,
  parsePrivateKey,
  parsePublicKey,
  toPublicJwk,
  toPublicKey,
} from "./keys.ts";
export type { PrivateKey, PublicJwk, PublicKey, Signer, Verifier } from "./keys.ts";
export { ALGORITHMS, SUITES } from "./suites.ts";
export type { Algorithm, Suite, VerifierOptions } from "./suites.ts";
