// SPDX-License-Identifier: Apache-2.0
/** Goal: a token that is wrong in any one way is refused, and one that is right is not. */
import { createVirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TokenVerifier } from "../src/verifier.ts";
import {
  ALG,
  AUDIENCE,
  ISSUER,
  NOW_S,
  PAIRS,
  SPACE,
  base64url,
  goodClaims,
  goodHeader,
  jwkOf,
  macToken,
  role,
  signText,
  signatureOf,
  token,
  trustedKeys,
} from "./issuer.ts";
import type { KeyName } from "./issuer.ts";

const keys = await trustedKeys();
const rules = { issuer: ISSUER, audience: AUDIENCE, keys };
const verifierAt = (nowMs: number): TokenVerifier =>
  new TokenVerifier({ ...rules, clock: { now: () => nowMs } });
const verifier = verifierAt(NOW_S * 1_000);
const claims = (changes: Readonly<Record<string, unknown>>): string => token({ claims: changes });
const header = (changes: Readonly<Record<string, unknown>>): string => token({ header: changes });
const context = (changes: Readonly<Record<string, unknown>>): string =>
  claims({ ctx: { tenant: "acme", roles: [], ...changes } });

const good = token();
const [goodHead = "", goodPayload = "", goodSignature = ""] = good.split(".");
const payloadText = JSON.stringify(goodClaims());
const headerText = JSON.stringify(goodHeader());
const pem = (key: KeyName): string =>
  PAIRS[key].publicKey.export({ type: "spki", format: "pem" }).toString();

/** Signed by the key of one name, with the header of another. */
const mixed = (signer: KeyName, alg: string, kid: string, signedAs = alg): string =>
  signText(JSON.stringify({ ...goodHeader(), alg, kid }), payloadText, signer, signedAs);

const unsigned = (alg: unknown): string =>
  `${base64url(JSON.stringify({ ...goodHeader(), alg }))}.${goodPayload}.`;

const foreignJwk = jwkOf("foreign");

/** Last character of a signature with its unused bits set: the same bytes to a lenient decoder. */
const otherSpelling = (text: string): string => {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const last = alphabet.indexOf(text.at(-1) ?? "");
  return text.slice(0, -1) + (alphabet[last ^ 1] ?? "");
};

