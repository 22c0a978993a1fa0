// SPDX-License-Identifier: Apache-2.0
import { LIMITS, MeshError } from "@ctxmesh/model";
import { Pattern, globPattern } from "@ctxmesh/schema";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const atom = fc.constantFrom(
  "a",
  "b",
  ".",
  "\\d",
  "\\W",
  "[ab]",
  "[^a]",
  "[a-c\\d]",
  "\\.",
  "\\u{61}",
  "[\\s-]",
  "é",
  "😀",
);
const quantifier = fc.constantFrom("", "*", "+", "?", "{2}", "{1,}", "{0,2}", "*?");
const pattern: fc.Arbitrary<string> = fc.letrec<{ pattern: string }>((tie) => ({
  pattern: fc
    .array(
      fc.oneof(
        { maxDepth: 3 },
        fc.tuple(atom, quantifier).map((parts) => parts.join("")),
        fc.constantFrom("^", "$", "|"),
        fc.tuple(tie("pattern"), quantifier).map(([inner, times]) => `(${inner})${times}`),
        tie("pattern").map((inner) => `(?:${inner})`),
      ),
      { maxLength: 4 },
    )
    .map((parts) => parts.join("")),
})).pattern;
/** A pattern within the limit on steps; what is past it is refused, and has a test of its own. */
function compiled(source: string): Pattern | undefined {
  try {
    return new Pattern(source);
  } catch (error) {
    if (error instanceof MeshError && error.code === "LIMIT_EXCEEDED") return undefined;
    throw error;
  }
}

const anyText = fc.string({
  unit: fc.constantFrom("a", "b", "c", "1", "-", ".", " ", "\n", "é", "😀"),
  maxLength: 8,
});

describe("a pattern", () => {
  test("matches what the engine of JavaScript matches", () => {
    fc.assert(
      fc.property(pattern, anyText, (source, subject) => {
        const made = compiled(source);
        fc.pre(made !== undefined);
        expect(made?.test(subject)).toBe(new RegExp(source, "u").test(subject));
      }),
      { numRuns: 3_000 },
    );
  });

  test("reads each kind of escape and class", () => {
    for (const [source, yes, no] of [
      [String.raw`^\x41\u0042\t\n\v\f\r\0$`, "AB\t\n\v\f\r\0", "AB"],
      [String.raw`^[\b\-\]\\^]+$`, "\b-]\\^", "a"],
      [String.raw`^[a\-z]$`, "-", "b"],
      [String.raw`^[^]$`, "\n", ""],
      [String.raw`^\/\{\}\(\)$`, "/{}()", "/"],
      [String.raw`^\S\D\w$`, "éé_", "é5_"],
    ] as const) {
      const made = new Pattern(source);
      expect([source, made.test(yes), made.test(no)]).toEqual([source, true, false]);
      expect(new RegExp(source, "u").test(yes)).toBe(true);
    }
  });

  test("takes no time out of proportion where others go back and forth", () => {
    const evil = new Pattern("^(a+)+$");
    const wide = new Pattern("(.*)(.*)(.*)(.*)(.*)x");
    const subject = "a".repeat(LIMITS.valueBytes);
    expect(evil.test(`${subject}!`)).toBe(false);
    expect(evil.test(subject)).toBe(true);
    expect(wide.test(subject)).toBe(false);
  });

  test.each([
    "^(?:){99999999999999999999}$",
    "^a(b{0}){9999999999}$",
    "^((?:){9999999999}){99999999}a$",
    "^(|(?:)){20}a$",
  ])("%s repeats nothing, which takes no time", (source) => {
    const made = new Pattern(source);
    for (const text of ["", "a", "ab"])
      expect(made.test(text)).toBe(new RegExp(source, "u").test(text));
  });

  test("matches alike where it has more states than it remembers", () => {
    const source = "^[ab]*a[ab]{12}c[ab]*$";
    const made = new Pattern(source);
    const subject = fc.string({
      unit: fc.constantFrom("a", "b"),
      minLength: 500,
      maxLength: 1_500,
    });
    fc.assert(
      fc.property(subject, fc.nat(400), (letters, at) => {
        for (const text of [letters, `${letters.slice(0, -at)}c${letters.slice(-at)}`]) {
          expect(made.test(text)).toBe(new RegExp(source, "u").test(text));
        }
      }),
      { numRuns: 20 },
    );
  });

  test.each([
    ["(", "INPUT_INVALID"],
    ["(?=a)b", "INPUT_INVALID"],
    ["(?<!a)b", "INPUT_INVALID"],
    ["(?<name>a)", "INPUT_INVALID"],
    [String.raw`(a)\1`, "INPUT_INVALID"],
    [String.raw`\bword`, "INPUT_INVALID"],
    [String.raw`\p{L}`, "INPUT_INVALID"],
    [String.raw`\ud800`, "INPUT_INVALID"],
    ["((a{100}){100}){100}", "LIMIT_EXCEEDED"],
    ["a".repeat(LIMITS.patternLength + 1), "LIMIT_EXCEEDED"],
  ])("%s is refused", (source, code) => {
    expect(() => new Pattern(source)).toThrowError(expect.objectContaining({ code }));
  });
});

describe("a pattern of names", () => {
  test.each([
    ["**", ["a", "a/b", ""], []],
    ["line-*", ["line-1", "line-"], ["line-1/press", "xline-1"]],
    ["line-*/**", ["line-1/press-7", "line-1/a/b"], ["line-1"]],
    ["a.b", ["a.b"], ["axb"]],
  ])("%s", (glob, yes, no) => {
    const made = globPattern(glob);
    expect(yes.filter((name) => !made.test(name))).toEqual([]);
    expect(no.filter((name) => made.test(name))).toEqual([]);
  });
});
