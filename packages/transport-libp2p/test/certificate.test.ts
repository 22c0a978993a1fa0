// SPDX-License-Identifier: Apache-2.0
import { X509Certificate } from "node:crypto";
import { MeshError, toMeshError } from "@ctxmesh/model";
import { generateKeyPair } from "@libp2p/crypto/keys";
import { peerIdFromPrivateKey } from "@libp2p/peer-id";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createCertificate, verifyCertificate } from "../src/certificate.ts";
import { TAG, encodeElement, readElements, readOnly } from "../src/der.ts";
import type { DerElement } from "../src/der.ts";

const NOW = Date.parse("2026-07-01T00:00:00Z");
const YEAR = 31_557_600_000;

async function newCertificate(): Promise<{ readonly id: string; readonly raw: Uint8Array }> {
  const privateKey = await generateKeyPair("Ed25519");
  const { cert } = await createCertificate(privateKey);
  return { id: peerIdFromPrivateKey(privateKey).toString(), raw: new X509Certificate(cert).raw };
}

describe("certificates of the libp2p TLS handshake", () => {
  test("name the device whose key made them, whatever the clock says", async () => {
    const { id, raw } = await newCertificate();
    for (const now of [NOW, 0, NOW + 1_000 * YEAR]) {
      expect((await verifyCertificate(raw, now)).toString()).toBe(id);
    }
  });

  test("with a byte changed name nobody else, and nobody but for the self-signature's sake", async () => {
    const { raw } = await newCertificate();
    const at = fc.nat(raw.length - 1);
    await fc.assert(
      fc.asyncProperty(at, fc.integer({ min: 1, max: 255 }), async (index, change) => {
        const changed = Uint8Array.from(raw);
        changed[index] = (changed[index] ?? 0) ^ change;
        await expect(verifyCertificate(changed, NOW)).rejects.toMatchObject({
          code: expect.stringMatching(/^(AUTH_FAILED|FORMAT_INVALID)$/u),
        });
      }),
      { numRuns: 400 },
    );
  });

  test("cut short, or of any bytes, are refused with a code", async () => {
    const { raw } = await newCertificate();
    const short = fc.nat(raw.length - 1).map((length) => raw.subarray(0, length));
    await fc.assert(
      fc.asyncProperty(fc.oneof(short, fc.uint8Array({ maxLength: 6_000 })), async (bytes) => {
        await expect(verifyCertificate(bytes, NOW)).rejects.toMatchObject({
          code: expect.stringMatching(/^(AUTH_FAILED|FORMAT_INVALID)$/u),
        });
      }),
    );
  });

  test("of one device can't be given the key of another", async () => {
    const [a, b] = [await newCertificate(), await newCertificate()];
    // The extension ends 75 bytes of signature and algorithm before the end; both have the same layout up to it.
    const marker = Buffer.from("06 0a 2b 06 01 04 01 83 a2 5a 01 01".replaceAll(" ", ""), "hex");
    const [from, to] = [Buffer.from(a.raw).indexOf(marker), Buffer.from(b.raw).indexOf(marker)];
    const mixed = Buffer.from(b.raw);
    Buffer.from(a.raw).copy(mixed, to, from, from + 122);
    await expect(verifyCertificate(mixed, NOW)).rejects.toMatchObject({ code: "AUTH_FAILED" });
  });
});

describe("a certificate that proves nothing", () => {
  test("is one that somebody else signed in the name of a device", async () => {
    const [victim, thief] = [await generateKeyPair("Ed25519"), await generateKeyPair("Ed25519")];
    const forged = { ...thief, publicKey: victim.publicKey, sign: thief.sign.bind(thief) };
    const { cert } = await createCertificate(forged);
    const { raw } = new X509Certificate(cert);
    await expect(verifyCertificate(raw, NOW)).rejects.toMatchObject({
      code: "AUTH_FAILED",
      message: expect.stringContaining("not signed by the device key"),
    });
  });

  test.each([
    ["critical", [encodeElement(TAG.boolean, Uint8Array.of(0xff))], "unknown critical extension"],
    ["not critical", [], "not signed by its own key"],
  ])("is one with an unknown extension that is %s only if it is", async (_, critical, message) => {
    const { raw } = await newCertificate();
    const [tbs, ...rest] = readElements(readOnly(raw, TAG.sequence).content);
    const fields = readElements(tbs?.content ?? raw);
    const known = readOnly(fields.at(-1)?.content ?? raw, TAG.sequence).content;
    const name = encodeElement(TAG.oid, Uint8Array.of(0x2a, 3));
    const value = encodeElement(TAG.octetString);
    const extension = encodeElement(TAG.sequence, name, ...critical, value);
    const changed = encodeElement(
      TAG.sequence,
      encodeElement(
        TAG.sequence,
        ...fields.slice(0, -1).map((field) => field.raw),
        encodeElement(TAG.extensions, encodeElement(TAG.sequence, known, extension)),
      ),
      ...rest.map((element) => element.raw),
    );
    await expect(verifyCertificate(changed, NOW)).rejects.toMatchObject({
      code: "AUTH_FAILED",
      message: expect.stringContaining(message),
    });
  });
});

