// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: arguments of another shape are told apart, and told of, as by the library that the reference server checks with.
 * Method: the same schema here and in zod; any value of JSON, and values that are nearly right.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { problemsOf } from "../src/schema.ts";
import type { Schema } from "../src/schema.ts";

const SCHEMA: Schema = {
  type: "object",
  properties: {
    name: { type: "string" },
    kind: { type: "string", enum: ["a", "b c"] },
    share: { type: "number", minimum: 0, maximum: 1 },
    count: { type: "integer", minimum: 1 },
    flag: { type: "boolean" },
    tags: { type: "array", items: { type: "string" }, maxItems: 3 },
    inner: {
      type: "object",
      properties: {
        x: {
          type: "array",
          items: { type: "object", properties: { y: { type: "number" } }, required: ["y"] },
        },
      },
      required: ["x"],
      additionalProperties: false,
    },
    any: {},
  },
  required: ["name", "inner"],
};
const ZOD = z.object({
  name: z.string(),
  kind: z.enum(["a", "b c"]).optional(),
  share: z.number().min(0).max(1).optional(),
  count: z.number().int().min(1).optional(),
  flag: z.boolean().optional(),
  tags: z.array(z.string()).max(3).optional(),
  inner: z.strictObject({ x: z.array(z.object({ y: z.number() })) }),
  any: z.json().optional(),
});

const isValid = (value: unknown): boolean => ZOD.safeParse(value).success;

const rarely = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 6, arbitrary }, { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 1 }) });

const NEARLY = fc.record(
  {
    name: rarely(fc.string()),
    kind: rarely(fc.constantFrom("a", "b c")),
    share: rarely(fc.double({ min: -0.1, max: 1.1, noNaN: true })),
    count: rarely(fc.integer({ min: 0, max: 3 })),
    flag: rarely(fc.boolean()),
    tags: rarely(fc.array(rarely(fc.string()), { maxLength: 4 })),
    inner: rarely(
      fc.record({
        x: rarely(fc.array(rarely(fc.record({ y: rarely(fc.integer()) })), { maxLength: 2 })),
      }),
    ),
    any: fc.jsonValue(),
  },
  { requiredKeys: ["name"] },
);

test("the same values are right", () => {
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), NEARLY), (value) => {
      expect(problemsOf(SCHEMA, value).length === 0).toBe(isValid(value));
    }),
    { numRuns: 2_000 },
  );
});

test.for([
  [{}, "Invalid input: expected string, received undefined at name"],
  [{ name: null }, "Invalid input: expected string, received null at name"],
  [
    { name: "", inner: { x: [{ y: "1" }] } },
    "Invalid input: expected number, received string at inner.x[0].y",
  ],
  [{ name: "", inner: { x: [] }, kind: "c" }, 'Invalid option: expected one of "a"|"b c" at kind'],
  [
    { name: "", inner: { x: [] }, count: 1.5 },
    "Invalid input: expected int, received number at count",
  ],
  [{ name: "", inner: { x: [] }, count: 0 }, "Too small: expected number to be >=1 at count"],
  [{ name: "", inner: { x: [] }, share: 2 }, "Too big: expected number to be <=1 at share"],
  [
    { name: "", inner: { x: [] }, tags: ["", "", "", ""] },
    "Too big: expected array to have <=3 items at tags",
  ],
  [{ name: "", inner: { x: [], z: 1 } }, 'Unrecognized key: "z" at inner'],
  ["x", "Invalid input: expected object, received string"],
] as const)("%j is refused in the library's words", ([value, problem]) => {
  expect(problemsOf(SCHEMA, value)[0]).toBe(problem);
  const [issue] = ZOD.safeParse(value).error?.issues ?? [];
  expect(problem.startsWith(issue?.message ?? "-")).toBe(true);
});

test("a list of a million wrong items is told of in eight lines", () => {
  const items = { type: "array", items: { type: "string" } } as const;
  expect(
    problemsOf(
      items,
      Array.from({ length: 1_000_000 }, () => 0),
    ),
  ).toHaveLength(8);
  const names = Array.from({ length: 8 }, (_, index) => String(index));
  const object = {
    type: "object",
    properties: Object.fromEntries(names.map((name) => [name, { type: "string" }] as const)),
    required: names,
    additionalProperties: false,
  } as const;
  expect(problemsOf(object, { other: 1 })).toHaveLength(8);
});
