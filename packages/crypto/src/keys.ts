// SPDX-License-Identifier: Apache-2.0
/**
 * Keys as JWK (RFC 7517), the one format of key files and trust roots:
 *
 * ```
 * {"kty":"AKP","alg":"ML-DSA-65-Ed25519"|..., "pub":b64url,"priv":b64url(seed)}    RFC 9964, seed of 64 or 32 bytes
 * {"kty":"OKP","crv":"Ed25519","x":b64url,"d":b64url(seed)}                         RFC 8037, seed of 32 bytes
 * ```
 *
 * A public key lacks `priv` or `d`. A key's id is its RFC 7638 SHA-256 thumbprint in base64url,
 * always computed from the key, never read from a file. Device key files are of the second kind.
 */
import { MeshError } from "@ctxmesh/model";
import type { RandomSource } from "@ctxmesh/model";
import { sha256 } from "./native.ts";
import { SUITES } from "./suites.ts";
import type { Algorithm, Suite, VerifierOptions } from "./suites.ts";

/** A public key with its algorithm. */
export interface PublicKey<Alg extends string = Algorithm> {
  readonly alg: Alg;
  /** RFC 7638 thumbprint, base64url without padding: 43 characters. */
  readonly keyid: string;
  /** Raw bytes; the length is the suite's. */
  readonly publicKey: Uint8Array;
}

/** A private key. `seed` is not enumerable, so that printing the object does not print it. */
export interface PrivateKey<Alg extends string = Algorithm> extends PublicKey<Alg> {
  readonly seed: Uint8Array;
}

/** A public key as JWK. */
export type PublicJwk =
  | { readonly kty: "AKP"; readonly alg: string; readonly pub: string }
  | { readonly kty: "OKP"; readonly crv: string; readonly x: string };

/** Signs with one key of any suite. */
export interface Signer<Alg extends string = Algorithm> {
  readonly key: PublicKey<Alg>;
  sign(message: Uint8Array): Uint8Array;
}

/** Verifies with one key of any suite. */
export interface Verifier<Alg extends string = Algorithm> {
  readonly key: PublicKey<Alg>;
  /** True only for a signature by that key; never throws. */
  verify(message: Uint8Array, signature: Uint8Array): boolean;
}

/** What is done with keys, over a table of suites. */
export interface KeyOperations<Alg extends string> {
  /** The public JWK of a key. */
  readonly toPublicJwk: (key: PublicKey<Alg>) => PublicJwk;
  /** Reads a public JWK (parsed JSON). Throws `KEY_INVALID` for anything but an exact, strong public key. */
  readonly parsePublicKey: (jwk: unknown) => PublicKey<Alg>;
  /**
   * Reads a private key file. The public part must be the seed's. Throws `KEY_INVALID`; its message
   * says what is wrong and never quotes the content.
   */
  readonly parsePrivateKey: (text: string) => PrivateKey<Alg>;
  /** The text of a private key file, one JWK and a newline. Secret: write it with mode 0600. */
  readonly formatPrivateKey: (key: PrivateKey<Alg>) => string;
  /** A fresh key. */
  readonly generatePrivateKey: (alg: Alg, random: RandomSource) => PrivateKey<Alg>;
  /** The public part alone. */
  readonly toPublicKey: (key: PublicKey<Alg>) => PublicKey<Alg>;
  /** A signer; key objects are made once, so keep it. */
  readonly createSigner: (key: PrivateKey<Alg>) => Signer<Alg>;
  /** A verifier: the same one each time, for as long as the key object is kept. Throws `KEY_INVALID` for a weak key. */
  readonly createVerifier: (key: PublicKey<Alg>, options?: VerifierOptions) => Verifier<Alg>;
}

const invalid = (message: string): never => {
  throw new MeshError("KEY_INVALID", message);
};

// Not by Buffer, which browsers lack.
const toBase64Url = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

