// SPDX-License-Identifier: Apache-2.0
import { resolve } from "@ctxmesh/facts";
import type { Slot } from "@ctxmesh/facts";
import { LIMITS, hlcFromMs } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileExpression } from "../src/expression.ts";
import { AROUND_MS, deviceOf, incarnationOf, resolverOf, slotArbitrary } from "./arbitraries.ts";

const slot = (members: Partial<Slot> = {}): Slot => ({
  key: "k",
  writer: deviceOf(1),
  incarnation: incarnationOf(1),
  seq: 1,
  hlc: hlcFromMs(AROUND_MS),
  valueJson: '{"score":0.5,"n":3,"list":[1,2],"s":"abc","deep":{"x":true}}',
  confidence: 0.25,
  source: { model: "m" },
  tags: ["t"],
  ...members,
});
const score = (expression: string, of: Slot = slot()): number =>
  compileExpression(expression, "e")(of);

test.each<[string, number]>([
  ["1", 1],
  ["-1.5", -1.5],
  ["true", 1],
  ["1 > 2", 0],
  ["confidence * 2.0", 0.5],
  ["hlc_ms", AROUND_MS],
  ["double(hlc_ms) / 1000.0", AROUND_MS / 1000],
  [`writer == "${deviceOf(1)}"`, 1],
  ['source.model == "m" && source.version == "" && source.instance == ""', 1],
  ['"t" in tags', 1],
  ["size(tags) + size(value.list)", 3],
  ["value.score + value.n", 3.5],
  ['value.s.contains("b") && value.s.startsWith("a") && value.s.endsWith("c")', 1],
  ["value.deep.x ? value.list[1] : value.list[0]", 2],
  ['int("7") + int(2.9)', 9],
  ['string(value.n) == "3"', 1],
  ["value.n / 0.0", Infinity],
  ["value.missing > 1 || true", 1],
])("%s scores %d", (expression, expected) => {
  expect(score(expression)).toBe(expected);
});

test("a deleted candidate's value is null, absent confidence is 1, and absent texts are empty", () => {
  const bare: Slot = {
    key: "k",
    writer: deviceOf(1),
    incarnation: incarnationOf(1),
    seq: 1,
    hlc: hlcFromMs(AROUND_MS),
  };
  expect(score("value == null", bare)).toBe(1);
  expect(score("confidence", bare)).toBe(1);
  expect(score('source.model + source.version + source.instance == ""', bare)).toBe(1);
  expect(score("size(tags)", bare)).toBe(0);
});

describe("an expression that fails for a candidate scores it below every other", () => {
  test.each([
    "value.missing",
    "value.missing.deeper",
    "value.list[5]",
    "value.s.n",
    "value.constructor",
    "value.__proto__",
    "value.toString",
    "value.list.length",
    "value.s + 1.0",
    "value.n + 1",
    "value",
    "value.s",
    "1 / 0",
    "0.0 / 0.0",
    "9223372036854775807 + 1",
    'int("z")',
  ])("%s", (expression) => {
    expect(score(expression)).toBe(-Infinity);
    const resolver = resolverOf({ resolver: "expression", name: "e", expression });
    const [older, newer] = [slot(), slot({ writer: deviceOf(2), hlc: hlcFromMs(AROUND_MS + 1) })];
    expect(resolve(resolver, [newer, older])?.winner).toBe(newer);
  });

  test("and so a candidate with the member wins over a newer one without it", () => {
    const resolver = resolverOf({ resolver: "expression", name: "e", expression: "value.score" });
    const scored = slot({ valueJson: '{"score":-1e+300}' });
    const newer = slot({ writer: deviceOf(2), hlc: hlcFromMs(AROUND_MS + 1), valueJson: "{}" });
    expect(resolve(resolver, [newer, scored])?.winner).toBe(scored);
  });

  test("a score is a number and no NaN, whatever the candidate", () => {
    const expressions = [
      "value.score",
      "value",
      "value + value",
      "size(value)",
      "value > 1.0",
      "value[0]",
    ];
    fc.assert(
      fc.property(slotArbitrary, fc.constantFrom(...expressions), (any, expression) => {
        expect(score(expression, any)).not.toBeNaN();
        expect(typeof score(expression, any)).toBe("number");
      }),
    );
  });
});

