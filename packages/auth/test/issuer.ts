// SPDX-License-Identifier: Apache-2.0
/** An issuer that signs whatever it is told to, however wrong. */
import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { parseSpaceId } from "@ctxmesh/model";
import type { SpaceId } from "@ctxmesh/model";
import { readKeySet } from "../src/keys.ts";
import type { TokenKeys } from "../src/keys.ts";

export const ISSUER = "https://id.example.org/realms/plant";
export const AUDIENCE = "https://hub.example.org";
export const SPACE: SpaceId = parseSpaceId("5a".repeat(32));
export const OTHER_SPACE: SpaceId = parseSpaceId("a5".repeat(32));
/** A moment, Unix seconds. */
export const NOW_S = 1_800_000_000;

/** The key pairs of the issuer, by the names in its set, and one that it does not have. */
export const PAIRS = {
  es: generateKeyPairSync("ec", { namedCurve: "P-256" }),
  es384: generateKeyPairSync("ec", { namedCurve: "P-384" }),
  ed: generateKeyPairSync("ed25519"),
  rs: generateKeyPairSync("rsa", { modulusLength: 2_048 }),
  ps: generateKeyPairSync("rsa", { modulusLength: 2_048 }),
  foreign: generateKeyPairSync("ec", { namedCurve: "P-256" }),
} as const;

export type KeyName = keyof typeof PAIRS;

/** What each key is used with. */
export const ALG: Readonly<Record<KeyName, string>> = {
  es: "ES256",
  es384: "ES384",
  ed: "Ed25519",
  rs: "RS256",
  ps: "PS256",
  foreign: "ES256",
};

export const jwkOf = (name: KeyName): Record<string, unknown> => ({
  ...PAIRS[name].publicKey.export({ format: "jwk" }),
  kid: name,
});

/** The issuer's set, as text. */
export const keySetText = (): string =>
  JSON.stringify({
    keys: [
      { ...jwkOf("es"), alg: "ES256", use: "sig" },
      jwkOf("es384"),
      jwkOf("ed"),
      jwkOf("rs"),
      { ...jwkOf("ps"), alg: "PS256", key_ops: ["verify"] },
    ],
  });

export async function trustedKeys(): Promise<TokenKeys> {
  const keys = await readKeySet(keySetText());
  return { find: (id) => Promise.resolve(keys.get(id)) };
}

type Members = Readonly<Record<string, unknown>>;

export const role = (access: string, prefix = "", space: string = SPACE): Members => ({
  space,
  prefix,
  access,
});

/** Claims of a good token. */
export const goodClaims = (): Record<string, unknown> => ({
  iss: ISSUER,
  aud: AUDIENCE,
  sub: "alice",
  jti: "token-1",
  iat: NOW_S,
  exp: NOW_S + 900,
  ctx: { tenant: "acme", roles: [role("write")] },
});

export const goodHeader = (key: KeyName = "es"): Record<string, unknown> => ({
  alg: ALG[key],
  typ: "at+jwt",
  kid: key,
});

export const base64url = (input: string | Uint8Array): string =>
  Buffer.from(input).toString("base64url");

/** A signature as an algorithm makes it. */
export function signatureOf(alg: string, key: KeyObject, data: string): Buffer {
  const bytes = Buffer.from(data);
  if (alg.startsWith("ES")) {
    return sign(alg === "ES384" ? "sha384" : "sha256", bytes, { key, dsaEncoding: "ieee-p1363" });
  }
  if (alg.startsWith("PS")) return sign("sha256", bytes, { key, padding: 6, saltLength: 32 });
  if (alg === "RS256") return sign("sha256", bytes, key);
  return sign(null, bytes, key);
}

/** A token signed with a key of the issuer, of these texts. */
export function signText(header: string, payload: string, key: KeyName, alg = ALG[key]): string {
  const data = `${base64url(header)}.${base64url(payload)}`;
  return `${data}.${base64url(signatureOf(alg, PAIRS[key].privateKey, data))}`;
}

/** A good token, but for what is changed; a member that is undefined is left out. */
export function token(
  changes: { readonly header?: Members; readonly claims?: Members; readonly key?: KeyName } = {},
): string {
  const { key = "es" } = changes;
  const header = JSON.stringify({ ...goodHeader(key), ...changes.header });
  return signText(header, JSON.stringify({ ...goodClaims(), ...changes.claims }), key);
}

/** A token whose MAC has a public key as its secret. */
export function macToken(key: KeyName, secret: string | Uint8Array, alg = "HS256"): string {
  const header = JSON.stringify({ ...goodHeader(key), alg });
  const data = `${base64url(header)}.${base64url(JSON.stringify(goodClaims()))}`;
  return `${data}.${createHmac("sha256", secret).update(data).digest("base64url")}`;
}