function fromBase64Url(text: unknown, member: string): Uint8Array {
  if (typeof text !== "string") return invalid(`key member "${member}" is missing or no string`);
  let bytes = new Uint8Array();
  try {
    const characters = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    bytes = Uint8Array.from(characters, (character) => character.charCodeAt(0));
  } catch {
    // Below: what does not come out the same is refused.
  }
  if (bytes.length > LONGEST_MEMBER || toBase64Url(bytes) !== text) {
    return invalid(`key member "${member}" is not canonical base64url without padding`);
  }
  return bytes;
}

/** More bytes than any key has, and few enough to be spread as arguments. */
const LONGEST_MEMBER = 16_384;

/** Names of the members of a JWK: what says which suite it is, the public part, the seed. */
const MEMBERS = {
  AKP: { name: "alg", open: "pub", secret: "priv" },
  OKP: { name: "crv", open: "x", secret: "d" },
} as const;

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return invalid("key is not a JSON object");
  }
  return value as Readonly<Record<string, unknown>>;
}

/** Checks that a JWK has no members but these. */
function assertMembers(jwk: Readonly<Record<string, unknown>>, allowed: readonly string[]): void {
  for (const member of Object.keys(jwk)) {
    if (allowed.includes(member)) continue;
    const hint = member === "d" || member === "priv" ? "; this must be a public key" : "";
    invalid(`key has the unexpected member ${JSON.stringify(member.slice(0, 40))}${hint}`);
  }
}

/** JSON.parse quotes its input in the error, so that error goes no further. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return invalid("key file is not JSON");
  }
}

type Suites<Alg extends string> = Readonly<Record<Alg, Suite>>;

const publicJwkOf = <Alg extends string>(
  suites: Suites<Alg>,
  { alg, publicKey }: PublicKey<Alg>,
): PublicJwk =>
  suites[alg].kty === "OKP"
    ? { kty: "OKP", crv: alg, x: toBase64Url(publicKey) }
    : { kty: "AKP", alg, pub: toBase64Url(publicKey) };

/** With the RFC 7638 thumbprint: SHA-256 over the required members in order of name, without spaces. */
function publicKeyOf<Alg extends string>(
  suites: Suites<Alg>,
  alg: Alg,
  publicKey: Uint8Array,
): PublicKey<Alg> {
  const key = { alg, keyid: "", publicKey };
  const members = Object.entries(publicJwkOf(suites, key)).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const text = JSON.stringify(Object.fromEntries(members));
  return { ...key, keyid: toBase64Url(sha256(new TextEncoder().encode(text))) };
}

const privateKeyOf = <Alg extends string>(
  suites: Suites<Alg>,
  alg: Alg,
  seed: Uint8Array,
): PrivateKey<Alg> =>
  Object.defineProperty(publicKeyOf(suites, alg, suites[alg].publicFromSeed(seed)), "seed", {
    value: seed.slice(),
    enumerable: false,
  }) as PrivateKey<Alg>;

/** The algorithm that a JWK names, after checking that it has no members but its own. */
function algorithmOf<Alg extends string>(
  suites: Suites<Alg>,
  jwk: Readonly<Record<string, unknown>>,
  part: "public" | "private",
): Alg {
  const kty = jwk["kty"] === "OKP" ? "OKP" : "AKP";
  const { name, open, secret } = MEMBERS[kty];
  const alg = jwk[name];
  const known = typeof alg === "string" && Object.hasOwn(suites, alg);
  if (jwk["kty"] !== kty || !known || suites[alg as Alg].kty !== kty) {
    return invalid('key is neither kty "OKP" crv "Ed25519" nor kty "AKP" of a known alg');
  }
  assertMembers(jwk, ["kty", name, open, ...(part === "private" ? [secret] : [])]);
  return alg as Alg;
}

