// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import type { FactInput } from "@ctxmesh/model";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DOC, START_MS, applied, open, reader, stateOf, stranger, writer } from "./mesh.ts";

const fact = (members: Readonly<Record<string, unknown>>): FactInput => ({
  key: "k",
  value: 1,
  ...members,
});
const deep = (depth: number): unknown => JSON.parse("[".repeat(depth) + "]".repeat(depth));
const tags = (count: number, length = 1): string[] => Array<string>(count).fill("t".repeat(length));
const cycle: unknown[] = [];
cycle.push(cycle);

const INVALID = "INPUT_INVALID";
const LIMIT = "LIMIT_EXCEEDED";
const BAD: readonly (readonly [string, FactInput, string, string])[] = [
  ["an empty key", fact({ key: "" }), INVALID, "key"],
  ["a key with a line break", fact({ key: "a\nb" }), INVALID, "key"],
  ["a key with a NUL", fact({ key: "\0" }), INVALID, "key"],
  ["a key with a lone surrogate", fact({ key: "\uD800" }), INVALID, "key"],
  ["a key that is a number", fact({ key: 1 }), INVALID, "key"],
  ["a key of 513 bytes", fact({ key: `${"k".repeat(511)}é` }), LIMIT, "key"],
  ["no value", fact({ value: undefined }), INVALID, "value"],
  ["NaN", fact({ value: [Number.NaN] }), INVALID, "value[0]"],
  ["a BigInt", fact({ value: { a: 1n } }), INVALID, "value.a"],
  ["a cycle", fact({ value: cycle }), INVALID, "value[0]"],
  ["__proto__ in the value", fact({ value: JSON.parse('{"__proto__":1}') }), INVALID, "value"],
  ["65 levels", fact({ value: deep(65) }), LIMIT, `value${"[0]".repeat(64)}`],
  [
    "a value of 64 KiB and a byte",
    fact({ value: "a".repeat(LIMITS.valueBytes - 1) }),
    LIMIT,
    "value",
  ],
  [
    "a value of 22,000 characters of three bytes",
    fact({ value: "€".repeat(22_000) }),
    LIMIT,
    "value",
  ],
  ["confidence 1.5", fact({ confidence: 1.5 }), INVALID, "confidence"],
  ["confidence -0.1", fact({ confidence: -0.1 }), INVALID, "confidence"],
  ["confidence NaN", fact({ confidence: Number.NaN }), INVALID, "confidence"],
  ["confidence as text", fact({ confidence: "0.5" }), INVALID, "confidence"],
  ["confidence null", fact({ confidence: null }), INVALID, "confidence"],
  ["ttl 0", fact({ ttlMs: 0 }), INVALID, "ttlMs"],
  ["ttl 0.5", fact({ ttlMs: 0.5 }), INVALID, "ttlMs"],
  ["ttl Infinity", fact({ ttlMs: Infinity }), INVALID, "ttlMs"],
  ["ttl as text", fact({ ttlMs: "5" }), INVALID, "ttlMs"],
  ["a source without a model", fact({ source: {} }), INVALID, "source.model"],
  ["a source that is text", fact({ source: "m" }), INVALID, "source"],
  ["a source that is null", fact({ source: null }), INVALID, "source"],
  ["an empty version", fact({ source: { model: "m", version: "" } }), INVALID, "source.version"],
  [
    "a long instance",
    fact({ source: { model: "m", instance: "i".repeat(129) } }),
    LIMIT,
    "source.instance",
  ],
  ["17 tags", fact({ tags: tags(17) }), LIMIT, "tags"],
  ["a tag of 129 bytes", fact({ tags: tags(1, 129) }), LIMIT, "tags"],
  ["an empty tag", fact({ tags: [""] }), INVALID, "tags"],
  ["a tag that is a number", fact({ tags: [1] }), INVALID, "tags"],
  ["tags that are text", fact({ tags: "ab" }), INVALID, "tags"],
  ["17 basis ids", fact({ basis: tags(17) }), LIMIT, "basis"],
  ["a basis id with a lone surrogate", fact({ basis: ["\uDC00"] }), INVALID, "basis"],
];

