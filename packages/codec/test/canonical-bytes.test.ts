// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what is told by its bytes to be canonical JSON is, and most of what is canonical is told so.
 * Method: texts of random values, and such texts with a few bytes changed, held against the parser.
 */
import { canonicalJson, isSurelyCanonical, parseCanonicalJson, utf8Encode } from "@ctxmesh/codec";
import { LIMITS } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

/** Says whether a text is surely canonical, somewhere within other bytes. */
function isSure(text: string): boolean {
  const bytes = utf8Encode(text);
  const larger = new Uint8Array(bytes.length + 6).fill(0x31);
  larger.set(bytes, 3);
  const sure = isSurelyCanonical(larger, 3, 3 + bytes.length);
  expect(isSurelyCanonical(bytes, 0, bytes.length)).toBe(sure);
  return sure;
}

function isCanonical(text: string): boolean {
  try {
    parseCanonicalJson(text, "value");
    return true;
  } catch {
    return false;
  }
}

const name = fc.oneof(
  fc.string({ unit: "binary", maxLength: 4 }),
  fc.constantFrom(
    "__proto__",
    "constructor",
    "prototype",
    "1",
    "10",
    "9",
    "a",
    "b",
    "é",
    "\u{ff5e}",
  ),
  fc.constantFrom("\u{e000}", "\u{d7ff}", "\u{10000}", "\u{1f600}x", "z\u{fffd}", "z\u{10ffff}"),
);
const number = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.integer({ min: -99_999, max: 99_999 }).map((cents) => cents / 100),
  fc.constantFrom(0, 1e-6, 1e-7, 1.5e-7, 1e21, 1e20, 123_456_789_012_345, 0.1 + 0.2, 5e-324),
);
const { value: anyValue } = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.constant(null),
    fc.boolean(),
    number,
    fc.string({ unit: "binary", maxLength: 8 }),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(name, tie("value"), { maxKeys: 4, noNullPrototype: true }),
  ),
}));

/** Bytes that mean something in JSON. */
const piece = fc.constantFrom(
  ...'{ } [ ] , : " \\ - + . e E 0 1 2 5 9 t r u f a l s n'.split(" "),
  " ",
  "\n",
  '""',
  "é",
  "\u{1f600}",
);

describe("what is surely canonical", () => {
  test("is canonical: texts of values, in any order and spacing", () => {
    const text = fc.oneof(
      anyValue.map((value) => canonicalJson(value)),
      anyValue.map((value) => JSON.stringify(value)),
      anyValue.map((value) => JSON.stringify(value, undefined, 1)),
    );
    fc.assert(
      fc.property(text, (json) => {
        expect(!isSure(json) || isCanonical(json)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test("is canonical: texts that were changed, cut and put together at random", () => {
    const changed = fc
      .tuple(
        anyValue.map((value) => canonicalJson(value)),
        fc.array(fc.tuple(fc.nat(), fc.nat(2), piece), { maxLength: 3 }),
      )
      .map(([json, edits]) =>
        edits.reduce((text, [at, drop, put]) => {
          const from = at % (text.length + 1);
          return text.slice(0, from) + put + text.slice(from + drop);
        }, json),
      );
    const text = fc.oneof(
      changed,
      fc.array(piece, { maxLength: 9 }).map((all) => all.join("")),
    );
    fc.assert(
      fc.property(text, (json) => {
        fc.pre(json.isWellFormed());
        expect(!isSure(json) || isCanonical(json)).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });

  test("is each number's own text and no other", () => {
    const other = fc.constantFrom(
      "-0",
      "0.0",
      "1.0",
      "1.50",
      "01",
      "1e5",
      "1E21",
      "1e21.5",
      ".5",
      "5.",
    );
    fc.assert(
      fc.property(
        fc.oneof(
          number.map(String),
          number.map((n) => n.toFixed(3)),
          other,
        ),
        (text) => {
          expect([text, isSure(text)]).toEqual([text, isCanonical(text)]);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test("is nested no deeper than values may be", () => {
    for (const [open, close] of [
      ["[", "]"],
      ['{"a":', "}"],
    ] as const) {
      const nested = (depth: number): string => open.repeat(depth) + "1" + close.repeat(depth);
      expect([isSure(nested(LIMITS.depth)), isCanonical(nested(LIMITS.depth))]).toEqual([
        true,
        true,
      ]);
      expect(isSure(nested(LIMITS.depth + 1))).toBe(false);
      expect(isSure(open.repeat(100_000))).toBe(false);
    }
  });

  test.each([
    "",
    '"',
    '{"b":1,"a":1}',
    '{"a":1,"a":1}',
    '{"a":1,}',
    "[1,]",
    "[,1]",
    '{"__proto__":1}',
    '{"constructor":1}',
    "nul",
    "nulll",
    "true false",
    "1 ",
    '"a\u0001"',
    '"\\u0041"',
    "-",
    "--1",
    "+1",
    "1e400",
    '{"a"}',
    '{"a":}',
    "{a:1}",
  ])("is not %j", (text) => {
    expect(isSure(text)).toBe(false);
    expect(isCanonical(text)).toBe(false);
  });

  test("are nearly all values without escapes, as sensors and models make them", () => {
    const plain = fc
      .string({ unit: "grapheme", maxLength: 20 })
      .filter((text) => !/["\\\p{Cc}]/u.test(text));
    const member = fc
      .stringMatching(/^[a-zA-Z_][a-zA-Z0-9_]{0,8}$/u)
      .filter((text) => !/^(__proto__|constructor|prototype)$/u.test(text));
    const scalar = fc.oneof(plain, number, fc.boolean(), fc.constant(null));
    const value = fc.oneof(
      scalar,
      fc.array(scalar),
      fc.dictionary(member, scalar, { noNullPrototype: true }),
    );
    fc.assert(
      fc.property(value, (said) => {
        expect(isSure(canonicalJson(said))).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });
});
