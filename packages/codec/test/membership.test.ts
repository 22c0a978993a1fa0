// SPDX-License-Identifier: Apache-2.0
import {
  ROLES,
  decodeGenesis,
  decodeGrant,
  decodeSignedRecord,
  encodeCbor,
  encodeGenesis,
  encodeGrant,
  encodeSignedRecord,
  fromBase64,
  genesisSigningInput,
  grantSigningInput,
  toBase64,
} from "@ctxmesh/codec";
import type { CborValue, Genesis, Grant } from "@ctxmesh/codec";
import { LIMITS, parseDeviceKey, parseSpaceId, toHex } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const formatInvalid = expect.objectContaining({ code: "FORMAT_INVALID" }) as Error;
const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const device = bytes(32).map((key) => parseDeviceKey(toHex(key)));

const genesisArbitrary: fc.Arbitrary<Genesis> = fc.record({
  name: fc.string({ minLength: 1, maxLength: 100 }),
  creator: device,
  createdAt: fc.maxSafeNat(),
  nonce: bytes(16),
});
const grantArbitrary: fc.Arbitrary<Grant> = fc.record({
  space: bytes(32).map((id) => parseSpaceId(toHex(id))),
  device,
  index: fc.maxSafeNat(),
  service: fc.constantFrom("agent", "hub"),
  role: fc.constantFrom(...ROLES),
  notBefore: fc.maxSafeNat(),
  notAfter: fc.maxSafeNat(),
  issuer: device,
});

test("genesis, grant and signed record decode to what was encoded", () => {
  fc.assert(
    fc.property(genesisArbitrary, grantArbitrary, bytes(64), (genesis, grant, signature) => {
      expect(decodeGenesis(encodeGenesis(genesis))).toEqual(genesis);
      expect(decodeGrant(encodeGrant(grant))).toEqual(grant);
      const record = { body: encodeGrant(grant), signature };
      expect(decodeSignedRecord(encodeSignedRecord(record))).toEqual(record);
    }),
  );
});

test("what is signed differs by kind, so that no record passes as the other", () => {
  const body = Uint8Array.of(1);
  expect(Buffer.from(genesisSigningInput(body)).toString()).toBe("ctxmesh/genesis/v1\n\u0001");
  expect(Buffer.from(grantSigningInput(body)).toString()).toBe("ctxmesh/grant/v1\n\u0001");
});

describe("a record is refused", () => {
  const id = new Uint8Array(32);
  const genesis = { v: 1, name: "n", creator: id, createdAt: 1, nonce: new Uint8Array(16) };
  const grant = {
    v: 1,
    space: id,
    device: id,
    index: 1,
    service: "agent",
    role: "write",
    notBefore: 0,
    notAfter: 1,
    issuer: id,
  };

  test.each<[string, Readonly<Record<string, CborValue>>]>([
    ["of another version", { v: 2 }],
    ["with an empty name", { name: "" }],
    ["with a name of 101 characters", { name: "n".repeat(101) }],
    ["with a short creator", { creator: new Uint8Array(31) }],
    ["with a negative time", { createdAt: -1 }],
    ["with a long nonce", { nonce: new Uint8Array(17) }],
    ["with a member more", { extra: null }],
  ])("genesis %s", (_, members) => {
    expect(decodeGenesis(encodeCbor(genesis)).name).toBe("n");
    expect(() => decodeGenesis(encodeCbor({ ...genesis, ...members }))).toThrow(formatInvalid);
  });

  test.each<[string, Readonly<Record<string, CborValue>>]>([
    ["of another version", { v: 0 }],
    ["with an unknown role", { role: "owner" }],
    ["with an inherited name as role", { role: "constructor" }],
    ["with an unknown service", { service: "auditor" }],
    ["with a text as index", { index: "1" }],
    ["with a negative end", { notAfter: -1 }],
    ["with a short issuer", { issuer: new Uint8Array(31) }],
    ["with a member more", { extra: null }],
  ])("grant %s", (_, members) => {
    expect(decodeGrant(encodeCbor(grant)).role).toBe("write");
    expect(() => decodeGrant(encodeCbor({ ...grant, ...members }))).toThrow(formatInvalid);
  });

  test.each<[string, CborValue]>([
    ["that is no array", { body: id }],
    ["of one part", [id]],
    ["of three parts", [id, new Uint8Array(64), 0]],
    ["with a text for the body", ["x", new Uint8Array(64)]],
    ["with a short signature", [id, new Uint8Array(63)]],
  ])("signed record %s", (_, value) => {
    expect(() => decodeSignedRecord(encodeCbor(value))).toThrow(formatInvalid);
  });

  test("over the limit of a small file", () => {
    expect(() => decodeSignedRecord(new Uint8Array(LIMITS.smallFileBytes + 1))).toThrow(
      expect.objectContaining({ code: "LIMIT_EXCEEDED" }) as Error,
    );
  });
});

describe("base64", () => {
  test("of any bytes reads back as these bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (content) => {
        expect(fromBase64(toBase64(content))).toEqual(content);
      }),
    );
  });

  test.each(["A", "AA", "AA=", "AAA", "AAA==", "AB==", " AAAA", "AAAA\n", "AA-_", "AA==AA==", "é"])(
    "is refused in another spelling: %j",
    (text) => {
      expect(() => fromBase64(text)).toThrow(formatInvalid);
    },
  );
});
