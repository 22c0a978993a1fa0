// SPDX-License-Identifier: Apache-2.0
/** Goal: the difference of two snapshots is what turns the one into the other, key by key. */
import { canonicalJson } from "@ctxmesh/codec";
import { diffSnapshots } from "@ctxmesh/ledger";
import type { JsonValue } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const leaf = (key: string, writer: string, members: Readonly<Record<string, JsonValue>>): string =>
  canonicalJson({ doc: "press", key, writer, ...members });
const brief = (before: readonly string[], after: readonly string[]): unknown =>
  diffSnapshots(before, after).keys.map(({ key, change, contested }) => [key, change, contested]);

describe("a key", () => {
  const [one, two] = [leaf("t", "a", { value: 1 }), leaf("t", "a", { value: 2 })];

  test("is added, changed, removed, or not listed", () => {
    expect(brief([], [one])).toEqual([["t", "added", false]]);
    expect(brief([one], [two])).toEqual([["t", "changed", false]]);
    expect(brief([one], [])).toEqual([["t", "removed", false]]);
    expect(diffSnapshots([one], [one])).toEqual({ keys: [], contested: [], unchanged: 1 });
  });

  test("that says the same again is restated", () => {
    const again = leaf("t", "a", { value: 1, seq: 2 });
    expect(brief([one], [again])).toEqual([["t", "restated", false]]);
  });

  test("says what was there before, and what is there now", () => {
    const other = leaf("t", "b", { value: 9 });
    expect(diffSnapshots([one, other], [two, other]).keys).toMatchObject([
      { before: [{ value: 1 }], after: [{ value: 2 }] },
    ]);
  });

  test("is contested when statements that stand differ; a delete is a statement, a retraction is none", () => {
    const rival = leaf("t", "b", { value: 2 });
    expect(brief([one], [one, rival])).toEqual([["t", "changed", true]]);
    expect(brief([one], [two, rival])).toEqual([["t", "changed", false]]);
    expect(brief([one], [one, leaf("t", "b", { deleted: true })])).toEqual([
      ["t", "changed", true],
    ]);
    const ruling = leaf("t", "b", { retracts: { writer: "a", upTo: 1, reason: "wrong" } });
    expect(brief([one], [one, ruling])).toEqual([["t", "restated", false]]);
  });

  test("that stayed contested is counted, though nothing of it changed", () => {
    const leaves = [one, leaf("t", "b", { value: 2 })];
    expect(diffSnapshots(leaves, leaves)).toEqual({
      keys: [],
      contested: [{ doc: "press", key: "t" }],
      unchanged: 1,
    });
  });
});

const text = (value: string): string =>
  canonicalJson({ doc: "press", root: "t", type: "text", value });

test("a root of rich content is no fact of the same name", () => {
  const fact = leaf("t", "a", { value: 1 });
  expect(diffSnapshots([fact, text("a")], [fact, text("b")]).keys).toMatchObject([
    { key: "t", kind: "rich", change: "changed", contested: false },
  ]);
});

test("added and removed change places when the snapshots do, and applied, it gives the newer one", () => {
  const leaves = fc.uniqueArray(
    fc
      .tuple(fc.constantFrom("k1", "k2", "k3"), fc.constantFrom("a", "b"), fc.nat(2))
      .map(([key, writer, value]) => leaf(key, writer, { value })),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(leaves, leaves, (before, after) => {
      const forth = diffSnapshots(before, after);
      const back = diffSnapshots(after, before);
      expect(back.keys.map(({ before: a, after: b }) => [b, a])).toEqual(
        forth.keys.map(({ before: a, after: b }) => [a, b]),
      );
      const gone = new Set(forth.keys.flatMap((key) => key.before.map(canonicalJson)));
      const come = forth.keys.flatMap((key) => key.after.map(canonicalJson));
      const applied = [...before.filter((each) => !gone.has(each)), ...come];
      expect(applied.toSorted()).toEqual(after.toSorted());
    }),
    { numRuns: 200 },
  );
});
