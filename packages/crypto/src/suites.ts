// SPDX-License-Identifier: Apache-2.0
/**
 * The one table of signature suites. Adding or retiring an algorithm is one row here.
 *
 * `ML-DSA-65-Ed25519` is Composite ML-DSA `id-MLDSA65-Ed25519-SHA512` of
 * draft-ietf-lamps-pq-composite-sigs-19 (and of draft-ietf-jose-pq-composite-sigs), context empty:
 *
 * ```
 * M'         = "CompositeAlgorithmSignatures2025" || Label || 0x00 || SHA-512(M)
 * Label      = "COMPSIG-MLDSA65-Ed25519-SHA512"
 * signature  = ML-DSA-65.Sign(M', ctx = Label) (3309 bytes) || Ed25519.Sign(M') (64 bytes)
 * public key = ML-DSA-65 (1952 bytes) || Ed25519 (32 bytes)      seed = ML-DSA (32) || Ed25519 (32)
 * ```
 *
 * Signature bytes are never an id or a deduplication key: ML-DSA signing is randomised.
 */
import {
  ED25519_PUBLIC_KEY_BYTES,
  ED25519_SEED_BYTES,
  ED25519_SIGNATURE_BYTES,
  assertEd25519PublicKey,
  ed25519PublicKey,
  ed25519Signer,
  ed25519Verifier,
} from "./ed25519.ts";
import { sha512 } from "./hash.ts";
import { mlDsaPublicKey, mlDsaSigner, mlDsaVerifier } from "./mldsa.ts";
import { assertLength } from "./native.ts";

/** The closed list of algorithms. */
export const ALGORITHMS = ["ML-DSA-65-Ed25519", "ML-DSA-44", "Ed25519"] as const;

/** A JOSE name of {@link ALGORITHMS}. */
export type Algorithm = (typeof ALGORITHMS)[number];

/** One row of the table. Every function throws `KEY_INVALID` for a key or seed of the wrong shape. */
export interface Suite {
  readonly seedBytes: number;
  readonly publicKeyBytes: number;
  readonly signatureBytes: number;
  publicFromSeed(seed: Uint8Array): Uint8Array;
  /** Refuses a public key of the wrong length or, for Ed25519, outside the prime-order group. */
  assertPublicKey(publicKey: Uint8Array): void;
  /** The public keys of the primitives inside; no two keys of a trust root may share one. */
  components(publicKey: Uint8Array): readonly Uint8Array[];
  /** Signs natively and hedged; key objects are made once. */
  signer(seed: Uint8Array): (message: Uint8Array) => Uint8Array;
  /** True only if OpenSSL and noble accept every part; never throws. Key objects are made once. */
  verifier(publicKey: Uint8Array): (message: Uint8Array, signature: Uint8Array) => boolean;
}

const encoder = new TextEncoder();
const COMPOSITE_PREFIX = encoder.encode("CompositeAlgorithmSignatures2025");
const COMPOSITE_LABEL = encoder.encode("COMPSIG-MLDSA65-Ed25519-SHA512");
const NO_CONTEXT = new Uint8Array(0);
const MLDSA65_PUBLIC_KEY_BYTES = 1952;
const MLDSA65_SIGNATURE_BYTES = 3309;
const MLDSA_SEED_BYTES = 32;

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

/** M' of the composite draft for an empty context. */
export const compositeMessage = (message: Uint8Array): Uint8Array =>
  concat(COMPOSITE_PREFIX, COMPOSITE_LABEL, Uint8Array.of(0), sha512(message));

const composite: Suite = {
  seedBytes: MLDSA_SEED_BYTES + ED25519_SEED_BYTES,
  publicKeyBytes: MLDSA65_PUBLIC_KEY_BYTES + ED25519_PUBLIC_KEY_BYTES,
  signatureBytes: MLDSA65_SIGNATURE_BYTES + ED25519_SIGNATURE_BYTES,
  publicFromSeed(seed) {
    assertLength(seed, composite.seedBytes, "ML-DSA-65-Ed25519 seed");
    return concat(
      mlDsaPublicKey("ml-dsa-65", seed.subarray(0, MLDSA_SEED_BYTES)),
      ed25519PublicKey(seed.subarray(MLDSA_SEED_BYTES)),
    );
  },
  assertPublicKey(publicKey) {
    assertLength(publicKey, composite.publicKeyBytes, "ML-DSA-65-Ed25519 public key");
    assertEd25519PublicKey(publicKey.subarray(MLDSA65_PUBLIC_KEY_BYTES));
  },
  components: (publicKey) => [
    publicKey.slice(0, MLDSA65_PUBLIC_KEY_BYTES),
    publicKey.slice(MLDSA65_PUBLIC_KEY_BYTES),
  ],
  signer(seed) {
    assertLength(seed, composite.seedBytes, "ML-DSA-65-Ed25519 seed");
    const mlDsa = mlDsaSigner("ml-dsa-65", seed.subarray(0, MLDSA_SEED_BYTES), COMPOSITE_LABEL);
    const ed25519 = ed25519Signer(seed.subarray(MLDSA_SEED_BYTES));
    return (message) => {
      const prepared = compositeMessage(message);
      return concat(mlDsa(prepared), ed25519(prepared));
    };
  },
  verifier(publicKey) {
    assertLength(publicKey, composite.publicKeyBytes, "ML-DSA-65-Ed25519 public key");
    const [mlDsaKey, ed25519Key] = [
      publicKey.subarray(0, MLDSA65_PUBLIC_KEY_BYTES),
      publicKey.subarray(MLDSA65_PUBLIC_KEY_BYTES),
    ];
    const mlDsa = mlDsaVerifier("ml-dsa-65", mlDsaKey, COMPOSITE_LABEL);
    const ed25519 = ed25519Verifier(ed25519Key);
    return (message, signature) => {
      if (signature.length !== composite.signatureBytes) return false;
      const prepared = compositeMessage(message);
      // Both halves always run: which one failed is nobody's business.
      const first = mlDsa(prepared, signature.subarray(0, MLDSA65_SIGNATURE_BYTES));
      const second = ed25519(prepared, signature.subarray(MLDSA65_SIGNATURE_BYTES));
      return first && second;
    };
  },
};

const mlDsa44: Suite = {
  seedBytes: MLDSA_SEED_BYTES,
  publicKeyBytes: 1312,
  signatureBytes: 2420,
  publicFromSeed: (seed) => mlDsaPublicKey("ml-dsa-44", seed),
  assertPublicKey: (publicKey) => {
    assertLength(publicKey, mlDsa44.publicKeyBytes, "ML-DSA-44 public key");
  },
  components: (publicKey) => [publicKey.slice()],
  signer: (seed) => mlDsaSigner("ml-dsa-44", seed, NO_CONTEXT),
  verifier: (publicKey) => mlDsaVerifier("ml-dsa-44", publicKey, NO_CONTEXT),
};

const ed25519: Suite = {
  seedBytes: ED25519_SEED_BYTES,
  publicKeyBytes: ED25519_PUBLIC_KEY_BYTES,
  signatureBytes: ED25519_SIGNATURE_BYTES,
  publicFromSeed: ed25519PublicKey,
  assertPublicKey: assertEd25519PublicKey,
  components: (publicKey) => [publicKey.slice()],
  signer: ed25519Signer,
  verifier: ed25519Verifier,
};

/** The registry: everything that depends on an algorithm looks here. */
export const SUITES: Readonly<Record<Algorithm, Suite>> = {
  "ML-DSA-65-Ed25519": composite,
  "ML-DSA-44": mlDsa44,
  Ed25519: ed25519,
};
