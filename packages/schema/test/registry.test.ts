// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { Registry, assertCompatible, parseEntry } from "@ctxmesh/schema";
import type { PublishedEntry } from "@ctxmesh/schema";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { schemaArbitrary, valueArbitrary } from "./arbitraries.ts";

let ids = 0;
const published = (entry: JsonValue, id = String(ids++).padStart(4, "0")): PublishedEntry => ({
  id,
  entry: JSON.stringify(entry),
});
const entry = (members: Readonly<Record<string, JsonValue>>): JsonValue => ({
  prefix: "t/",
  version: "1.0.0",
  schema: true,
  ...members,
});
const registry = (...entries: readonly JsonValue[]): Registry =>
  new Registry(entries.map((one) => published(one)));
const type = (name: string): JsonValue => ({ type: name });

describe("an entry", () => {
  test("gets the documents and the rule that it leaves out", () => {
    expect(parseEntry({ prefix: "", version: "0.1.0", schema: {} })).toEqual({
      docs: "**",
      prefix: "",
      version: "0.1.0",
      compatibility: "backward",
      schema: {},
    });
  });

  test.each<[string, JsonValue]>([
    ["entry", []],
    ["owner", entry({ owner: "me" })],
    ["prefix", entry({ prefix: 5 })],
    ["prefix", entry({ prefix: "a\n" })],
    ["prefix", entry({ prefix: "é".repeat(LIMITS.keyBytes) })],
    ["docs", entry({ docs: "" })],
    ["docs", entry({ docs: "line 1" })],
    ["version", entry({ version: "1.0" })],
    ["version", entry({ version: "1.0.0-beta" })],
    ["version", entry({ version: "01.0.0" })],
    ["compatibility", entry({ compatibility: "none" })],
    ["admit", entry({ admit: "wasm:12" })],
    ["schema", { prefix: "", version: "1.0.0" }],
    ["/typ", entry({ schema: { typ: 1 } })],
    ["ttlMs", entry({ ttlMs: 0 })],
    ["priority", entry({ priority: "urgent" })],
    ["consistency", entry({ consistency: "weak" })],
    ["maxStalenessMs", entry({ consistency: "bounded" })],
    ["maxStalenessMs", entry({ consistency: "strong", maxStalenessMs: 5 })],
  ])("with a wrong %s is refused", (field, value) => {
    expect(() => parseEntry(value)).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID", field }),
    );
  });
});

