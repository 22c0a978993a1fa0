// SPDX-License-Identifier: Apache-2.0
import { fromHex, toHex } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Point } from "@noble/ed25519";
import { SUITES, createDeviceSigner, createDeviceVerifier, generateSeed } from "@ctxmesh/crypto";
import { sha512 } from "../src/hash.ts";
import { haveVectors, readVector, skipNote } from "./vectors.ts";

interface Vectors {
  testGroups: {
    publicKey: { pk: string };
    tests: { tcId: number; msg: string; sig: string; result: string }[];
  }[];
}

const suiteAccepts = (
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean => {
  try {
    return SUITES.Ed25519.verifier(publicKey)(message, signature);
  } catch {
    return false;
  }
};

describe.skipIf(!haveVectors)(`Ed25519 agrees with Wycheproof${skipNote}`, () => {
  const device = createDeviceVerifier();
  test.each([
    ["the device verifier", device.verify.bind(device)],
    ["the suite", suiteAccepts],
  ] as const)("%s gives every case the stated result", (_, verify) => {
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
  const bothAccept = (message: Uint8Array, made: ReturnType<typeof forge>): boolean[] => [
    createDeviceVerifier().verify(made.publicKey, message, made.signature),
    suiteAccepts(made.publicKey, message, made.signature),
  ];
  const message = Uint8Array.of(1, 2, 3);

  test("the forging helper makes valid signatures when it adds nothing", () => {
    expect(bothAccept(message, forge(message, Point.ZERO, Point.ZERO))).toEqual([true, true]);
  });

  test("a public key with torsion never verifies, whatever the message", () => {
    // Cofactorless verifiers accept one in eight of these: so try enough messages to meet one.
    for (let i = 0; i < 24; i++) {
      const varied = Uint8Array.of(i);
      expect(bothAccept(varied, forge(varied, torsion, Point.ZERO))).toEqual([false, false]);
    }
  });

  test("an R with torsion is refused", () => {
    expect(bothAccept(message, forge(message, Point.ZERO, torsion))).toEqual([false, false]);
  });

  test("an R that is the identity is refused", () => {
    expect(bothAccept(message, forge(message, Point.ZERO, Point.ZERO, 0n))).toEqual([false, false]);
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
    expect(bothAccept(message, { publicKey, signature: shifted })).toEqual([false, false]);
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