/** The test vectors of libp2p/specs, tls/tls.md. */
const HEAD =
  "0201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8173e55bd37e381569ea3";
const VECTORS = {
  ed25519: `308201ae30820156a003${HEAD}7c307a3078060a2b0601040183a25a0101046a3068042408011220a77f1d92fedb59dddaea5a1c4abd1ac2fbde7d7b879ed364501809923d7c11b90440d90d2769db992d5e6195dbb08e706b6651e024fda6cfb8846694a435519941cac215a8207792e42849cccc6cd8136c6e4bde92a58c5e08cfd4206eb5fe0bf909300a06082a8648ce3d0403020346003043021f50f6b6c52711a881778718238f650c9fb48943ae6ee6d28427dc6071ae55e702203625f116a7a454db9c56986c82a25682f7248ea1cb764d322ea983ed36a31b77`,
  ecdsa: `308201f63082019da003${HEAD}81c23081bf3081bc060a2b0601040183a25a01010481ad3081aa045f0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004bf30511f909414ebdd3242178fd290f093a551cf75c973155de0bb5a96fedf6cb5d52da7563e794b512f66e60c7f55ba8a3acf3dd72a801980d205e8a1ad29f2044730450220064ea8124774caf8f50e57f436aa62350ce652418c019df5d98a3ac666c9386a022100aa59d704a931b5f72fb9222cb6cc51f954d04a4e2e5450f8805fe8918f71eaae300a06082a8648ce3d04030203470030440220799395b0b6c1e940a7e4484705f610ab51ed376f19ff9d7c16757cfbf61b8d4302206205c03fbb0f95205c779be86581d3e31c01871ad5d1f3435bcf375cb0e5088a`,
} as const;

describe("the test vectors of the specification", () => {
  test("the one with an Ed25519 key names its device", async () => {
    const id = await verifyCertificate(Buffer.from(VECTORS.ed25519, "hex"), NOW);
    expect(id.toString()).toBe("12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv");
  });

  test("the one with a key of another kind is refused: it can't be a device's", async () => {
    await expect(verifyCertificate(Buffer.from(VECTORS.ecdsa, "hex"), NOW)).rejects.toMatchObject({
      code: "AUTH_FAILED",
      message: expect.stringContaining("Ed25519"),
    });
  });

  test.each([
    ["before it begins", Date.parse("1974-12-31T00:00:00Z"), "not valid yet"],
    ["after its end", Date.parse("4096-12-31T00:00:00Z"), "expired"],
  ])("%s it is refused", async (_, now, message) => {
    const raw = Buffer.from(VECTORS.ed25519, "hex");
    await expect(verifyCertificate(raw, now)).rejects.toMatchObject({
      code: "AUTH_FAILED",
      message: expect.stringContaining(message),
    });
  });
});

describe("DER", () => {
  const element = fc.tuple(fc.integer({ min: 0, max: 30 }), fc.uint8Array({ maxLength: 700 }));

  test("is read as it was written", () => {
    fc.assert(
      fc.property(fc.array(element, { maxLength: 5 }), (written) => {
        const bytes = Buffer.concat(written.map(([tag, content]) => encodeElement(tag, content)));
        const read = readElements(bytes).map(({ tag, content }) => [tag, [...content]]);
        expect(read).toEqual(written.map(([tag, content]) => [tag, [...content]]));
      }),
    );
  });

  test("has one form only: what is read is written the same", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        let read: readonly DerElement[] | MeshError;
        try {
          read = readElements(bytes);
        } catch (error) {
          read = toMeshError(error);
        }
        const again =
          read instanceof MeshError
            ? Buffer.from(read.code)
            : Buffer.concat(read.map(({ tag, content }) => encodeElement(tag, content)));
        expect([Buffer.from("FORMAT_INVALID"), Buffer.from(bytes)]).toContainEqual(again);
      }),
    );
  });

  test.each(["0281010500", "0280050000", "1f0100", "02820001ff", "0205010203", "02"])(
    "%s is refused",
    (hex) => {
      expect(() => readElements(Buffer.from(hex, "hex"))).toThrow(
        expect.objectContaining({ code: "FORMAT_INVALID" }),
      );
    },
  );
});