describe("a bad fact is refused, the error names the field, and nothing is written", () => {
  test.each(BAD)("%s", async (_, bad, code, field) => {
    const replica = await open();
    const before = stateOf(replica);
    const put = replica.put(DOC, [fact({ key: "good" }), bad]);
    await expect(put).rejects.toMatchObject({ code, field });
    await expect(replica.put(DOC, [bad])).rejects.toThrow(code === LIMIT ? /limit|deeper/u : field);
    expect(stateOf(replica)).toEqual(before);
    expect(replica.get(DOC, "good")).toBeUndefined();
  });

  test("the greatest of everything is taken, and reads the same here and elsewhere", async () => {
    const [ours, theirs] = [await open(), await open({ device: writer })];
    const local = applied(ours);
    const most = fact({
      key: "k".repeat(LIMITS.keyBytes),
      value: "a".repeat(LIMITS.valueBytes - 2),
      confidence: 1,
      ttlMs: Number.MAX_SAFE_INTEGER,
      source: { model: "m".repeat(128), version: "v".repeat(128), instance: "i".repeat(128) },
      tags: tags(16, 128),
      basis: tags(16, 128),
    });
    await ours.put(DOC, [most, fact({ key: "deep", value: deep(64) })]);
    expect(await theirs.receive(local[0] ?? new Uint8Array())).toEqual({ kind: "accepted" });
    expect(theirs.snapshot()).toEqual(ours.snapshot());
    const { key, ...said } = most;
    expect(theirs.candidates(DOC, key)).toMatchObject([said]);
  });
});

const many = (count: number): FactInput[] =>
  Array.from({ length: count }, (_, i) => fact({ key: `k${String(i)}` }));

describe("a write as a whole", () => {
  test("has 1 to 1,000 facts", async () => {
    const replica = await open();
    await expect(replica.put(DOC, [])).rejects.toMatchObject({ code: INVALID, field: "facts" });
    await expect(replica.delete(DOC, [])).rejects.toMatchObject({ code: INVALID, field: "facts" });
    await expect(replica.put(DOC, many(1001))).rejects.toMatchObject({
      code: LIMIT,
      field: "facts",
    });
    expect(await replica.put(DOC, many(1000))).toMatchObject({ facts: 1000 });
  });

  test("has at most LIMITS.writeBytes", async () => {
    const replica = await open();
    const facts = many(3).map((each) => ({ ...each, value: "a".repeat(65_500) }));
    await expect(replica.put(DOC, facts)).rejects.toMatchObject({ code: LIMIT, field: "facts" });
    expect(await replica.put(DOC, facts.slice(1))).toMatchObject({ facts: 2 });
  });

  test("that would take its document over LIMITS.documentBytes is refused, and names the limit", async () => {
    const replica = await open();
    const value = "a".repeat(65_000);
    const put = async (n: number): Promise<unknown> =>
      replica.put(DOC, [
        fact({ key: `a${String(n)}`, value }),
        fact({ key: `b${String(n)}`, value }),
      ]);
    for (let n = 1; n <= 32; n++) await put(n);
    await expect(put(33)).rejects.toMatchObject({ code: LIMIT, field: "doc" });
    await expect(put(33)).rejects.toThrow(String(LIMITS.documentBytes));
    await replica.put(DOC, [fact({ key: "small" })]);
  });

  test("past LIMITS.queuedBatches waiting ones is refused", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let syncs = 0;
    const beforeSync = (): Promise<void> => (syncs++ === 0 ? Promise.resolve() : promise);
    const replica = await open({ store: createMemoryStore({ faults: { beforeSync } }) });
    const writes = Array.from({ length: 2 * LIMITS.queuedBatches }, (_, i) =>
      replica.put(DOC, [fact({ value: i })]),
    );
    resolve();
    const results = await Promise.allSettled(writes);
    const errors = results.flatMap((result) =>
      result.status === "rejected" ? [result.reason as unknown] : [],
    );
    expect(errors.length).toBeGreaterThan(0);
    expect(new Set(errors.map((error) => (error as { code: string }).code))).toEqual(
      new Set([LIMIT]),
    );
    expect(replica.get(DOC, "k")).toBeDefined();
  });

  test.each([
    ["no grant", stranger],
    ["a reader's grant", reader],
  ])("with %s is refused with POLICY_REFUSED and a remedy", async (_, device) => {
    const replica = await open({ device });
    const refused = { code: "POLICY_REFUSED", remedy: expect.stringContaining("grant") as string };
    await expect(replica.put(DOC, [fact({})])).rejects.toMatchObject(refused);
    await expect(replica.delete(DOC, ["k"])).rejects.toMatchObject(refused);
    expect(replica.heads()).toEqual([]);
  });
});

