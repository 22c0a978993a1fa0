// SPDX-License-Identifier: Apache-2.0
/** Goal: subscriptions, wishes for bodies and answers mean one thing on the wire, within their limits. */
import { decodeCbor, encodeCbor } from "@ctxmesh/codec";
import type { CborValue } from "@ctxmesh/codec";
import { parseHeaderHash, parseSpaceId, toHex } from "@ctxmesh/model";
import { MAX_BODIES, decodeMessage, encodeMessage } from "@ctxmesh/sync";
import type { SyncMessage } from "@ctxmesh/sync";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bodies, only, wanted } from "./body-arbitraries.ts";

const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const message: fc.Arbitrary<SyncMessage> = fc.oneof(
  fc.record({
    type: fc.constant("hello" as const),
    space: bytes(32).map((id) => parseSpaceId(toHex(id))),
    digest: bytes(16),
    records: bytes(16),
    subscription: only,
  }),
  wanted,
  bodies,
);

test("messages come back as they were sent, and each has one encoding", () => {
  fc.assert(
    fc.property(message, (sent) => {
      const encoded = encodeMessage(sent);
      const got = decodeMessage(encoded);
      expect(got).toEqual(sent);
      expect(encodeMessage(got)).toEqual(encoded);
    }),
  );
});

const REF: SyncMessage & { readonly type: "wanted" } = {
  type: "wanted",
  wanted: [{ hash: parseHeaderHash("ab".repeat(32)), section: 0 }],
  only: undefined,
};

/** The items of a wish, with another subscription. */
function wishing(rules: CborValue): Uint8Array {
  const [type, refs] = decodeCbor(encodeMessage(REF), 1_000, "wish") as CborValue[];
  return encodeCbor([type ?? 0, refs ?? null, encodeCbor(rules)]);
}

describe("refused is", () => {
  test.each<readonly [string, CborValue]>([
    ["a subscription without rules", {}],
    ["a list without rules", { docs: [] }],
    ["a list out of order", { docs: ["b", "a"] }],
    ["a rule twice", { keys: ["a", "a"] }],
    ["an unknown member", { docs: ["a"], more: 1 }],
    ["a document that can't be", { docs: ["../a"] }],
    ["an empty key pattern", { keys: [""] }],
    ["a key pattern that is no text", { keys: [1] }],
    ["an age below a second", { maxAgeMs: 999 }],
    ["no map", ["a"]],
    ["more than 64 rules", { docs: Array.from({ length: 65 }, (_, n) => `d${String(100 + n)}`) }],
    ["patterns of more than 1,024 characters", { keys: ["a".repeat(512), "b".repeat(513)] }],
  ])("%s", (_, rules) => {
    expect(() => decodeMessage(wishing(rules))).toThrow(/subscription/u);
  });

  test("a section that no batch has, and more bodies than one wish may name", () => {
    const [ref] = REF.wanted;
    const one = ref ?? { hash: parseHeaderHash("ab".repeat(32)), section: 0 };
    const at = (section: number): Uint8Array =>
      encodeMessage({ ...REF, wanted: [{ ...one, section }] });
    expect(decodeMessage(at(255))).toBeDefined();
    expect(() => decodeMessage(at(256))).toThrow(/section/u);
    const many = (count: number): Uint8Array =>
      encodeMessage({ ...REF, wanted: Array.from({ length: count }, () => one) });
    expect(decodeMessage(many(MAX_BODIES))).toBeDefined();
    expect(() => decodeMessage(many(MAX_BODIES + 1))).toThrow(/256/u);
  });
});