const BAD: readonly (readonly [what: string, token: string])[] = [
  ["no text", ""],
  ["one part", goodPayload],
  ["two parts", `${goodHead}.${goodPayload}`],
  ["four parts", `${good}.${goodSignature}`],
  ["five parts, as an encrypted one", `${good}.a.b`],
  ["a trailing line break", `${good}\n`],
  ["a trailing byte in the signature", `${good}AA`],
  ["padding", `${good}==`],
  [
    "another spelling of the same signature",
    `${goodHead}.${goodPayload}.${otherSpelling(goodSignature)}`,
  ],
  ["base64 in place of base64url", `${good}+/`],
  ["8,193 bytes and more", claims({ more: "x".repeat(5_900) })],
  ["alg none", unsigned("none")],
  ["alg None", unsigned("None")],
  ["alg none with a signature", header({ alg: "none" })],
  ["no alg", header({ alg: undefined })],
  ["an alg that is no text", header({ alg: ["ES256"] })],
  ["an unknown alg", header({ alg: "ES257" })],
  ["HS256 with the public key as secret, PEM", macToken("rs", pem("rs"))],
  [
    "HS256 with the public key as secret, DER",
    macToken("rs", PAIRS.rs.publicKey.export({ type: "spki", format: "der" })),
  ],
  ["HS256 with the public key as secret, JWK", macToken("es", JSON.stringify(jwkOf("es")))],
  ["an HMAC called ES256", macToken("es", pem("es"), "ES256")],
  ["an HMAC called RS256", macToken("rs", pem("rs"), "RS256")],
  ["PS256 with a key for RS256", mixed("rs", "PS256", "rs")],
  ["RS256 with a key for PS256", mixed("ps", "RS256", "ps")],
  ["ES256 with an RSA key", mixed("rs", "ES256", "rs", "RS256")],
  ["RS256 with an EC key", mixed("es", "RS256", "es", "ES256")],
  ["ES384 with a P-256 key", mixed("es", "ES384", "es", "ES256")],
  ["Ed25519 with an EC key", mixed("es", "Ed25519", "es", "ES256")],
  ["the name of another key", mixed("es", "RS256", "rs", "ES256")],
  ["no kid", header({ kid: undefined })],
  ["an empty kid", header({ kid: "" })],
  ["a kid that is no text", header({ kid: 1 })],
  ["an unknown kid", header({ kid: "else" })],
  ["a kid with a path", header({ kid: "../../etc/passwd" })],
  ["a kid that objects inherit", header({ kid: "__proto__" })],
  [
    "a key that the issuer does not have, under the name of one that it has",
    signText(headerText, payloadText, "foreign"),
  ],
  [
    "its own key as jwk",
    signText(JSON.stringify({ ...goodHeader(), jwk: foreignJwk }), payloadText, "foreign"),
  ],
  ["a jwk that is the right key", header({ jwk: jwkOf("es") })],
  ["a jku", header({ jku: "https://evil.example/keys.json" })],
  ["an x5u", header({ x5u: "https://evil.example/cert.pem" })],
  ["an x5c", header({ x5c: ["MIIB"] })],
  ["crit", header({ crit: ["exp"], exp: 1 })],
  ["an empty crit", header({ crit: [] })],
  ["b64", header({ b64: false, crit: ["b64"] })],
  ["zip", header({ zip: "DEF" })],
  ["enc", header({ enc: "A256GCM" })],
  ["no typ", header({ typ: undefined })],
  ["the typ of an id token", header({ typ: "JWT" })],
  ["a typ that is no text", header({ typ: 1 })],
  ["a header that is no JSON", signText("{", payloadText, "es")],
  ["a header that is a list", signText("[]", payloadText, "es")],
  ["alg twice", signText(headerText.replace("{", '{"alg":"none",'), payloadText, "es")],
  ["a payload that is no JSON", signText(headerText, "{", "es")],
  ["a payload that is null", signText(headerText, "null", "es")],
  ["a payload with something behind", signText(headerText, `${payloadText}{}`, "es")],
  ["a payload with a byte order mark", signText(headerText, `\uFEFF${payloadText}`, "es")],
  ["sub twice", signText(headerText, payloadText.replace("{", '{"sub":"root",'), "es")],
  [
    "sub twice, once escaped",
    signText(headerText, payloadText.replace("{", '{"s\\u0075b":"root",'), "es"),
  ],
  [
    "a member of ctx twice",
    signText(headerText, payloadText.replace('"tenant"', '"tenant":"x","tenant"'), "es"),
  ],
  [
    "another payload under the signature",
    `${goodHead}.${base64url(JSON.stringify({ ...goodClaims(), sub: "root" }))}.${goodSignature}`,
  ],
  [
    "another header over the signature",
    `${base64url(JSON.stringify({ ...goodHeader(), extra: 1 }))}.${goodPayload}.${goodSignature}`,
  ],
  ["an empty signature", `${goodHead}.${goodPayload}.`],
  ["a signature of zeros", `${goodHead}.${goodPayload}.${base64url(new Uint8Array(64))}`],
  [
    "a signature in DER",
    `${goodHead}.${goodPayload}.${base64url(signatureOf("DER", PAIRS.es.privateKey, "x"))}`,
  ],
  ["no iss", claims({ iss: undefined })],
  ["another iss", claims({ iss: "https://id.example.org/realms/other" })],
  ["an iss with a slash more", claims({ iss: `${ISSUER}/` })],
  ["an iss in a list", claims({ iss: [ISSUER] })],
  ["no aud", claims({ aud: undefined })],
  ["another aud", claims({ aud: "https://hub2.example.org" })],
  ["an aud that begins alike", claims({ aud: `${AUDIENCE}.evil.example` })],
  ["a list of other auds", claims({ aud: ["a", "b"] })],
  ["an empty list of auds", claims({ aud: [] })],
  ["an aud among other things", claims({ aud: [AUDIENCE, 1] })],
  ["an aud that is an object", claims({ aud: { [AUDIENCE]: true } })],
  ["no sub", claims({ sub: undefined })],
  ["an empty sub", claims({ sub: "" })],
  ["a sub that is a number", claims({ sub: 7 })],
  ["a sub with a control character", claims({ sub: "alice\n" })],
  ["a sub with half a character", claims({ sub: "\ud800" })],
  ["a sub of 256 characters", claims({ sub: "a".repeat(256) })],
  ["no jti", claims({ jti: undefined })],
  ["a jti that is no text", claims({ jti: 1 })],
  ["no exp", claims({ exp: undefined })],
  ["an exp that is a text", claims({ exp: String(NOW_S + 900) })],
  ["an exp that is null", claims({ exp: null })],
  ["an exp with a fraction", claims({ exp: NOW_S + 0.5 })],
  [
    "an exp without end",
    signText(headerText, payloadText.replace(/"exp":\d+/u, '"exp":1e999'), "es"),
  ],
  ["a negative exp", claims({ exp: -1 })],
  ["an expired one", claims({ iat: NOW_S - 961, exp: NOW_S - 61 })],
  ["one at the end of what clocks may differ", claims({ iat: NOW_S - 960, exp: NOW_S - 60 })],
  ["one that lasts 901 seconds", claims({ exp: NOW_S + 901 })],
  ["one that lasts a year", claims({ exp: NOW_S + 31_536_000 })],
  ["one that ends before it begins", claims({ exp: NOW_S - 1 })],
  ["no iat", claims({ iat: undefined })],
  ["an iat in milliseconds", claims({ iat: NOW_S * 1_000, exp: NOW_S * 1_000 + 900 })],
  ["an iat in the future", claims({ iat: NOW_S + 61, exp: NOW_S + 161 })],
  ["an iat that is a text", claims({ iat: String(NOW_S) })],
  ["an nbf in the future", claims({ nbf: NOW_S + 61 })],
  ["an nbf that is no number", claims({ nbf: "now" })],
  ["one that is bound to a key", claims({ cnf: { jkt: "x" } })],
  ["no ctx", claims({ ctx: undefined })],
  ["a ctx that is a list", claims({ ctx: [] })],
  ["a ctx with something unknown", context({ only: "line-2" })],
  ["no tenant", claims({ ctx: { roles: [] } })],
  ["a tenant with a slash", context({ tenant: "a/b" })],
  ["no roles", claims({ ctx: { tenant: "acme" } })],
  ["roles that are an object", context({ roles: { 0: role("read"), length: 1 } })],
  [
    "33 roles",
    context({ roles: Array.from({ length: 33 }, (_, i) => role("read", `d${String(i)}`)) }),
  ],
  ["a role that is a text", context({ roles: ["write"] })],
  ["a role with something unknown", context({ roles: [{ ...role("read"), until: 1 }] })],
  ["an unknown access", context({ roles: [role("admin")] })],
  ["an access in capitals", context({ roles: [role("Write")] })],
  ["a space that is no id", context({ roles: [role("read", "", "*")] })],
  ["a space in capitals", context({ roles: [role("read", "", SPACE.toUpperCase())] })],
  ["a prefix that begins with a slash", context({ roles: [role("read", "/a")] })],
  ["a prefix with dots", context({ roles: [role("read", "a/../b")] })],
  ["a prefix of a slash", context({ roles: [role("read", "/")] })],
  ["a prefix with a star", context({ roles: [role("read", "a/*")] })],
  ["a prefix that is no text", context({ roles: [{ ...role("read"), prefix: null }] })],
];