describe("a registry", () => {
  test("says the same whatever the order of what is published", () => {
    const version = fc.tuple(fc.nat(2), fc.nat(1), fc.nat(1)).map((parts) => parts.join("."));
    const one = fc.record({
      prefix: fc.constantFrom("", "a", "ab"),
      docs: fc.constantFrom("**", "d*", "d1"),
      version,
      schema: schemaArbitrary.map((schema) => schema as JsonValue),
    });
    const some = fc.uniqueArray(one, { maxLength: 6, selector: (each) => JSON.stringify(each) });
    const question = fc.tuple(
      fc.constantFrom("a", "ab", "c"),
      fc.constantFrom("d1", "e"),
      valueArbitrary,
    );
    fc.assert(
      fc.property(
        some,
        fc.array(question, { maxLength: 5 }),
        fc.infiniteStream(fc.nat()),
        (all, asked, dice) => {
          const acts = all.map((each) => published(each));
          const mixed = acts.toSorted(() => (Number(dice.next().value) % 2 === 0 ? 1 : -1));
          const [here, there] = [new Registry(acts), new Registry(mixed)];
          expect(there.versions).toEqual(here.versions);
          for (const [key, doc, value] of asked) {
            const answers = [here, there].map((each) =>
              each.forDocument(doc).accepts(key, JSON.stringify(value)),
            );
            expect(answers[1]).toBe(answers[0]);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  test("judges a key by the longest prefix, and of one prefix by the longest pattern of documents", () => {
    const made = registry(
      entry({ prefix: "", schema: type("string") }),
      entry({ prefix: "t/", schema: type("number") }),
      entry({ prefix: "t/", docs: "line-*/**", schema: type("boolean") }),
    );
    const fits = (doc: string, key: string): readonly string[] =>
      ['"x"', "1", "true"].filter((value) => made.forDocument(doc).accepts(key, value));
    expect(fits("a", "name")).toEqual(['"x"']);
    expect(fits("a", "t/1")).toEqual(["1"]);
    expect(fits("line-2/press", "t/1")).toEqual(["true"]);
    expect(made.forDocument("a").accepts("t/1", undefined)).toBe(true);
  });

  test("writes by the newest version, and shows what any of its major version accepts", () => {
    const forward = { compatibility: "forward" };
    const made = registry(
      entry({ version: "1.9.0", schema: type("string") }),
      entry({ version: "2.0.0", schema: { type: ["number", "null"] }, ...forward }),
      entry({ version: "2.0.1", schema: type("number"), ...forward }),
    ).forDocument("d");
    const shown = ['"x"', "null", "1"].filter((value) => made.accepts("t/1", value));
    expect(shown).toEqual(["null", "1"]);
    expect(() => made.assert("t/1", 1)).not.toThrow();
    expect(() => made.assert("t/1", null)).toThrowError(
      expect.objectContaining({ code: "SCHEMA_INVALID", field: "" }),
    );
  });

  test("takes the lower act of two with the same version, and passes over what is no entry", () => {
    const made = new Registry([
      published(entry({ schema: type("number") }), "b"),
      published(entry({ schema: type("string") }), "a"),
      published(entry({ schema: { typ: "x" } }), "0"),
      { id: "1", entry: "{" },
    ]);
    expect(made.versions.map(({ id }) => id)).toEqual(["a"]);
  });

  test("has so many prefixes at most, whatever the order", () => {
    const many = Array.from({ length: LIMITS.schemaPrefixes + 5 }, (_, i) =>
      published(entry({ prefix: `p${String(i).padStart(4, "0")}` })),
    );
    const made = new Registry(many);
    expect(made.versions).toHaveLength(LIMITS.schemaPrefixes);
    expect(new Registry(many.toReversed()).versions).toEqual(made.versions);
    expect(() => made.check(parseEntry(entry({ prefix: "q" })))).toThrowError(
      expect.objectContaining({ code: "LIMIT_EXCEEDED" }),
    );
  });
});

const check = (
  before: Readonly<Record<string, JsonValue>>,
  after: Readonly<Record<string, JsonValue>>,
) => registry(entry(before)).check(parseEntry(entry({ version: "1.1.0", ...after })));

describe("a new version", () => {
  const [narrow, wide] = [type("integer"), type("number")];

  test.each([
    ["backward", narrow, wide, true],
    ["backward", wide, narrow, false],
    ["forward", wide, narrow, true],
    ["forward", narrow, wide, false],
    ["full", narrow, wide, false],
    ["full", wide, narrow, false],
    ["full", narrow, { type: "integer", title: "Number of parts" }, true],
  ])("owes a %s one that", (compatibility, before, after, compatible) => {
    const found = check({ compatibility, schema: before }, { schema: after });
    expect(found).toMatchObject({ compatible, against: "1.0.0" });
    expect(found.differences.length === 0).toBe(compatible);
  });

  test("with a higher major version owes nothing, nor does the first one", () => {
    const nothing = { compatible: true, differences: [] };
    expect(check({ schema: wide }, { schema: narrow, version: "2.0.0" })).toEqual(nothing);
    expect(registry().check(parseEntry(entry({})))).toEqual(nothing);
    expect(check({ schema: wide }, { schema: narrow, docs: "other" })).toEqual(nothing);
  });

  test("with another module can't be compared, but where the rule says that it need not", () => {
    const one = { admit: `wasm:${"1".repeat(64)}` };
    const other = { admit: `wasm:${"2".repeat(64)}` };
    for (const [compatibility, before, after, compatible] of [
      ["backward", one, one, true],
      ["backward", one, {}, true],
      ["backward", {}, one, false],
      ["backward", one, other, false],
      ["forward", {}, one, true],
      ["forward", one, {}, false],
      ["forward", one, other, false],
      ["full", one, {}, false],
      ["full", one, one, true],
    ] as const) {
      expect(check({ compatibility, ...before }, after).compatible).toBe(compatible);
    }
    expect(check(one, { ...other, version: "2.0.0" }).compatible).toBe(true);
  });

  test("is above the present one", () => {
    for (const version of ["1.0.0", "0.9.9"]) {
      expect(() => check({}, { version })).toThrowError(
        expect.objectContaining({ code: "POLICY_REFUSED", field: "version" }),
      );
    }
  });

  test("that is not compatible is refused with the first place, and what to do", () => {
    const found = check({ schema: wide }, { schema: { type: "number", minimum: 1 } });
    expect(() => assertCompatible(found)).toThrowError(
      expect.objectContaining({ code: "POLICY_REFUSED", field: "/minimum" }),
    );
  });
});