/** The operations over a table of suites: a row in the table is all that a suite needs. */
export function keyOperations<Alg extends string>(suites: Suites<Alg>): KeyOperations<Alg> {
  const membersOf = (alg: Alg): (typeof MEMBERS)["AKP" | "OKP"] => MEMBERS[suites[alg].kty];
  const toPublicKey = ({ alg, keyid, publicKey }: PublicKey<Alg>): PublicKey<Alg> => ({
    alg,
    keyid,
    publicKey,
  });
  /** By key object, for as long as somebody has that. */
  const verifiers = {
    fast: new WeakMap<PublicKey<Alg>, Verifier<Alg>>(),
    crossChecked: new WeakMap<PublicKey<Alg>, Verifier<Alg>>(),
  };
  return {
    toPublicJwk: (key) => publicJwkOf(suites, key),
    parsePublicKey(jwk) {
      const record = asRecord(jwk);
      const alg = algorithmOf(suites, record, "public");
      const { open } = membersOf(alg);
      const publicKey = fromBase64Url(record[open], open);
      suites[alg].assertPublicKey(publicKey);
      return publicKeyOf(suites, alg, publicKey);
    },
    parsePrivateKey(text) {
      const record = asRecord(parseJson(text));
      const alg = algorithmOf(suites, record, "private");
      const { open, secret } = membersOf(alg);
      const key = privateKeyOf(suites, alg, fromBase64Url(record[secret], secret));
      if (toBase64Url(key.publicKey) !== record[open]) {
        return invalid(`key member "${open}" does not belong to member "${secret}"`);
      }
      return key;
    },
    formatPrivateKey(key) {
      const secret = { [membersOf(key.alg).secret]: toBase64Url(key.seed) };
      return `${JSON.stringify({ ...publicJwkOf(suites, key), ...secret })}\n`;
    },
    generatePrivateKey: (alg, random) =>
      privateKeyOf(suites, alg, random.bytes(suites[alg].seedBytes)),
    toPublicKey,
    createSigner: (key) => ({ key: toPublicKey(key), sign: suites[key.alg].signer(key.seed) }),
    createVerifier(key, options = {}) {
      const made = options.crossCheck === true ? verifiers.crossChecked : verifiers.fast;
      const known = made.get(key);
      if (known !== undefined) return known;
      const verifier = { key, verify: suites[key.alg].verifier(key.publicKey, options) };
      made.set(key, verifier);
      return verifier;
    },
  };
}

const operations: KeyOperations<Algorithm> = keyOperations(SUITES);

/** {@link KeyOperations.toPublicJwk} over {@link SUITES}. */
export const toPublicJwk: (key: PublicKey) => PublicJwk = operations.toPublicJwk;
/** {@link KeyOperations.parsePublicKey} over {@link SUITES}. */
export const parsePublicKey: (jwk: unknown) => PublicKey = operations.parsePublicKey;
/** {@link KeyOperations.parsePrivateKey} over {@link SUITES}. */
export const parsePrivateKey: (text: string) => PrivateKey = operations.parsePrivateKey;
/** {@link KeyOperations.formatPrivateKey} over {@link SUITES}. */
export const formatPrivateKey: (key: PrivateKey) => string = operations.formatPrivateKey;
/** {@link KeyOperations.generatePrivateKey} over {@link SUITES}. */
export const generatePrivateKey: (alg: Algorithm, random: RandomSource) => PrivateKey =
  operations.generatePrivateKey;
/** {@link KeyOperations.toPublicKey} over {@link SUITES}. */
export const toPublicKey: (key: PublicKey) => PublicKey = operations.toPublicKey;
/** {@link KeyOperations.createSigner} over {@link SUITES}. */
export const createSigner: (key: PrivateKey) => Signer = operations.createSigner;
/** {@link KeyOperations.createVerifier} over {@link SUITES}. */
export const createVerifier: (key: PublicKey, options?: VerifierOptions) => Verifier =
  operations.createVerifier;
