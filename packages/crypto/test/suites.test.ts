// SPDX-License-Identifier: Apache-2.0
import { fromHex, toHex } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
// oxlint-disable-next-line import/extensions -- the export path of the package ends in .js
import { ml_dsa65 } from "@noble/post-quantum/ml-dsa.js";
import { ALGORITHMS, SUITES } from "@ctxmesh/crypto";
import { ed25519Signer } from "../src/ed25519.ts";
import { mlDsaVerifier } from "../src/mldsa.ts";
import { compositeMessage } from "../src/suites.ts";
import { haveVectors, readVector, skipNote } from "./vectors.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const base64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));
const composite = SUITES["ML-DSA-65-Ed25519"];

/** A copy with one bit changed. */
function flip(target: Uint8Array, bit: number): Uint8Array {
  const copy = target.slice();
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

/** The ML-DSA half of one composite signature with the Ed25519 half of another. */
const mix = (first: Uint8Array, second: Uint8Array): Uint8Array =>
  Uint8Array.from([...first.subarray(0, 3309), ...second.subarray(3309)]);

interface LampsVectors {
  m: string;
  tests: { tcId: string; pk: string; sk: string; s: string; sWithContext: string }[];
}
interface JoseVector {
  jws: string;
  raw_to_be_signed: string;
  raw_composite_signature: string;
  raw_composite_public_key: string;
}
interface MlDsaVectors {
  testGroups: {
    publicKey: string;
    tests: { tcId: number; msg: string; ctx?: string; sig: string; result: string }[];
  }[];
}

describe.skipIf(!haveVectors)(`the composite suite agrees with the drafts${skipNote}`, () => {
  test("LAMPS: the public key follows from the seed and the signature verifies", () => {
    const vectors = readVector<LampsVectors>("composite-lamps-ed25519-subset.json");
    const vector = vectors.tests.find((entry) => entry.tcId === "id-MLDSA65-Ed25519-SHA512");
    if (vector === undefined) throw new Error("no vector for the suite");
    const [message, publicKey] = [base64(vectors.m), base64(vector.pk)];
    expect(toHex(composite.publicFromSeed(base64(vector.sk)))).toBe(toHex(publicKey));
    const verify = composite.verifier(publicKey);
    expect(verify(message, base64(vector.s))).toBe(true);
    expect(verify(message, base64(vector.sWithContext))).toBe(false);
  });

  test("JOSE: the prepared message and the deterministic signature are equal byte for byte", () => {
    const vector = readVector<JoseVector>("composite-jose-ML-DSA-65-Ed25519.json");
    const [header = "", payload = ""] = vector.jws.split(".");
    const message = bytes(`${header}.${payload}`);
    const prepared = compositeMessage(message);
    expect(toHex(prepared)).toBe(vector.raw_to_be_signed);
    const seed = new Uint8Array(32);
    const first = ml_dsa65.sign(prepared, ml_dsa65.keygen(seed).secretKey, {
      context: bytes("COMPSIG-MLDSA65-Ed25519-SHA512"),
      extraEntropy: false,
    });
    expect(toHex(first) + toHex(ed25519Signer(seed)(prepared))).toBe(
      vector.raw_composite_signature,
    );
    const publicKey = composite.publicFromSeed(new Uint8Array(64));
    expect(toHex(publicKey)).toBe(vector.raw_composite_public_key);
    expect(composite.verifier(publicKey)(message, fromHex(vector.raw_composite_signature))).toBe(
      true,
    );
  });
});

describe.skipIf(!haveVectors)(`ML-DSA-65 agrees with Wycheproof${skipNote}`, () => {
  test("every case has the stated result", () => {
    const wrong: number[] = [];
    let cases = 0;
    const { testGroups } = readVector<MlDsaVectors>("wycheproof-mldsa_65_verify_test.json");
    for (const group of testGroups) {
      for (const entry of group.tests) {
        cases += 1;
        if (mlDsaAccepts(group.publicKey, entry) !== (entry.result === "valid")) {
          wrong.push(entry.tcId);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(cases).toBe(210);
  });
});

/** Whether the verifier accepts; a key or context that can't be loaded counts as a refusal. */
function mlDsaAccepts(
  publicKey: string,
  entry: { msg: string; ctx?: string; sig: string },
): boolean {
  try {
    const verify = mlDsaVerifier("ml-dsa-65", fromHex(publicKey), fromHex(entry.ctx ?? ""));
    return verify(fromHex(entry.msg), fromHex(entry.sig));
  } catch {
    return false;
  }
}

describe.each(ALGORITHMS)("%s", (alg) => {
  const suite = SUITES[alg];
  const seed = Uint8Array.from({ length: suite.seedBytes }, (_, i) => (i * 7 + 1) & 0xff);
  const publicKey = suite.publicFromSeed(seed);
  const sign = suite.signer(seed);
  const verify = suite.verifier(publicKey);

  test("what it signs verifies, and has the lengths of its row", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (message) => {
        const signature = sign(message);
        expect(signature.length).toBe(suite.signatureBytes);
        expect(verify(message, signature)).toBe(true);
      }),
      { numRuns: 10 },
    );
    expect(publicKey.length).toBe(suite.publicKeyBytes);
  });

  test("one changed bit of the signature or of the message never verifies", () => {
    const message = bytes("the quick brown fox");
    const signature = sign(message);
    fc.assert(
      fc.property(fc.nat(signature.length * 8 - 1), (bit) => {
        expect(verify(message, flip(signature, bit))).toBe(false);
      }),
      { numRuns: 40 },
    );
    fc.assert(
      fc.property(fc.nat(message.length * 8 - 1), (bit) => {
        expect(verify(flip(message, bit), signature)).toBe(false);
      }),
      { numRuns: 10 },
    );
  });

  test("a key, seed or signature of another length is refused", () => {
    const message = bytes("m");
    expect(verify(message, sign(message).subarray(1))).toBe(false);
    expect(verify(message, new Uint8Array(0))).toBe(false);
    for (const wrong of [seed.subarray(1), new Uint8Array(0)]) {
      expect(() => suite.signer(wrong)).toThrow(/bytes, not/u);
      expect(() => suite.publicFromSeed(wrong)).toThrow(/bytes, not/u);
    }
    expect(() => suite.verifier(publicKey.subarray(1))).toThrow(/bytes, not/u);
    expect(() => {
      suite.assertPublicKey(publicKey.subarray(1));
    }).toThrow(/bytes, not/u);
  });
});

describe("a composite signature is not two loose signatures", () => {
  const seed = Uint8Array.from({ length: 64 }, (_, i) => i);
  const [mine, theirs] = [composite.signer(seed), composite.signer(seed.toReversed())];
  const verify = composite.verifier(composite.publicFromSeed(seed));
  const message = bytes("statement");

  test("each half alone, with the other one stripped or another key's, is refused", () => {
    const [good, other] = [mine(message), theirs(message)];
    expect(verify(message, mix(good, good))).toBe(true);
    expect(verify(message, mix(good, other))).toBe(false);
    expect(verify(message, mix(other, good))).toBe(false);
    expect(verify(message, mix(good, new Uint8Array(3373)))).toBe(false);
    expect(verify(message, mix(new Uint8Array(3373), good))).toBe(false);
  });

  test("halves made over the plain message, without the composite construction, are refused", () => {
    const mlDsa = ml_dsa65.sign(message, ml_dsa65.keygen(seed.subarray(0, 32)).secretKey);
    const ed25519 = ed25519Signer(seed.subarray(32))(message);
    expect(verify(message, Uint8Array.from([...mlDsa, ...ed25519]))).toBe(false);
  });

  test("signing is hedged: two signatures of one message differ", () => {
    expect(toHex(mine(message))).not.toBe(toHex(mine(message)));
  });
});
