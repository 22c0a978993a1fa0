// SPDX-License-Identifier: Apache-2.0
import { fromHex, toHex } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Point } from "@noble/ed25519";
import { SUITES, createDeviceSigner, createDeviceVerifier, generateSeed } from "@ctxmesh/crypto";
import { sha512 } from "../src/native.ts";
import { VERIFIERS, accepts } from "./engines.ts";
import { haveVectors, readVector, skipNote } from "./vectors.ts";

interface Vectors {
  testGroups: {
    publicKey: { pk: string };
    tests: { tcId: number; msg: string; sig: string; result: string }[];
  }[];
}

type Accepts = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;

const device = createDeviceVerifier();
/** Everybody who verifies, each by itself: the rule must not depend on who looks. */
const everybody: readonly (readonly [string, Accepts])[] = [
  ...VERIFIERS.map(
    ([name, verifierOf]) =>
      [name, (...parts: Parameters<Accepts>) => accepts(verifierOf, "ed25519", ...parts)] as const,
  ),
  ["the device verifier", device.verify.bind(device)],
];

describe.skipIf(!haveVectors)(`Ed25519 agrees with Wycheproof${skipNote}`, () => {
  test.each(everybody)("%s gives every case the stated result", (_, verify) => {
    const wrong: number[] = [];
    let cases = 0;
    for (const group of readVector<Vectors>("wycheproof-ed25519_test.json").testGroups) {
      for (const entry of group.tests) {
        cases += 1;
        const accepted = verify(
          fromHex(group.publicKey.pk),
          fromHex(entry.msg),
          fromHex(entry.sig),
        );
        if (accepted !== (entry.result === "valid")) wrong.push(entry.tcId);
      }
    }
    expect(wrong).toEqual([]);
    expect(cases).toBe(151);
  });
});

const littleEndian = (value: bigint): Uint8Array =>
  fromHex(value.toString(16).padStart(64, "0")).toReversed();

describe("keys and signatures on which verifiers disagree are refused", () => {
  const L = 2n ** 252n + 27742317777372353535851937790883648493n;
  /** A point of order 8 (RFC 7748 lore; one of the eight torsion points). */
  const torsion = Point.fromBytes(
    fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
  );
  const challenge = (r: Uint8Array, key: Uint8Array, message: Uint8Array): bigint =>
    BigInt(`0x${toHex(sha512(Uint8Array.from([...r, ...key, ...message])).toReversed())}`) % L;
  const secret = 123456789n;

  /** A signature by the definition, with chosen points added to the key and to R. */
  const forge = (
    message: Uint8Array,
    keyTorsion: Point,
    rTorsion: Point,
    nonce = 987654321n,
  ): { publicKey: Uint8Array; signature: Uint8Array } => {
    const publicKey = Point.BASE.multiply(secret).add(keyTorsion).toBytes();
    const noncePoint = nonce === 0n ? Point.ZERO : Point.BASE.multiply(nonce);
    const r = noncePoint.add(rTorsion).toBytes();
    const s = (nonce + challenge(r, publicKey, message) * secret) % L;
    return { publicKey, signature: Uint8Array.from([...r, ...littleEndian(s)]) };
  };
  /** The names of those who accept. */
  const whoAccepts = (message: Uint8Array, made: ReturnType<typeof forge>): string[] =>
    everybody
      .filter(([, verify]) => verify(made.publicKey, message, made.signature))
      .map(([name]) => name);
  const message = Uint8Array.of(1, 2, 3);

  test("the forging helper makes valid signatures when it adds nothing", () => {
    expect(whoAccepts(message, forge(message, Point.ZERO, Point.ZERO))).toHaveLength(5);
  });

  test("a public key with torsion never verifies, whatever the message", () => {
    // Cofactorless verifiers accept one in eight of these: so try enough messages to meet one.
    for (let i = 0; i < 24; i++) {
      const varied = Uint8Array.of(i);
      expect(whoAccepts(varied, forge(varied, torsion, Point.ZERO))).toEqual([]);
    }
  });

  test("of all combinations of small components in key and R, as in the CCTV, only the one without any is valid", () => {
    const small = Array.from({ length: 8 }, (_, i) =>
      i === 0 ? Point.ZERO : torsion.multiplyUnsafe(BigInt(i)),
    );
    expect(new Set(small.map((point) => point.toHex())).size).toBe(8);
    for (const [i, inKey] of small.entries()) {
      for (const [j, inR] of small.entries()) {
        const accepted = whoAccepts(message, forge(message, inKey, inR));
        expect(accepted, `${String(i)} ${String(j)}`).toHaveLength(i === 0 && j === 0 ? 5 : 0);
        // The same with an R of the small component alone.
        expect(whoAccepts(message, forge(message, inKey, inR, 0n))).toEqual([]);
      }
    }
  });

  test("an R that is the identity is refused", () => {
    expect(whoAccepts(message, forge(message, Point.ZERO, Point.ZERO, 0n))).toEqual([]);
  });

  test("a public key of small order or in a non-canonical encoding is refused", () => {
    const nonCanonical = fromHex(`ee${"ff".repeat(30)}7f`);
    for (const key of [Point.ZERO.toBytes(), torsion.toBytes(), nonCanonical]) {
      expect(() => SUITES.Ed25519.verifier(key)).toThrow(/prime-order group/u);
    }
  });

  test("S + L is refused", () => {
    const { publicKey, signature } = forge(message, Point.ZERO, Point.ZERO);
    const s = BigInt(`0x${toHex(signature.slice(32).toReversed())}`);
    const shifted = Uint8Array.from([...signature.subarray(0, 32), ...littleEndian(s + L)]);
    expect(whoAccepts(message, { publicKey, signature: shifted })).toEqual([]);
  });
});

describe("device keys", () => {
  test("a signer's signatures verify under its public key alone", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.uint8Array({ maxLength: 200 }),
        (seed, message) => {
          const [signer, verifier] = [createDeviceSigner(seed), createDeviceVerifier()];
          const signature = signer.sign(message);
          expect(verifier.verify(signer.publicKey, message, signature)).toBe(true);
          const other = createDeviceSigner(seed.map((byte) => byte ^ 1)).publicKey;
          expect(verifier.verify(other, message, signature)).toBe(false);
        },
      ),
      { numRuns: 25 },
    );
  });

  test("garbage of any length is false, not an exception", () => {
    const verifier = createDeviceVerifier();
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 80 }),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.uint8Array({ minLength: 64, maxLength: 64 }),
    );
    fc.assert(
      fc.property(anything, anything, anything, (key, message, signature) => {
        expect(verifier.verify(key, message, signature)).toBe(false);
      }),
    );
  });

  test("the verifier does not keep the caller's key buffer", () => {
    const [verifier, signer] = [createDeviceVerifier(), createDeviceSigner(new Uint8Array(32))];
    const [key, message] = [signer.publicKey.slice(), Uint8Array.of(9)];
    const signature = signer.sign(message);
    expect(verifier.verify(key, message, signature)).toBe(true);
    key.fill(0);
    expect(verifier.verify(key, message, signature)).toBe(false);
    expect(verifier.verify(signer.publicKey, message, signature)).toBe(true);
  });

  test("a seed comes from the random source, and a short one is refused", () => {
    expect(generateSeed({ bytes: (length) => new Uint8Array(length).fill(7) })).toEqual(
      new Uint8Array(32).fill(7),
    );
    expect(() => generateSeed({ bytes: () => new Uint8Array(31) })).toThrow(/31 bytes/u);
  });
});