describe("a token is refused that has", () => {
  test.each(BAD)("%s", async (_, bad) => {
    await expect(verifier.verify(bad)).rejects.toMatchObject({
      code: "AUTH_FAILED",
      message: expect.stringMatching(/^the token is refused: /u) as string,
    });
  });

  test.each([
    ["four parts", `${good}.${goodSignature}`, "it does not have three parts"],
    [
      "alg none",
      unsigned("none").replace(/$/u, "AAAA"),
      "its algorithm is none of those that are taken",
    ],
    ["no kid", header({ kid: undefined }), "it names no key"],
    ["PS256 for RS256", mixed("rs", "PS256", "rs"), "its key is for another algorithm"],
    ["an EC key's name on RSA", mixed("rs", "RS256", "es"), "its key is for another algorithm"],
    [
      "a role without a place",
      context({ roles: [{ ...role("read"), space: 1 }] }),
      "a role has no place",
    ],
  ])("%s, before anything behind that is looked at", async (_, bad, reason) => {
    await expect(verifier.verify(bad)).rejects.toThrow(`the token is refused: ${reason}`);
  });

  test("any byte changed", async () => {
    const change = fc.record({ at: fc.nat(good.length - 1), by: fc.integer({ min: 1, max: 126 }) });
    await fc.assert(
      fc.asyncProperty(change, async ({ at, by }) => {
        const code = (good.charCodeAt(at) + by) % 127;
        const changed = good.slice(0, at) + String.fromCharCode(code) + good.slice(at + 1);
        fc.pre(changed !== good);
        await expect(verifier.verify(changed)).rejects.toMatchObject({ code: "AUTH_FAILED" });
      }),
      { numRuns: 300 },
    );
  });

  test("a claim of any other kind than it is", async () => {
    const claim = fc.constantFrom("iss", "aud", "sub", "jti", "iat", "exp", "ctx");
    await fc.assert(
      fc.asyncProperty(claim, fc.jsonValue(), async (name, value) => {
        fc.pre(typeof value !== "string" || (name !== "sub" && name !== "jti"));
        await expect(verifier.verify(claims({ [name]: value }))).rejects.toMatchObject({
          code: "AUTH_FAILED",
        });
      }),
      { numRuns: 300 },
    );
  });

  test("no reason that repeats what is in it", async () => {
    for (const [, bad] of BAD) {
      const error = await verifier.verify(bad).catch((reason: unknown) => reason);
      expect(String(error)).not.toMatch(/alice|evil|root|eyJ/u);
    }
  });
});