test("what the caller does to its own objects afterwards changes nothing, nor does what we do not know", async () => {
  const [ours, theirs] = [await open(), await open({ device: writer })];
  const local = applied(ours);
  const mutable = {
    key: "k",
    value: { list: [1] },
    source: { model: "m", version: undefined, extra: "x" },
    tags: ["t"],
    basis: ["b"],
    extra: 1,
  };
  const done = ours.put(DOC, [mutable as unknown as FactInput]);
  mutable.value.list.push(2);
  mutable.source.model = "changed";
  mutable.tags.push("changed");
  mutable.basis[0] = "changed";
  await done;
  mutable.tags.push("later");
  await theirs.receive(local[0] ?? new Uint8Array());
  expect(theirs.snapshot().leaves).toEqual(ours.snapshot().leaves);
  expect(ours.candidates(DOC, "k")).toMatchObject([
    { value: { list: [1] }, source: { model: "m" }, tags: ["t"], basis: ["b"] },
  ]);
});

describe("reading", () => {
  test("a deleted key has no value but a candidate, and comes back when written again", async () => {
    const replica = await open();
    await replica.put(DOC, [fact({ value: 1 })]);
    await replica.delete(DOC, ["k", "never"]);
    expect(replica.get(DOC, "k")).toBeUndefined();
    expect(replica.list({})).toEqual([]);
    expect(replica.candidates(DOC, "k")).toMatchObject([{ deleted: true }]);
    await replica.put(DOC, [fact({ value: 2 })]);
    expect(replica.get(DOC, "k")).toMatchObject({ value: 2, contested: false, ageMs: 0 });
  });

  test("a fact ends with its ttl, and its age grows with the clock", async () => {
    const clock = createVirtualClock(START_MS);
    const replica = await open({ clock });
    await replica.put(DOC, [fact({ ttlMs: 100 })]);
    clock.advance(99);
    expect(replica.get(DOC, "k")?.ageMs).toBe(99);
    clock.advance(1);
    expect(replica.get(DOC, "k")).toBeUndefined();
    clock.advance(-1_000_000);
    expect(replica.get(DOC, "k")?.ageMs).toBe(0);
  });

  test("the version changes with the answer, and not when nothing is written", async () => {
    const replica = await open();
    const versions = new Set<string | undefined>();
    for (let i = 0; i < 5; i++) {
      await replica.put(DOC, [fact({ value: 1 })]);
      expect(replica.get(DOC, "k")?.version).toBe(replica.get(DOC, "k")?.version);
      versions.add(replica.get(DOC, "k")?.version);
    }
    expect(versions.size).toBe(5);
  });

  test.each([0, -1, 1.5, Number.NaN, 10_001])("list refuses the limit %s", async (limit) => {
    const replica = await open();
    expect(() => replica.list({ limit })).toThrow(
      expect.objectContaining({ code: INVALID, field: "limit" }) as Error,
    );
  });

  test("list pages through all keys of a document once, in order", async () => {
    const replica = await open();
    const keys = fc.uniqueArray(fc.stringMatching(/^[a-c]{1,4}$/u), {
      minLength: 1,
      maxLength: 30,
    });
    await fc.assert(
      fc.asyncProperty(keys, fc.integer({ min: 1, max: 7 }), async (names, limit) => {
        await replica.put(
          DOC,
          names.map((key) => fact({ key })),
        );
        const all = replica.list({ doc: DOC }).map(({ key }) => key);
        const paged: string[] = [];
        for (let page = all.slice(0, 0), after = ""; ; after = page.at(-1) ?? "") {
          page = replica.list({ doc: DOC, limit, after }).map(({ key }) => key);
          if (page.length === 0) break;
          paged.push(...page);
        }
        expect(paged).toEqual(all);
        expect(all).toEqual(all.toSorted());
        expect(all).toEqual(expect.arrayContaining(names));
      }),
      { numRuns: 20 },
    );
  });
});
