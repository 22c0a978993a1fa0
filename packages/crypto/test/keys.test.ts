// SPDX-License-Identifier: Apache-2.0
import { MeshError } from "@ctxmesh/model";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import {
  ALGORITHMS,
  SUITES,
  createSigner,
  createVerifier,
  formatPrivateKey,
  generatePrivateKey,
  parsePrivateKey,
  parsePublicKey,
  sha256,
  toPublicJwk,
  toPublicKey,
} from "@ctxmesh/crypto";
import type { Algorithm, Suite } from "@ctxmesh/crypto";
import { keyOperations } from "../src/keys.ts";
import { haveVectors, readVector, skipNote } from "./vectors.ts";

const random = {
  bytes: (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 11 + 5) & 0xff),
};
const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    return error instanceof MeshError ? `${error.code}: ${error.message}` : String(error);
  }
  return "no error";
};
const jwkOf = (alg: Algorithm): Record<string, string> =>
  JSON.parse(formatPrivateKey(generatePrivateKey(alg, random))) as Record<string, string>;

test.skipIf(!haveVectors).each(["ML-DSA-65-Ed25519", "ML-DSA-44-Ed25519"])(
  `the key id is the thumbprint of the JOSE draft's vector for %s${skipNote}`,
  (alg) => {
    const { jwk } = readVector<{ jwk: Record<string, string> }>(`composite-jose-${alg}.json`);
    const { kid, ...members } = jwk;
    expect(parsePrivateKey(JSON.stringify(members)).keyid).toBe(kid);
    const { priv: _, ...open } = members;
    expect(parsePublicKey(open).keyid).toBe(kid);
  },
);

