// SPDX-License-Identifier: Apache-2.0
import { fromHex, toHex } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
// oxlint-disable-next-line import/extensions -- the export path of the package ends in .js
import { ml_dsa44, ml_dsa65 } from "@noble/post-quantum/ml-dsa.js";
// oxlint-disable-next-line import/extensions -- the export path of the package ends in .js
import { ml_kem768_x25519 } from "@noble/post-quantum/hybrid.js";
import { ALGORITHMS, SUITES } from "@ctxmesh/crypto";
import { sha512 } from "../src/native.ts";
import { portableEngine } from "../src/portable.ts";
import { compositeMessage } from "../src/suites.ts";
import { VERIFIERS, accepts, native } from "./engines.ts";
import { haveVectors, readVector, readVectorText, skipNote } from "./vectors.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const base64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));
const text = (part: Uint8Array | undefined): string => new TextDecoder().decode(part);
const composite = SUITES["ML-DSA-65-Ed25519"];

/** The strings of SSH's wire format (RFC 4251): a 32-bit length, and so many bytes. */
function sshStrings(blob: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let at = 0; at < blob.length;) {
    const length = new DataView(blob.buffer, blob.byteOffset).getUint32(at);
    found.push(blob.slice(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return found;
}
const sshString = (part: Uint8Array): number[] => [
  0,
  0,
  part.length >> 8,
  part.length & 255,
  ...part,
];

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
  ctx: string;
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

const COMPOSITES = [
  ["ML-DSA-65-Ed25519", "id-MLDSA65-Ed25519-SHA512", "COMPSIG-MLDSA65-Ed25519-SHA512", ml_dsa65],
  ["ML-DSA-44-Ed25519", "id-MLDSA44-Ed25519-SHA512", "COMPSIG-MLDSA44-Ed25519-SHA512", ml_dsa44],
] as const;
const bothWays = [{ crossCheck: false }, { crossCheck: true }];

describe.skipIf(!haveVectors).each(COMPOSITES)(
  `%s agrees with the drafts${skipNote}`,
  (alg, lampsId, label, mlDsa) => {
    const suite = SUITES[alg];

    test.each(bothWays)(
      "LAMPS: the public key follows from the seed and the signature verifies, %o",
      (options) => {
        const vectors = readVector<LampsVectors>("composite-lamps-ed25519-subset.json");
        const vector = vectors.tests.find((entry) => entry.tcId === lampsId);
        if (vector === undefined) throw new Error("no vector for the suite");
        const [message, publicKey] = [base64(vectors.m), base64(vector.pk)];
        expect(toHex(suite.publicFromSeed(base64(vector.sk)))).toBe(toHex(publicKey));
        const verify = suite.verifier(publicKey, options);
        expect(verify(message, base64(vector.s))).toBe(true);
        expect(verify(message, base64(vector.sWithContext))).toBe(false);
      },
    );

    test("JOSE: the prepared message and the deterministic signature are equal byte for byte", () => {
      const vector = readVector<JoseVector>(`composite-jose-${alg}.json`);
      const [header = "", payload = ""] = vector.jws.split(".");
      const message = bytes(`${header}.${payload}`);
      const prepared = compositeMessage(bytes(label), message);
      expect(toHex(prepared)).toBe(vector.raw_to_be_signed);
      const seed = new Uint8Array(32);
      const first = mlDsa.sign(prepared, mlDsa.keygen(seed).secretKey, {
        context: bytes(label),
        extraEntropy: false,
      });
      for (const engine of [native("ed25519"), portableEngine]) {
        const second = engine.keyPair("ed25519", seed).sign(prepared);
        expect(toHex(first) + toHex(second)).toBe(vector.raw_composite_signature);
      }
      const publicKey = suite.publicFromSeed(new Uint8Array(64));
      expect(toHex(publicKey)).toBe(vector.raw_composite_public_key);
      for (const options of bothWays) {
        const verify = suite.verifier(publicKey, options);
        expect(verify(message, fromHex(vector.raw_composite_signature))).toBe(true);
      }
    });
  },
);

test.skipIf(!haveVectors).each(["ml-dsa-44", "ml-dsa-65"] as const)(
  `LAMPS: the plain %s of the same file verifies by every verifier${skipNote}`,
  (name) => {
    const vectors = readVector<LampsVectors>("composite-lamps-ed25519-subset.json");
    const vector = vectors.tests.find(({ tcId }) => tcId === `id-${name.toUpperCase()}`);
    if (vector === undefined) throw new Error("no vector for the parameter set");
    const [message, key] = [base64(vectors.m), base64(vector.pk)];
    const context = base64(vectors.ctx);
    for (const [who, verifierOf] of VERIFIERS) {
      const verdict = (...parts: [Uint8Array, Uint8Array?]): boolean =>
        accepts(verifierOf, name, key, message, ...parts);
      expect(verdict(base64(vector.s)), who).toBe(true);
      expect(verdict(base64(vector.sWithContext), context), who).toBe(true);
      expect(verdict(base64(vector.sWithContext)), who).toBe(false);
      expect(verdict(base64(vector.s), context), who).toBe(false);
    }
  },
);

describe.skipIf(!haveVectors)(`ML-DSA-65 agrees with Wycheproof${skipNote}`, () => {
  test.each(VERIFIERS)("every case has the stated result by %s", (_, verifierOf) => {
    const wrong: number[] = [];
    let cases = 0;
    const { testGroups } = readVector<MlDsaVectors>("wycheproof-mldsa_65_verify_test.json");
    for (const { publicKey, tests } of testGroups) {
      for (const { tcId, msg, ctx = "", sig, result } of tests) {
        cases += 1;
        const [key, message, signature] = [fromHex(publicKey), fromHex(msg), fromHex(sig)];
        const accepted = accepts(verifierOf, "ml-dsa-65", key, message, signature, fromHex(ctx));
        if (accepted !== (result === "valid")) wrong.push(tcId);
      }
    }
    expect(wrong).toEqual([]);
    expect(cases).toBe(210);
  });
});

test.skipIf(!haveVectors)(
  `OpenSSH: the SSHSIG of an ssh-mldsa44-ed25519 key verifies, for its text and namespace alone${skipNote}`,
  () => {
    const pem = readVectorText("openssh-sshsig-mldsa44-ed25519.sig.txt");
    const blob = base64(pem.replaceAll(/-----[A-Z ]+-----/gu, "")).subarray("SSHSIG".length + 4);
    const [keyBlob, namespace, reserved, hashName, signatureBlob] = sshStrings(blob);
    const [, publicKey] = sshStrings(keyBlob ?? blob);
    const [type, signature] = sshStrings(signatureBlob ?? blob);
    expect(text(type)).toBe("ssh-mldsa44-ed25519@openssh.com");
    expect(text(hashName)).toBe("sha512");
    expect(text(namespace)).toBe(readVectorText("openssh-sshsig-namespace.txt"));
    const line = readVectorText("openssh-sshsig-mldsa44-ed25519.pub.txt").split(" ");
    expect(toHex(base64(line[1] ?? ""))).toBe(toHex(keyBlob ?? blob));
    const signed = (content: Uint8Array, name: Uint8Array): Uint8Array =>
      Uint8Array.from([
        ...bytes("SSHSIG"),
        ...[name, reserved ?? blob, hashName ?? blob, sha512(content)].flatMap(sshString),
      ]);
    const content = bytes(readVectorText("openssh-sshsig-signed-data.txt"));
    for (const options of bothWays) {
      const verify = SUITES["ML-DSA-44-Ed25519"].verifier(publicKey ?? blob, options);
      const verdict = (what: Uint8Array, name: Uint8Array): boolean =>
        verify(signed(what, name), signature ?? blob);
      expect(verdict(content, namespace ?? blob)).toBe(true);
      expect(verdict(flip(content, 3), namespace ?? blob)).toBe(false);
      expect(verdict(content, bytes("other"))).toBe(false);
    }
  },
);

test.skipIf(!haveVectors)(`X-Wing: noble agrees with the draft's ten vectors${skipNote}`, () => {
  const vectors = readVector<Record<string, string>[]>("xwing-MLKEM768X25519.json");
  expect(vectors).toHaveLength(10);
  for (const { seed = "", randomness = "", pk, ct, ss } of vectors) {
    const { publicKey, secretKey } = ml_kem768_x25519.keygen(fromHex(seed));
    const { cipherText, sharedSecret } = ml_kem768_x25519.encapsulate(
      publicKey,
      fromHex(randomness),
    );
    const opened = ml_kem768_x25519.decapsulate(cipherText, secretKey);
    expect([publicKey, cipherText, sharedSecret, opened].map(toHex)).toEqual([pk, ct, ss, ss]);
  }
});

describe.each(["ed25519", "ml-dsa-44", "ml-dsa-65"] as const)("%s of OpenSSL and noble", (name) => {
  test("are the same keys, and each verifies what the other one signed, context included", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.uint8Array({ maxLength: 200 }),
        fc.option(fc.uint8Array({ minLength: 1, maxLength: 255 }), { nil: undefined }),
        (seed, message, anyContext) => {
          const context = name === "ed25519" ? undefined : anyContext;
          const engines = [native(name), portableEngine];
          const [first, second] = engines.map((engine) => engine.keyPair(name, seed));
          expect(toHex(first?.publicKey ?? seed)).toBe(toHex(second?.publicKey ?? message));
          for (const pair of engines.map((engine) => engine.keyPair(name, seed))) {
            const signature = pair.sign(message, context);
            for (const engine of engines) {
              const verify = engine.verifier(name, pair.publicKey);
              expect(verify(message, signature, context)).toBe(true);
              expect(verify(flip(Uint8Array.of(0, ...message), 0), signature, context)).toBe(false);
            }
          }
        },
      ),
      { numRuns: 8 },
    );
  });
});

describe.each(ALGORITHMS)("%s", (alg) => {
  const suite = SUITES[alg];
  const seed = Uint8Array.from({ length: suite.seedBytes }, (_, i) => (i * 7 + 1) & 0xff);
  const publicKey = suite.publicFromSeed(seed);
  const sign = suite.signer(seed);
  const verify = suite.verifier(publicKey, { crossCheck: true });

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
  const ed25519 = native("ed25519").keyPair("ed25519", seed.subarray(32));
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
    expect(verify(message, Uint8Array.from([...mlDsa, ...ed25519.sign(message)]))).toBe(false);
  });

  test("signing is hedged: two signatures of one message differ", () => {
    expect(toHex(mine(message))).not.toBe(toHex(mine(message)));
  });
});
