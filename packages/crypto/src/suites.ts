// SPDX-License-Identifier: Apache-2.0
/**
 * The one table of signature suites. Adding or retiring an algorithm is one row here.
 *
 * `ML-DSA-65-Ed25519` and `ML-DSA-44-Ed25519` are Composite ML-DSA `id-MLDSA65-Ed25519-SHA512` and
 * `id-MLDSA44-Ed25519-SHA512` of draft-ietf-lamps-pq-composite-sigs-19 (and of draft-ietf-jose-pq-composite-sigs),
 * context empty:
 *
 * ```
 * M'         = "CompositeAlgorithmSignatures2025" || Label || 0x00 || SHA-512(M)
 * Label      = "COMPSIG-MLDSA65-Ed25519-SHA512"                                            or ...MLDSA44...
 * signature  = ML-DSA-65.Sign(M', ctx = Label) (3309 bytes; 44: 2420) || Ed25519.Sign(M') (64 bytes)
 * public key = ML-DSA-65 (1952 bytes; 44: 1312) || Ed25519 (32 bytes)      seed = ML-DSA (32) || Ed25519 (32)
 * ```
 *
 * Signature bytes are never an id or a deduplication key: ML-DSA signing is randomised.
 */
import type { KeyPair, PrimitiveName } from "./engine.ts";
import { sha512 } from "./native.ts";
import {
  PRIMITIVES,
  PRIMITIVE_SEED_BYTES,
  assertLength,
  assertPrimitiveKey,
  primitiveKeyPair,
  primitiveVerifier,
} from "./primitives.ts";

/** The closed list of algorithms. */
export const ALGORITHMS = [
  "ML-DSA-65-Ed25519",
  "ML-DSA-44-Ed25519",
  "ML-DSA-44",
  "Ed25519",
] as const;

/** A JOSE name of {@link ALGORITHMS}. */
export type Algorithm = (typeof ALGORITHMS)[number];

/** How a verifier verifies. */
export interface VerifierOptions {
  /** Both OpenSSL and noble have to accept: slower by ten times, and right when one of them is wrong. For verifiers of little that matters much. */
  readonly crossCheck?: boolean;
}

/** One row of the table. Every function throws `KEY_INVALID` for a key or seed of the wrong shape. */
export interface Suite {
  /** How a JWK of it is written: `AKP` (RFC 9964) with `alg`, or `OKP` (RFC 8037) with `crv`, of the suite's name. */
  readonly kty: "AKP" | "OKP";
  readonly seedBytes: number;
  readonly publicKeyBytes: number;
  readonly signatureBytes: number;
  publicFromSeed(seed: Uint8Array): Uint8Array;
  /** Refuses a public key of the wrong length or, for Ed25519, outside the prime-order group. */
  assertPublicKey(publicKey: Uint8Array): void;
  /** The public keys of the primitives inside; no two keys of a trust root may share one. */
  components(publicKey: Uint8Array): readonly Uint8Array[];
  /** Signs hedged, natively where Node can; key objects are made once. */
  signer(seed: Uint8Array): (message: Uint8Array) => Uint8Array;
  /** True only if every part is accepted; never throws. Key objects are made once. */
  verifier(
    publicKey: Uint8Array,
    options?: VerifierOptions,
  ): (message: Uint8Array, signature: Uint8Array) => boolean;
}

const encoder = new TextEncoder();
const COMPOSITE_PREFIX = encoder.encode("CompositeAlgorithmSignatures2025");

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
export const compositeMessage = (label: Uint8Array, message: Uint8Array): Uint8Array =>
  concat(COMPOSITE_PREFIX, label, Uint8Array.of(0), sha512(message));

const halves = (bytes: Uint8Array, at: number): readonly [Uint8Array, Uint8Array] => [
  bytes.subarray(0, at),
  bytes.subarray(at),
];

