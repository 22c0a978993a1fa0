// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Glob } from "../src/glob.ts";

const matches = (pattern: string, key: string): boolean => new Glob(pattern).matches(key);

describe("a pattern", () => {
  test.each<[string, string, boolean]>([
    ["a/b", "a/b", true],
    ["a/b", "a/bc", false],
    ["a/*", "a/b", true],
    ["a/*", "a/", true],
    ["a/*", "a", false],
    ["a/*", "a/b/c", false],
    ["a/**", "a/b/c", true],
    ["**", "any/thing", true],
    ["*", "one", true],
    ["*", "one/two", false],
    ["*/*", "one/two", true],
    ["**/c", "a/b/c", true],
    ["**/c", "c", false],
    ["a***z", "a/b/z", true],
    ["*a*", "banana", true],
    ["🦀*", "🦀x", true],
    ["?", "x", false],
    ["[ab]", "a", false],
    [".*", "xx", false],
    [String.raw`\*`, "*", false],
    [String.raw`\*`, String.raw`\x`, true],
  ])("%s against %s: %s", (pattern, key, expected) => {
    expect(matches(pattern, key)).toBe(expected);
  });

  test("agrees with the regular expression that says the same", () => {
    const unit = fc.constantFrom("a", "b", "/", "*", "**", ".");
    const pattern = fc.array(unit, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(""));
    const key = fc.string({ unit: fc.constantFrom("a", "b", "/", "."), maxLength: 8 });
    fc.assert(
      fc.property(pattern, key, (text, name) => {
        const source = (text.match(/\*\*+|\*|[^*]/gu) ?? []).map((token) =>
          token === "*" ? "[^/]*" : token.startsWith("**") ? ".*" : token.replace(".", "\\."),
        );
        expect(matches(text, name)).toBe(new RegExp(`^${source.join("")}$`, "u").test(name));
        expect(new Glob(text).prefix).toBe(text.split("*")[0]);
      }),
      { numRuns: 3000 },
    );
  });

  test("of more characters than one number has bits is matched like a short one", () => {
    const unit = fc.constantFrom("a", "ab", "/", "*", "**", "a".repeat(31));
    const pattern = fc.array(unit, { minLength: 1, maxLength: 12 }).map((parts) => parts.join(""));
    const fill = fc.constantFrom("", "a", "b/", "aa");
    fc.assert(
      fc.property(pattern, fill, fc.boolean(), (text, filling, cut) => {
        const whole = text.replaceAll(/\*+/gu, filling);
        const name = cut ? whole.slice(0, -1) : whole;
        const source = text.replaceAll(/\*+/gu, (stars) => (stars === "*" ? "[^/]*" : ".*"));
        expect(matches(text, name)).toBe(new RegExp(`^${source}$`, "u").test(name));
      }),
      { numRuns: 3000 },
    );
  });

  test("that would take a backtracking matcher for ever is answered", () => {
    const pattern = `${"*a".repeat(LIMITS.keyBytes / 2 - 1)}*b`;
    expect(matches(pattern, "a".repeat(LIMITS.keyBytes))).toBe(false);
    expect(matches(`${"**a".repeat(170)}b`, "a".repeat(LIMITS.keyBytes))).toBe(false);
  });

  test.each([
    ["empty", "", "INPUT_INVALID"],
    ["longer than a key", "a".repeat(LIMITS.keyBytes + 1), "LIMIT_EXCEEDED"],
  ])("that is %s is refused, and the error names it", (_, pattern, code) => {
    expect(() => new Glob(pattern)).toThrow(
      expect.objectContaining({ code, field: "pattern" }) as Error,
    );
  });
});
