// SPDX-License-Identifier: Apache-2.0
/** Keys that tokens may be signed with, each for one algorithm: which one it is never depends on a token. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import { importJWK } from "jose";
import type { CryptoKey, JWK } from "jose";
import { isObject, parseObject } from "./strict-json.ts";
import type { JsonObject } from "./strict-json.ts";

/**
 * The algorithms (RFC 7518, RFC 8037, RFC 9864): signatures only. With a symmetric one whoever can verify could sign, and a public
 * key could pass as its secret.
 */
export const ALGORITHMS = ["ES256", "ES384", "EdDSA", "Ed25519", "PS256", "RS256"] as const;

/** One of {@link ALGORITHMS}; `EdDSA` is the older name of `Ed25519`. */
export type Algorithm = (typeof ALGORITHMS)[number];

/** A key of an issuer. */
export interface TokenKey {
  /** What a token's header may name with this key. */
  readonly algorithms: readonly Algorithm[];
  readonly key: CryptoKey;
}

/** Where keys come from. */
export interface TokenKeys {
  /** The key of that name; undefined when the issuer has none. Rejects with `UNREACHABLE` while that can't be known. */
  find(id: string): Promise<TokenKey | undefined>;
}

/** A name of a key, in characters. */
export const KEY_ID_LENGTH = 256;
/** Fewer bits can be factored (RFC 7518, 3.3); more take long to verify with. */
const RSA_BITS = { min: 2_048, max: 8_192 } as const;
/** Members that only a private or a symmetric key has. */
const SECRET = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] as const;

/** What a key is for by its kind; RSA keys without `alg` are for the older scheme, which is what their issuers mean. */
function algorithmsOf({ kty, crv, alg }: JsonObject): readonly Algorithm[] {
  const byKind: Readonly<Record<string, readonly (readonly Algorithm[])[]>> = {
    "EC P-256": [["ES256"]],
    "EC P-384": [["ES384"]],
    "OKP Ed25519": [["Ed25519", "EdDSA"]],
    RSA: [["RS256"], ["PS256"]],
  };
  const kind = kty === "RSA" ? "RSA" : `${String(kty)} ${String(crv)}`;
  const choices = byKind[kind] ?? [];
  if (alg === undefined) return choices[0] ?? [];
  return choices.find((names) => names.some((name) => name === alg)) ?? [];
}

/** Whether a key is there to verify signatures with, as far as it says. */
function isForSignatures({ use, key_ops: operations }: JsonObject): boolean {
  const isListed =
    operations === undefined || (Array.isArray(operations) && operations.includes("verify"));
  return (use === undefined || use === "sig") && isListed;
}

const modulusBits = ({ n }: JsonObject): number =>
  typeof n === "string" ? Buffer.from(n, "base64url").length * 8 : 0;

async function readKey(jwk: JsonObject): Promise<TokenKey | undefined> {
  const algorithms = algorithmsOf(jwk);
  const [algorithm] = algorithms;
  if (algorithm === undefined || !isForSignatures(jwk)) return undefined;
  if (SECRET.some((member) => jwk[member] !== undefined)) return undefined;
  if (jwk["kty"] === "RSA") {
    const bits = modulusBits(jwk);
    if (bits < RSA_BITS.min || bits > RSA_BITS.max) return undefined;
  }
  const { kty, crv, x, y, n, e } = jwk as JWK;
  const members = Object.entries({ kty, crv, x, y, n, e }).filter(
    ([, value]) => value !== undefined,
  );
  try {
    const key = await importJWK(Object.fromEntries(members) as JWK, algorithm);
    return key instanceof Uint8Array ? undefined : { algorithms, key };
  } catch {
    return undefined;
  }
}

/**
 * Reads a JWK set (RFC 7517, 5). Keys that can't be used are left out: without `kid`, of another kind, for encryption, private, too
 * short, or with a name that another one has. Throws `FORMAT_INVALID` for anything but a set with one that can.
 */
export async function readKeySet(text: string): Promise<ReadonlyMap<string, TokenKey>> {
  if (Buffer.byteLength(text) > LIMITS.keySetBytes) {
    throw malformed(`has more than ${String(LIMITS.keySetBytes)} bytes (keySetBytes)`);
  }
  const { keys } = parseSet(text);
  if (!Array.isArray(keys)) throw malformed('has no list "keys"');
  if (keys.length > LIMITS.keySetKeys) {
    throw malformed(`has more than ${String(LIMITS.keySetKeys)} keys (keySetKeys)`);
  }
  const found = new Map<string, TokenKey>();
  const names = new Set<string>();
  for (const jwk of keys as readonly unknown[]) {
    if (!isObject(jwk)) continue;
    const { kid } = jwk;
    if (typeof kid !== "string" || kid === "" || kid.length > KEY_ID_LENGTH) continue;
    const key = names.has(kid) ? undefined : await readKey(jwk);
    names.add(kid);
    // Of two with one name neither is the one that is meant.
    if (key === undefined) found.delete(kid);
    else found.set(kid, key);
  }
  if (found.size === 0) throw malformed("has no key that tokens can be verified with");
  return found;
}

function parseSet(text: string): JsonObject {
  try {
    return parseObject(text, "the key set");
  } catch (cause) {
    throw malformed("is no JSON object", cause);
  }
}

const malformed = (why: string, cause?: unknown): MeshError =>
  new MeshError("FORMAT_INVALID", `the key set ${why}`, { cause });