test("the key id of an Ed25519 key is the thumbprint of RFC 8037 appendix A.3", () => {
  const key = parsePublicKey({
    kty: "OKP",
    crv: "Ed25519",
    x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  });
  expect(key.keyid).toBe("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
});

describe.each(ALGORITHMS)("a %s key", (alg) => {
  const key = generatePrivateKey(alg, random);

  test("survives its file and signs for its public part", () => {
    const again = parsePrivateKey(formatPrivateKey(key));
    expect(again.keyid).toBe(key.keyid);
    expect(again.seed).toEqual(key.seed);
    const open = parsePublicKey(JSON.parse(JSON.stringify(toPublicJwk(key))));
    expect(open).toEqual(toPublicKey(key));
    const message = Uint8Array.of(1, 2, 3);
    expect(createVerifier(open).verify(message, createSigner(again).sign(message))).toBe(true);
  });

  test("does not print its seed", () => {
    const secret = Buffer.from(key.seed);
    const shown = `${inspect(key)} ${JSON.stringify(key)} ${inspect(createSigner(key))}`;
    expect(shown).not.toContain("seed");
    expect(shown).not.toContain(secret.toString("base64url"));
  });

  test("is refused when its public part belongs to another seed", () => {
    const jwk = jwkOf(alg);
    const other = toPublicJwk(
      generatePrivateKey(alg, { bytes: (length) => new Uint8Array(length).fill(3) }),
    );
    expect(codeOf(() => parsePrivateKey(JSON.stringify({ ...jwk, ...other })))).toMatch(
      /^KEY_INVALID: .* does not belong to/u,
    );
  });

  test("is refused as a public key while it still holds its secret", () => {
    expect(codeOf(() => parsePublicKey(jwkOf(alg)))).toMatch(/this must be a public key$/u);
  });

  test("is refused with a short, padded or missing secret, and the message does not quote it", () => {
    const jwk = jwkOf(alg);
    const member = alg === "Ed25519" ? "d" : "priv";
    const secret = jwk[member] ?? "";
    for (const bad of [secret.slice(4), `${secret}=`, `${secret.slice(0, -1)} `, undefined, 7]) {
      const message = codeOf(() => parsePrivateKey(JSON.stringify({ ...jwk, [member]: bad })));
      expect(message).toMatch(/^KEY_INVALID: /u);
      expect(message).not.toContain(secret.slice(4, 20));
    }
  });
});

test("what is no key file is refused with a word about why, and without its content", () => {
  const cases: [string, RegExp][] = [
    ["", /not JSON/u],
    ["s3cret", /not JSON/u],
    ["[]", /not a JSON object/u],
    ["null", /not a JSON object/u],
    ["{}", /neither kty/u],
    ['{"kty":"RSA","n":"s3cret"}', /neither kty/u],
    ['{"kty":"AKP","alg":"ML-DSA-87","pub":"","priv":"s3cret"}', /neither kty/u],
    ['{"kty":"OKP","crv":"Ed25519","x":"","d":"","kid":"s3cret"}', /unexpected member "kid"/u],
  ];
  for (const [text, expected] of cases) {
    const message = codeOf(() => parsePrivateKey(text));
    expect(message).toMatch(/^KEY_INVALID/u);
    expect(message).toMatch(expected);
    expect(message).not.toContain("s3cret");
  }
});

/** Signs by hashing: good for nothing, and as much of a suite as any other. */
const HASH_SUITE: Suite = {
  kty: "AKP",
  seedBytes: 16,
  publicKeyBytes: 32,
  signatureBytes: 32,
  publicFromSeed: (seed) => sha256(seed),
  assertPublicKey: (publicKey) => {
    if (publicKey.length !== 32) throw new MeshError("KEY_INVALID", "not 32 bytes");
  },
  components: (publicKey) => [publicKey],
  signer: (seed) => (message) => sha256(sha256(seed), message),
  verifier: (publicKey) => (message, signature) =>
    Buffer.compare(sha256(publicKey, message), signature) === 0,
};

test("a row in the table is all that a new suite needs", () => {
  const keys = keyOperations({ ...SUITES, "TEST-HASH": HASH_SUITE });
  const key = keys.generatePrivateKey("TEST-HASH", random);
  const file = keys.formatPrivateKey(key);
  expect(JSON.parse(file)).toMatchObject({ kty: "AKP", alg: "TEST-HASH" });
  const again = keys.parsePrivateKey(file);
  expect(again.keyid).toBe(key.keyid);
  const open = keys.parsePublicKey(JSON.parse(JSON.stringify(keys.toPublicJwk(again))));
  expect(open).toEqual(keys.toPublicKey(key));
  const message = Uint8Array.of(4, 5);
  const signature = keys.createSigner(again).sign(message);
  expect(keys.createVerifier(open).verify(message, signature)).toBe(true);
  expect(keys.createVerifier(open).verify(signature, signature)).toBe(false);
  expect(codeOf(() => keys.parsePublicKey({ ...keys.toPublicJwk(open), pub: "AAAA" }))).toMatch(
    /^KEY_INVALID/u,
  );
  // The closed table does not know it, and knows nothing by the wrong kind of name.
  expect(codeOf(() => parsePrivateKey(file))).toMatch(/neither kty/u);
  for (const jwk of [
    { kty: "OKP", crv: "TEST-HASH", x: "AAAA" },
    { kty: "AKP", alg: "Ed25519", pub: "AAAA" },
    { kty: "AKP", alg: "toString", pub: "AAAA" },
  ]) {
    expect(codeOf(() => keys.parsePublicKey(jwk))).toMatch(/neither kty/u);
  }
});

test("a verifier is made once for a key object, and once more for the cross-check", () => {
  const key = toPublicKey(generatePrivateKey("ML-DSA-65-Ed25519", random));
  expect(createVerifier(key)).toBe(createVerifier(key));
  expect(createVerifier(key, { crossCheck: true })).toBe(createVerifier(key, { crossCheck: true }));
  expect(createVerifier(key, { crossCheck: true })).not.toBe(createVerifier(key));
});