const padded = (length: number): string => "1".padEnd(length);
const sum = (terms: number): string => Array<string>(terms).fill("1").join("+");

describe("an expression is refused, and the error names it", () => {
  test.each([
    ["nothing", "", "not CEL"],
    ["broken syntax", "value.score +", "not CEL"],
    ["JavaScript", "(() => 1)()", "not CEL"],
    ["a number over the range of doubles", "1e400", "not CEL"],
    ["a lone surrogate", String.raw`"\uD800" == "a"`, "not CEL"],
    ["an unknown name", "foo", "Unknown variable"],
    ["the time of reading", "now()", "calls now"],
    ["the age of a candidate", "age_ms", "Unknown variable"],
    ["mixed number types", "confidence * 2", "does not type-check"],
    ["branches of two types", "true ? 1 : 'a'", "does not type-check"],
    ["a text", "'a'", "gives a string"],
    ["a list", "[1]", "gives a list"],
    ["null", "null", "gives a null"],
    ["a uint", "1u", "gives a uint"],
    ["bytes", "b'abc'", "gives a bytes"],
    ["a macro over a list", "value.list.all(x, x > 0)", "calls all"],
    ["a macro that maps", "[1].map(x, x)[0]", "calls map"],
    ["a macro that filters", "[1].filter(x, x > 0)[0]", "calls filter"],
    ["a macro that counts", "value.list.exists_one(x, x > 0)", "calls exists_one"],
    [
      "a macro inside of others",
      "1 + (true ? size([value.list.exists(x, x > 0)]) : 2)",
      "calls exists",
    ],
    ["has", "has(value.score)", "calls has"],
    ["a binding", "cel.bind(x, 1, x)", "calls bind"],
    ["a regular expression", "value.s.matches('(a+)+$')", "calls matches"],
    ["a regular expression as a function", "matches(value.s, 'a')", "calls matches"],
    [
      "a time",
      "timestamp('2020-01-01T00:00:00Z') > timestamp('2020-01-01T00:00:00Z')",
      "calls timestamp",
    ],
    ["a conversion that is not offered", "uint(1)", "calls uint"],
    ["an optional", "optional.of(1)", "calls of"],
  ])("%s", (_, expression, problem) => {
    const compile = (): unknown => compileExpression(expression, "mine");
    expect(compile).toThrow(
      expect.objectContaining({ code: "INPUT_INVALID", field: "expression" }) as Error,
    );
    expect(compile).toThrow('"mine"');
    expect(compile).toThrow(problem);
  });

  test("over its length or its nodes or its depth, and taken at the limit", () => {
    expect(score(padded(LIMITS.expressionLength))).toBe(1);
    expect(() => compileExpression(padded(LIMITS.expressionLength + 1), "e")).toThrow(
      expect.objectContaining({ code: "LIMIT_EXCEEDED", field: "expression" }) as Error,
    );
    expect(score(sum(90))).toBe(90);
    expect(() => compileExpression(sum(LIMITS.expressionNodes), "e")).toThrow("not CEL");
    const deep = "(".repeat(400) + "1" + ")".repeat(400);
    expect(() => compileExpression(deep, "e")).toThrow("not CEL");
  });
});

test("no expression does more than its own length over the largest value", () => {
  const large = slot({ valueJson: JSON.stringify("ab".repeat(32_000)) });
  const doubled = Array<string>(40).fill("value").join("+");
  expect(score(`size(${doubled})`, large)).toBe(40 * 64_000);
});
