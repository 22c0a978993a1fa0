// SPDX-License-Identifier: Apache-2.0
import {
  ROLES,
  actSigningInput,
  decodeAct,
  decodeGenesis,
  decodeSignedRecord,
  encodeAct,
  encodeCbor,
  encodeGenesis,
  encodeSignedRecord,
  fromBase64,
  genesisSigningInput,
  toBase64,
} from "@ctxmesh/codec";
import type { Act, ActBase, CborValue, Genesis } from "@ctxmesh/codec";
import {
  LIMITS,
  MeshError,
  parseActId,
  parseDeviceKey,
  parseHeaderHash,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const formatInvalid = expect.objectContaining({ code: "FORMAT_INVALID" }) as Error;
const limitExceeded = expect.objectContaining({ code: "LIMIT_EXCEEDED" }) as Error;
const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const device = bytes(32).map((key) => parseDeviceKey(toHex(key)));
const actId = bytes(32).map((id) => parseActId(toHex(id)));

const genesisArbitrary: fc.Arbitrary<Genesis> = fc.record({
  name: fc.string({ minLength: 1, maxLength: 100 }),
  creators: fc.uniqueArray(device, { minLength: 1, maxLength: LIMITS.creators }),
  createdAt: fc.maxSafeNat(),
  nonce: bytes(16),
});

const base: fc.Arbitrary<ActBase> = fc.record({
  space: bytes(32).map((id) => parseSpaceId(toHex(id))),
  author: device,
  authority: fc.option(actId),
  parents: fc.uniqueArray(actId, { maxLength: 40 }).map((parents) => parents.toSorted()),
  time: fc.maxSafeNat(),
});
const service = fc.constantFrom("agent", "hub");
const role = fc.constantFrom(...ROLES);
const head = fc.record({
  incarnation: bytes(16).map((id) => parseIncarnationId(toHex(id))),
  seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  hash: bytes(32).map((id) => parseHeaderHash(toHex(id))),
});
const members = fc.oneof(
  fc.record({
    kind: fc.constant("grant" as const),
    device,
    index: fc.maxSafeNat(),
    service,
    role,
    notBefore: fc.nat(1_000_000),
    notAfter: fc.integer({ min: 1_000_000, max: Number.MAX_SAFE_INTEGER }),
  }),
  fc.record({
    kind: fc.constant("invite" as const),
    key: device,
    service,
    role,
    notAfter: fc.maxSafeNat(),
  }),
  fc.record({
    kind: fc.constant("revoke" as const),
    device,
    heads: fc
      .uniqueArray(head, { maxLength: 20, selector: ({ incarnation }) => incarnation })
      .map((heads) => heads.toSorted((a, b) => (a.incarnation < b.incarnation ? -1 : 1))),
    reason: fc.string({ maxLength: 100 }),
  }),
  fc.record({
    kind: fc.constant("policy" as const),
    epoch: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    rules: fc.constantFrom("[]", '[{"a":1}]', '["é"]'),
  }),
);
const actArbitrary: fc.Arbitrary<Act> = fc
  .tuple(base, members)
  .map(([common, own]) => ({ ...common, ...own }));

test("genesis, act and signed record decode to what was encoded", () => {
  fc.assert(
    fc.property(genesisArbitrary, actArbitrary, bytes(64), (genesis, act, signature) => {
      expect(decodeGenesis(encodeGenesis(genesis))).toEqual(genesis);
      expect(decodeAct(encodeAct(act))).toEqual(act);
      const record = { body: encodeAct(act), signature };
      expect(decodeSignedRecord(encodeSignedRecord(record))).toEqual(record);
    }),
  );
});

function decodedOrRefused(body: Uint8Array): Act | undefined {
  try {
    return decodeAct(body);
  } catch (error) {
    if (error instanceof MeshError) return undefined;
    throw error;
  }
}

test("an act with one byte changed is refused, or is another act", () => {
  fc.assert(
    fc.property(actArbitrary, fc.nat(), fc.integer({ min: 1, max: 255 }), (act, at, flip) => {
      const changed = encodeAct(act).map((byte, i, { length }) =>
        i === at % length ? byte ^ flip : byte,
      );
      const read = decodedOrRefused(changed);
      expect(read === undefined || toHex(encodeAct(read)) === toHex(changed)).toBe(true);
      expect(read).not.toEqual(act);
    }),
  );
});

test("what is signed differs by kind, so that no record passes as the other", () => {
  const body = Uint8Array.of(1);
  expect(Buffer.from(genesisSigningInput(body)).toString()).toBe("ctxmesh/genesis/v1\n\u0001");
  expect(Buffer.from(actSigningInput(body)).toString()).toBe("ctxmesh/act/v1\n\u0001");
});

type Members = Readonly<Record<string, CborValue>>;
const id = new Uint8Array(32);
const other = new Uint8Array(32).fill(1);
const chain = (byte: number): CborValue => [new Uint8Array(16).fill(byte), 1, id];
const without = (map: Members, name: string): Members =>
  Object.fromEntries(Object.entries(map).filter(([key]) => key !== name));

const numbered = (count: number): CborValue =>
  Array.from({ length: count }, (_, i) => new Uint8Array(32).fill(i));

describe("a genesis is refused", () => {
  const genesis: Members = {
    v: 1,
    name: "n",
    creators: [id],
    createdAt: 1,
    nonce: new Uint8Array(16),
  };

  test.each<[string, Members]>([
    ["of another version", { v: 2 }],
    ["with an empty name", { name: "" }],
    ["with a name of 101 characters", { name: "n".repeat(101) }],
    ["with a name of 51 astral characters", { name: "🦀".repeat(51) }],
    ["with a line break in its name", { name: "a\nb" }],
    ["with an escape character in its name", { name: "a\u001b[31mb" }],
    ["with a C1 control character in its name", { name: "a\u009bb" }],
    ["without creators", { creators: [] }],
    ["with a creator twice", { creators: [id, other, id] }],
    ["with a creator more than LIMITS.creators", { creators: numbered(LIMITS.creators + 1) }],
    ["with a short creator", { creators: [new Uint8Array(31)] }],
    ["with a text as creator", { creators: ["0".repeat(64)] }],
    ["with one creator that is no list", { creators: id }],
    ["with a negative time", { createdAt: -1 }],
    ["with a long nonce", { nonce: new Uint8Array(17) }],
    ["with a member more", { extra: null }],
  ])("%s", (_, changes) => {
    expect(decodeGenesis(encodeCbor(genesis)).name).toBe("n");
    expect(() => decodeGenesis(encodeCbor({ ...genesis, ...changes }))).toThrow(formatInvalid);
  });

  test("but taken with as many creators as LIMITS.creators", () => {
    const creators = numbered(LIMITS.creators);
    expect(decodeGenesis(encodeCbor({ ...genesis, creators })).creators).toHaveLength(
      LIMITS.creators,
    );
  });
});

const common: Members = {
  v: 1,
  space: id,
  author: id,
  authority: null,
  parents: [id, other],
  time: 1,
};
const grant: Members = {
  ...common,
  kind: "grant",
  device: id,
  index: 1,
  service: "agent",
  role: "write",
  notBefore: 1,
  notAfter: 1,
};
const invite: Members = {
  ...common,
  kind: "invite",
  key: id,
  service: "agent",
  role: "write",
  notAfter: 1,
};
const revoke: Members = {
  ...common,
  kind: "revoke",
  device: id,
  heads: [chain(1), chain(2)],
  reason: "r",
};
const policy: Members = { ...common, kind: "policy", epoch: 1, rules: "[]" };
const manyParents = (count: number): CborValue =>
  Array.from({ length: count }, (_, i) => {
    const parent = new Uint8Array(32);
    parent.set([i >> 8, i & 255]);
    return parent;
  });
const manyChains = (count: number): CborValue =>
  Array.from({ length: count }, (_, i) => {
    const incarnation = new Uint8Array(16);
    incarnation.set([i >> 8, i & 255]);
    return [incarnation, Number.MAX_SAFE_INTEGER, id];
  });

describe("an act is refused", () => {
  test.each<[string, Members, Members]>([
    ["of another version", grant, { v: 2 }],
    ["of an unknown kind", grant, { kind: "rename" }],
    ["of a kind that every object has", grant, { kind: "constructor" }],
    ["of a kind that is no text", grant, { kind: 1 }],
    ["with the members of another kind", grant, { kind: "invite" }],
    ["with a member more", grant, { extra: null }],
    ["with a short space", grant, { space: new Uint8Array(31) }],
    ["with a text as author", grant, { author: "x" }],
    ["with a short authority", grant, { authority: new Uint8Array(16) }],
    ["with unsorted parents", grant, { parents: [other, id] }],
    ["with a parent twice", grant, { parents: [id, id] }],
    ["with a short parent", grant, { parents: [new Uint8Array(31)] }],
    ["with a text as parent", grant, { parents: ["x"] }],
    ["with no list of parents", grant, { parents: null }],
    ["with too many parents", grant, { parents: manyParents(LIMITS.actParents + 1) }],
    ["with a negative time", grant, { time: -1 }],
    ["with a text as time", grant, { time: "1" }],
    ["granting an unknown role", grant, { role: "owner" }],
    ["granting a role that every object has", grant, { role: "constructor" }],
    ["granting for an unknown service", grant, { service: "auditor" }],
    ["granting with a text as index", grant, { index: "1" }],
    ["granting with an end before its beginning", grant, { notAfter: 0 }],
    ["granting with a negative end", grant, { notAfter: -1 }],
    ["granting to a short key", grant, { device: new Uint8Array(31) }],
    ["inviting with an unknown role", invite, { role: "" }],
    ["inviting for an unknown service", invite, { service: "hubs" }],
    ["inviting a short key", invite, { key: new Uint8Array(33) }],
    ["inviting with a text as end", invite, { notAfter: "1" }],
    ["revoking with unsorted chains", revoke, { heads: [chain(2), chain(1)] }],
    ["revoking with a chain twice", revoke, { heads: [chain(1), chain(1)] }],
    ["revoking with position 0", revoke, { heads: [[new Uint8Array(16), 0, id]] }],
    ["revoking with a text as position", revoke, { heads: [[new Uint8Array(16), "1", id]] }],
    ["revoking with a short incarnation", revoke, { heads: [[new Uint8Array(15), 1, id]] }],
    [
      "revoking with a short hash",
      revoke,
      { heads: [[new Uint8Array(16), 1, new Uint8Array(31)]] },
    ],
    ["revoking with a chain of two parts", revoke, { heads: [[new Uint8Array(16), 1]] }],
    ["revoking with a chain of four parts", revoke, { heads: [[new Uint8Array(16), 1, id, 1]] }],
    ["revoking with a chain that is no list", revoke, { heads: [1] }],
    ["revoking with too many chains", revoke, { heads: manyChains(LIMITS.headsPerRevocation + 1) }],
    ["revoking for a long reason", revoke, { reason: "ß".repeat(LIMITS.reasonBytes / 2 + 1) }],
    ["revoking for a reason in two lines", revoke, { reason: "a\nb" }],
    ["with policy epoch 0", policy, { epoch: 0 }],
    ["with policy rules that are no list", policy, { rules: "{}" }],
  ])("%s", (_, act, changes) => {
    expect(decodeAct(encodeCbor(act)).kind).toBe(act["kind"]);
    expect(() => decodeAct(encodeCbor({ ...act, ...changes }))).toThrow(formatInvalid);
  });

  test.each([" []", "[", '[{"b":1,"a":2}]'])("with rules that are not canonical: %j", (rules) => {
    expect(() => decodeAct(encodeCbor({ ...policy, rules }))).toThrow(
      expect.objectContaining({ code: "INPUT_INVALID" }) as Error,
    );
  });

  test.each(Object.entries({ grant, invite, revoke, policy }))(
    "without any one of its members: %s",
    (_, act) => {
      for (const name of Object.keys(act)) {
        expect(() => decodeAct(encodeCbor(without(act, name)))).toThrow(formatInvalid);
      }
    },
  );

  test.each<[string, CborValue]>([
    ["that is a list", [1]],
    ["that is a text", "grant"],
    ["that is null", null],
    ["that is bytes", id],
  ])("%s", (_, value) => {
    expect(() => decodeAct(encodeCbor(value))).toThrow(formatInvalid);
  });

  test("over LIMITS.actBytes", () => {
    const rules = JSON.stringify(["x".repeat(LIMITS.actBytes)]);
    expect(() => decodeAct(encodeCbor({ ...policy, rules }))).toThrow(limitExceeded);
  });

  test("but taken with as many parents, chains and bytes of reason as the limits say, together", () => {
    const full = {
      ...revoke,
      authority: id,
      parents: manyParents(LIMITS.actParents),
      heads: manyChains(LIMITS.headsPerRevocation),
      reason: "r".repeat(LIMITS.reasonBytes),
    };
    const body = encodeCbor(full);
    expect(decodeAct(body).parents).toHaveLength(LIMITS.actParents);
    const record = { body, signature: new Uint8Array(64) };
    expect(decodeSignedRecord(encodeSignedRecord(record)).body).toEqual(body);
  });
});

describe("a signed record is refused", () => {
  test.each<[string, CborValue]>([
    ["that is no array", { body: id }],
    ["of one part", [id]],
    ["of three parts", [id, new Uint8Array(64), 0]],
    ["with a text for the body", ["x", new Uint8Array(64)]],
    ["with a short signature", [id, new Uint8Array(63)]],
  ])("%s", (_, value) => {
    expect(() => decodeSignedRecord(encodeCbor(value))).toThrow(formatInvalid);
  });

  test("over the limit of an act, but not with a body of just LIMITS.actBytes", () => {
    const signature = new Uint8Array(64);
    const full = encodeSignedRecord({ body: new Uint8Array(LIMITS.actBytes), signature });
    expect(decodeSignedRecord(full).body).toHaveLength(LIMITS.actBytes);
    expect(() => decodeSignedRecord(new Uint8Array(LIMITS.actBytes + 100))).toThrow(limitExceeded);
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
