// SPDX-License-Identifier: Apache-2.0
/**
 * Keys as JWK (RFC 7517), the one format of key files and trust roots:
 *
 * ```
 * {"kty":"AKP","alg":"ML-DSA-65-Ed25519"|"ML-DSA-44","pub":b64url,"priv":b64url(seed)}    RFC 9964, seed 64 or 32 bytes
 * {"kty":"OKP","crv":"Ed25519","x":b64url,"d":b64url(seed)}                               RFC 8037, seed 32 bytes
 * ```
 *
 * A public key lacks `priv` or `d`. A key's id is its RFC 7638 SHA-256 thumbprint in base64url,
 * always computed from the key, never read from a file. Device key files are of the second kind.
 */
import { MeshError } from "@ctxmesh/model";
import type { RandomSource } from "@ctxmesh/model";
import { sha256 } from "./hash.ts";
import { SUITES } from "./suites.ts";
import type { Algorithm } from "./suites.ts";

/** A public key with its algorithm. */
export interface PublicKey {
  readonly alg: Algorithm;
  /** RFC 7638 thumbprint, base64url without padding: 43 characters. */
  readonly keyid: string;
  /** Raw bytes; the length is the suite's. */
  readonly publicKey: Uint8Array;
}

/** A private key. `seed` is not enumerable, so that printing the object does not print it. */
export interface PrivateKey extends PublicKey {
  readonly seed: Uint8Array;
}

/** A public key as JWK. */
export type PublicJwk =
  | { readonly kty: "AKP"; readonly alg: string; readonly pub: string }
  | { readonly kty: "OKP"; readonly crv: "Ed25519"; readonly x: string };

/** Signs with one key of any suite. */
export interface Signer {
  readonly key: PublicKey;
  sign(message: Uint8Array): Uint8Array;
}

/** Verifies with one key of any suite. */
export interface Verifier {
  readonly key: PublicKey;
  /** True only for a signature by that key that both implementations accept; never throws. */
  verify(message: Uint8Array, signature: Uint8Array): boolean;
}

const invalid = (message: string): never => {
  throw new MeshError("KEY_INVALID", message);
};

const toBase64Url = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64url");

function fromBase64Url(text: unknown, member: string): Uint8Array {
  if (typeof text !== "string") return invalid(`key member "${member}" is missing or no string`);
  const bytes = new Uint8Array(Buffer.from(text, "base64url"));
  if (toBase64Url(bytes) !== text) {
    return invalid(`key member "${member}" is not canonical base64url without padding`);
  }
  return bytes;
}

/** The public JWK of a key. */
export const toPublicJwk = (key: PublicKey): PublicJwk =>
  key.alg === "Ed25519"
    ? { kty: "OKP", crv: "Ed25519", x: toBase64Url(key.publicKey) }
    : { kty: "AKP", alg: key.alg, pub: toBase64Url(key.publicKey) };

/** The RFC 7638 thumbprint: SHA-256 over the required members in order of name, without spaces. */
function thumbprint(alg: Algorithm, publicKey: Uint8Array): string {
  const encoded = toBase64Url(publicKey);
  const members =
    alg === "Ed25519"
      ? { crv: "Ed25519", kty: "OKP", x: encoded }
      : { alg, kty: "AKP", pub: encoded };
  return toBase64Url(sha256(new TextEncoder().encode(JSON.stringify(members))));
}

const asPublicKey = (alg: Algorithm, publicKey: Uint8Array): PublicKey => ({
  alg,
  keyid: thumbprint(alg, publicKey),
  publicKey,
});

const asPrivateKey = (alg: Algorithm, seed: Uint8Array): PrivateKey =>
  Object.defineProperty(asPublicKey(alg, SUITES[alg].publicFromSeed(seed)), "seed", {
    value: seed.slice(),
    enumerable: false,
  }) as PrivateKey;

/** The algorithm that a JWK names, after checking that it has exactly the given members. */
function algorithmOf(jwk: Readonly<Record<string, unknown>>, secret: boolean): Algorithm {
  const { kty, alg, crv } = jwk;
  let found: Algorithm | undefined;
  if (kty === "AKP") found = alg === "ML-DSA-65-Ed25519" || alg === "ML-DSA-44" ? alg : undefined;
  if (kty === "OKP") found = crv === "Ed25519" ? crv : undefined;
  if (found === undefined) {
    return invalid('key is neither kty "OKP" crv "Ed25519" nor kty "AKP" of a known alg');
  }
  const allowed = found === "Ed25519" ? ["kty", "crv", "x"] : ["kty", "alg", "pub"];
  if (secret) allowed.push(found === "Ed25519" ? "d" : "priv");
  for (const member of Object.keys(jwk)) {
    if (allowed.includes(member)) continue;
    const hint = member === "d" || member === "priv" ? "; this must be a public key" : "";
    return invalid(`key has the unexpected member ${JSON.stringify(member.slice(0, 40))}${hint}`);
  }
  return found;
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return invalid("key is not a JSON object");
  }
  return value as Readonly<Record<string, unknown>>;
}

/** Reads a public JWK (parsed JSON). Throws `KEY_INVALID` for anything but an exact, strong public key. */
export function parsePublicKey(jwk: unknown): PublicKey {
  const record = asRecord(jwk);
  const alg = algorithmOf(record, false);
  const member = alg === "Ed25519" ? "x" : "pub";
  const publicKey = fromBase64Url(record[member], member);
  SUITES[alg].assertPublicKey(publicKey);
  return asPublicKey(alg, publicKey);
}

/**
 * Reads a private key file. The public part must be the seed's. Throws `KEY_INVALID`; its message
 * says what is wrong and never quotes the content.
 */
export function parsePrivateKey(text: string): PrivateKey {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // JSON.parse quotes its input in the error, so that error goes no further.
    return invalid("key file is not JSON");
  }
  const record = asRecord(value);
  const alg = algorithmOf(record, true);
  const [publicMember, secretMember] = alg === "Ed25519" ? ["x", "d"] : ["pub", "priv"];
  const seed = fromBase64Url(record[secretMember], secretMember);
  const key = asPrivateKey(alg, seed);
  if (toBase64Url(key.publicKey) !== record[publicMember]) {
    return invalid(`key member "${publicMember}" does not belong to member "${secretMember}"`);
  }
  return key;
}

/** The text of a private key file, one JWK and a newline. Secret: write it with mode 0600. */
export function formatPrivateKey(key: PrivateKey): string {
  const secret = toBase64Url(key.seed);
  const jwk = {
    ...toPublicJwk(key),
    ...(key.alg === "Ed25519" ? { d: secret } : { priv: secret }),
  };
  return `${JSON.stringify(jwk)}\n`;
}

/** A fresh key. */
export function generatePrivateKey(alg: Algorithm, random: RandomSource): PrivateKey {
  return asPrivateKey(alg, random.bytes(SUITES[alg].seedBytes));
}

/** The public part alone. */
export const toPublicKey = (key: PrivateKey): PublicKey => ({
  alg: key.alg,
  keyid: key.keyid,
  publicKey: key.publicKey,
});

/** A signer; key objects are made once, so keep it. */
export function createSigner(key: PrivateKey): Signer {
  return { key: toPublicKey(key), sign: SUITES[key.alg].signer(key.seed) };
}

/** A verifier; key objects are made once, so keep it. Throws `KEY_INVALID` for a weak key. */
export function createVerifier(key: PublicKey): Verifier {
  return { key, verify: SUITES[key.alg].verifier(key.publicKey) };
}
