// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from "node:fs";
import {
  assertJsonValue,
  canonicalJson,
  parseCanonicalJson,
  utf8Decode,
  utf8Encode,
} from "@ctxmesh/codec";
import { LIMITS, fromHex } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import canonicalize from "canonicalize";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const FORBIDDEN = new Set(["__proto__", "constructor", "prototype"]);
const folder = new URL("../../../../shared/vectors/", import.meta.url);
const haveVectors = existsSync(folder);
const skipNote = haveVectors ? "" : " (skipped: no ../shared/vectors beside the checkout)";

describe.skipIf(!haveVectors)(
  `canonical JSON agrees with the RFC 8785 test data${skipNote}`,
  () => {
    test.each(["arrays", "french", "structures", "unicode", "values", "weird"])("%s", (name) => {
      const read = (end: string): string =>
        readFileSync(new URL(`jcs-${name}.${end}`, folder), "utf8");
      const value = JSON.parse(read("input.json")) as JsonValue;
      const expected = fromHex(read("outhex.txt").replaceAll(/\s/gu, ""));
      expect(canonicalJson(value)).toBe(utf8Decode(expected));
      expect(parseCanonicalJson(utf8Decode(expected), "value")).toEqual(value);
    });
  },
);

/** JSON values that ctxmesh keeps, numbers of every magnitude included. */
const text = fc.string({ unit: "binary", maxLength: 12 });
const name = text.filter((candidate) => !FORBIDDEN.has(candidate));
const { value: jsonValue } = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.integer(),
    text,
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(name, tie("value"), { maxKeys: 5, noNullPrototype: true }),
  ),
}));

describe("canonical JSON", () => {
  test("parses back to the same value, and has one form whatever the order of members", () => {
    fc.assert(
      fc.property(jsonValue, (value) => {
        assertJsonValue(value, "value");
        const canonical = canonicalJson(value);
        // -0 and 0 are one JSON number.
        expect(JSON.stringify(JSON.parse(canonical))).toBe(
          JSON.stringify(JSON.parse(canonicalJson(parseCanonicalJson(canonical, "value")))),
        );
        expect(canonicalJson(reversed(value))).toBe(canonical);
        expect(canonicalJson(JSON.parse(JSON.stringify(value)) as JsonValue)).toBe(canonical);
      }),
    );
  });

  test("sorts member names by UTF-16 code unit, not by code point", () => {
    expect(canonicalJson({ "\u{10000}": 1, "\uE000": 2, a: 3 })).toBe(
      '{"a":3,"\u{10000}":1,"\uE000":2}',
    );
  });

  test.each([
    ["a space", '{"a": 1}'],
    ["a long number", "1.0"],
    ["an exponent that is not needed", "1e2"],
    ["minus zero", "-0"],
    ["a number that a double can't hold", "12345678901234567890"],
    ["a number over every double", "1e400"],
    ["an escape that is not needed", String.raw`"\u0061"`],
    ["an upper-case escape", String.raw`"\u001F"`],
    ["an escaped slash", String.raw`"\/"`],
    ["unsorted members", '{"b":1,"a":2}'],
    ["a member twice", '{"a":1,"a":1}'],
    ["a final line break", "1\n"],
    ["a byte order mark", "\uFEFF1"],
    ["nothing", ""],
    ["two values", "1 2"],
    ["a comment", "1/**/"],
    ["a lone surrogate", String.raw`"\ud800"`],
    ["__proto__", '{"__proto__":{}}'],
    ["__proto__ below", '[{"a":{"__proto__":1}}]'],
    ["a constructor", '{"constructor":1}'],
    ["a prototype", '{"prototype":1}'],
  ])("with %s is refused, and the error names the field", (_, json) => {
    expect(() => parseCanonicalJson(json, "facts[3]")).toThrow(
      expect.objectContaining({ code: "INPUT_INVALID" }) as Error,
    );
    expect(() => parseCanonicalJson(json, "facts[3]")).toThrow(/^facts\[3\]/u);
  });
});

function reversed(value: JsonValue): JsonValue {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return (value as readonly JsonValue[]).map(reversed);
  const entries = Object.entries(value as Readonly<Record<string, JsonValue>>).toReversed();
  return Object.fromEntries(entries.map(([key, member]) => [key, reversed(member)]));
}