/** A composite of ML-DSA and Ed25519. */
function composite(mlDsaName: "ml-dsa-44" | "ml-dsa-65", labelText: string): Suite {
  const label = encoder.encode(labelText);
  const mlDsa = PRIMITIVES[mlDsaName];
  const { ed25519 } = PRIMITIVES;
  const seedBytes = 2 * PRIMITIVE_SEED_BYTES;
  const publicKeyBytes = mlDsa.publicKeyBytes + ed25519.publicKeyBytes;
  const signatureBytes = mlDsa.signatureBytes + ed25519.signatureBytes;
  const keyHalves = (publicKey: Uint8Array): readonly [Uint8Array, Uint8Array] => {
    assertLength(publicKey, publicKeyBytes, `${labelText} public key`);
    return halves(publicKey, mlDsa.publicKeyBytes);
  };
  const pairs = (seed: Uint8Array): readonly [KeyPair, KeyPair] => {
    assertLength(seed, seedBytes, `${labelText} seed`);
    const [first, second] = halves(seed, PRIMITIVE_SEED_BYTES);
    return [primitiveKeyPair(mlDsaName, first), primitiveKeyPair("ed25519", second)];
  };
  return {
    kty: "AKP",
    seedBytes,
    publicKeyBytes,
    signatureBytes,
    publicFromSeed: (seed) => concat(...pairs(seed).map(({ publicKey }) => publicKey)),
    assertPublicKey(publicKey) {
      const [first, second] = keyHalves(publicKey);
      assertPrimitiveKey(mlDsaName, first);
      assertPrimitiveKey("ed25519", second);
    },
    components: (publicKey) => keyHalves(publicKey).map((half) => half.slice()),
    signer(seed) {
      const [first, second] = pairs(seed);
      return (message) => {
        const prepared = compositeMessage(label, message);
        return concat(first.sign(prepared, label), second.sign(prepared));
      };
    },
    verifier(publicKey, { crossCheck = false } = {}) {
      const [firstKey, secondKey] = keyHalves(publicKey);
      const verifyMlDsa = primitiveVerifier(mlDsaName, firstKey, crossCheck);
      const verifyEd25519 = primitiveVerifier("ed25519", secondKey, crossCheck);
      return (message, signature) => {
        if (signature.length !== signatureBytes) return false;
        const prepared = compositeMessage(label, message);
        const [mlDsaPart, ed25519Part] = halves(signature, mlDsa.signatureBytes);
        // Both halves always run: which one failed is nobody's business.
        const first = verifyMlDsa(prepared, mlDsaPart, label);
        const second = verifyEd25519(prepared, ed25519Part);
        return first && second;
      };
    },
  };
}

/** A primitive alone, without a context. */
const single = (name: PrimitiveName, kty: "AKP" | "OKP"): Suite => ({
  kty,
  seedBytes: PRIMITIVE_SEED_BYTES,
  ...PRIMITIVES[name],
  publicFromSeed: (seed) => primitiveKeyPair(name, seed).publicKey,
  assertPublicKey: (publicKey) => {
    assertPrimitiveKey(name, publicKey);
  },
  components: (publicKey) => [publicKey.slice()],
  signer: (seed) => {
    const pair = primitiveKeyPair(name, seed);
    return (message) => pair.sign(message);
  },
  verifier: (publicKey, { crossCheck = false } = {}) => {
    const verify = primitiveVerifier(name, publicKey, crossCheck);
    return (message, signature) => verify(message, signature);
  },
});

/** The registry: everything that depends on an algorithm looks here. */
export const SUITES: Readonly<Record<Algorithm, Suite>> = {
  "ML-DSA-65-Ed25519": composite("ml-dsa-65", "COMPSIG-MLDSA65-Ed25519-SHA512"),
  "ML-DSA-44-Ed25519": composite("ml-dsa-44", "COMPSIG-MLDSA44-Ed25519-SHA512"),
  "ML-DSA-44": single("ml-dsa-44", "AKP"),
  Ed25519: single("ed25519", "OKP"),
};