describe("a token is accepted", () => {
  test.each(Object.keys(ALG).filter((name) => name !== "foreign") as KeyName[])(
    "that is signed by the key %s",
    async (key) => {
      expect(await verifier.verify(token({ key }))).toEqual({
        id: "token-1",
        subject: "alice",
        tenant: "acme",
        roles: [{ space: SPACE, prefix: "", access: "write" }],
        endsAtMs: (NOW_S + 960) * 1_000,
      });
    },
  );

  test("under the older name of Ed25519", async () => {
    const older = token({ key: "ed", header: { alg: "EdDSA" } });
    expect(await verifier.verify(older)).toMatchObject({ subject: "alice" });
  });

  test.each([
    ["for several, of which this is one", { aud: ["https://other.example", AUDIENCE] }],
    ["that begins a minute from now", { iat: NOW_S + 60, nbf: NOW_S + 60 }],
    ["that ended less than a minute ago", { iat: NOW_S - 959, exp: NOW_S - 59 }],
    ["with claims that are not ours", { scope: "openid", azp: "x", nested: { sub: "x" } }],
    [
      "with the same name at several depths",
      { iss: ISSUER, a: { b: { c: 1 }, c: [{ c: 2 }] }, c: 3 },
    ],
  ])("%s", async (_, changes) => {
    expect(await verifier.verify(claims(changes))).toMatchObject({ subject: "alice" });
  });

  test("whose type is spelt as a media type", async () => {
    const typ = "Application/AT+JWT";
    expect(await verifier.verify(header({ typ }))).toMatchObject({ subject: "alice" });
  });

  test("with a thumbprint in its header, which brings no key", async () => {
    expect(await verifier.verify(header({ x5t: "abc" }))).toMatchObject({ subject: "alice" });
  });

  test("of the type that is configured, and of no other", async () => {
    const clock = createVirtualClock(NOW_S * 1_000);
    const lenient = new TokenVerifier({ ...rules, type: "JWT", clock });
    expect(await lenient.verify(header({ typ: "JWT" }))).toMatchObject({ subject: "alice" });
    await expect(lenient.verify(good)).rejects.toMatchObject({ code: "AUTH_FAILED" });
  });

  test("from a minute before it begins until a minute after its end, and never else", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: -1_000, max: 2_000 }), async (offset) => {
        const verdict = verifierAt((NOW_S + offset) * 1_000).verify(good);
        const accepted = await verdict.then(() => true).catch(() => false);
        expect(accepted).toBe(offset >= -60 && offset < 960);
      }),
      { numRuns: 200 },
    );
  });
});