function nested(depth: number): JsonValue {
  let value: JsonValue = 1;
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { a: value };
  return value;
}

describe("assertJsonValue", () => {
  const cycle: unknown[] = [];
  cycle.push({ cycle });
  class Point {
    readonly x = 1;
  }
  test.each([
    ["undefined", undefined, "value"],
    ["NaN", { a: Number.NaN }, "value.a"],
    ["Infinity", [[-Infinity]], "value[0][0]"],
    ["a BigInt", [1, 2n], "value[1]"],
    ["a function", { a: () => 1 }, "value.a"],
    ["a symbol", [Symbol("s")], "value[0]"],
    ["a member that is undefined", { a: undefined }, "value.a"],
    ["a hole in an array", Array<number>(3), "value[0]"],
    ["a cycle", cycle, "value[0].cycle"],
    ["a lone surrogate", { a: "\uD800" }, "value.a"],
    ["a lone surrogate in a name", { "\uDC00": 1 }, "value"],
    ["__proto__", JSON.parse('{"a":{"__proto__":1}}'), "value.a"],
    ["constructor", [{ constructor: 1 }], "value[0]"],
    ["prototype", { prototype: 1 }, "value"],
    ["a Date", new Date(0), "value"],
    ["a Map", { a: new Map() }, "value.a"],
    ["a class instance", new Point(), "value"],
    ["bytes", new Uint8Array(2), "value"],
    ["a boxed number", [Object(1)], "value[0]"],
  ])("refuses %s and names where it is", (_, value, field) => {
    expect(() => {
      assertJsonValue(value, "value");
    }).toThrow(expect.objectContaining({ code: "INPUT_INVALID", field }) as Error);
  });

  test("takes 64 levels and no more", () => {
    expect(() => {
      assertJsonValue(nested(LIMITS.depth), "value");
    }).not.toThrow();
    expect(() => {
      assertJsonValue(nested(LIMITS.depth + 1), "value");
    }).toThrow(expect.objectContaining({ code: "LIMIT_EXCEEDED" }) as Error);
  });

  test("refuses 100,000 levels before the stack ends, parsed or given", () => {
    const json = "[".repeat(100_000) + "]".repeat(100_000);
    const tooDeep = expect.objectContaining({ code: "LIMIT_EXCEEDED" }) as Error;
    expect(() => parseCanonicalJson(json, "value")).toThrow(tooDeep);
    expect(() => {
      assertJsonValue(nested(100_000), "value");
    }).toThrow(tooDeep);
  });

  test("takes the same object twice, which is no cycle, and objects without a prototype", () => {
    const shared = { a: 1 };
    const bare = Object.assign(Object.create(null) as object, { b: [shared, shared] });
    assertJsonValue(bare, "value");
    expect(canonicalJson(bare)).toBe('{"b":[{"a":1},{"a":1}]}');
  });
});

describe("UTF-8", () => {
  test("of a well-formed string reads back as that string, a byte order mark included", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (string) => {
        expect(utf8Decode(utf8Encode(`\uFEFF${string}`))).toBe(`\uFEFF${string}`);
      }),
    );
  });

  test.each([
    ["a stray continuation byte", "80"],
    ["an overlong slash", "c0af"],
    ["a surrogate", "eda080"],
    ["a truncated character", "e282"],
    ["a code point over U+10FFFF", "f4908080"],
  ])("with %s is refused", (_, hex) => {
    expect(() => utf8Decode(fromHex(hex))).toThrow(
      expect.objectContaining({ code: "FORMAT_INVALID" }) as Error,
    );
  });
});

test("canonical text is that of an independent implementation, whatever the order of members", () => {
  const memberName = fc.oneof(
    fc.string({ unit: "binary", maxLength: 6 }).filter((each) => each.isWellFormed()),
    fc.nat({ max: 20 }).map(String),
  );
  const { value } = fc.letrec<{ value: JsonValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      fc.oneof(
        fc.boolean(),
        fc.integer(),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        memberName,
      ),
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(memberName, tie("value"), { maxKeys: 6, noNullPrototype: true }),
    ),
  }));
  fc.assert(
    fc.property(value, (json) => {
      expect(canonicalJson(json)).toBe(canonicalize(json));
    }),
    { numRuns: 3000 },
  );
});
