// SPDX-License-Identifier: Apache-2.0
import { MeshError } from "@ctxmesh/model";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import {
  ALGORITHMS,
  createSigner,
  createVerifier,
  formatPrivateKey,
  generatePrivateKey,
  parsePrivateKey,
  parsePublicKey,
  toPublicJwk,
  toPublicKey,
} from "@ctxmesh/crypto";
import type { Algorithm } from "@ctxmesh/crypto";
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

test.skipIf(!haveVectors)(
  `the key id is the thumbprint of the JOSE draft's vector${skipNote}`,
  () => {
    const { jwk } = readVector<{ jwk: Record<string, string> }>(
      "composite-jose-ML-DSA-65-Ed25519.json",
    );
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
