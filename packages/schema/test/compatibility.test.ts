// SPDX-License-Identifier: Apache-2.0
import type { JsonValue } from "@ctxmesh/model";
import { differencesWithin, parseSchema, validatorOf } from "@ctxmesh/schema";
import type { Schema } from "@ctxmesh/schema";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { changedArbitrary, schemaArbitrary, valueArbitrary } from "./arbitraries.ts";

const isWithin = (special: Schema, general: Schema): boolean =>
  differencesWithin(special, general).length === 0;
const accepts = (schema: Schema, value: JsonValue): boolean =>
  validatorOf(schema)(value) === undefined;

describe("a schema that is found to accept whatever another one accepts", () => {
  test("does so", () => {
    let proven = 0;
    fc.assert(
      fc.property(
        changedArbitrary,
        fc.array(valueArbitrary, { minLength: 30, maxLength: 30 }),
        ([before, after], values) => {
          parseSchema(before);
          if (!isWithin(before, after)) return;
          proven++;
          const lost = values.filter((value) => accepts(before, value) && !accepts(after, value));
          expect(lost).toEqual([]);
        },
      ),
      { numRuns: 300 },
    );
    expect(proven).toBeGreaterThan(40);
  });

  test("and each schema accepts what it accepts itself", () => {
    fc.assert(
      fc.property(schemaArbitrary, (schema) => {
        expect(differencesWithin(schema, schema)).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});

const wide = (n: number): Schema => ({
  allOf: Array.from({ length: 12 }, (_, i) => ({
    anyOf: [{ minimum: i * n }, { maximum: -i * n }, { type: "string", minLength: i + n }],
  })),
});

describe("a change", () => {
  const CASES: readonly (readonly [
    string,
    Schema,
    Schema,
    "wider" | "narrower" | "other" | "same",
  ])[] = [
    ["another type beside", { type: "string" }, { type: ["string", "null"] }, "wider"],
    ["integer to number", { type: "integer" }, { type: "number" }, "wider"],
    ["a lower minimum", { minimum: 1 }, { minimum: 0 }, "wider"],
    ["a bound that is left out for a range", { exclusiveMinimum: 0 }, { minimum: 0 }, "wider"],
    ["one more of a list", { enum: ["a"] }, { enum: ["a", "b"] }, "wider"],
    ["a list that becomes text", { enum: ["a", "b"] }, { type: "string", maxLength: 1 }, "wider"],
    [
      "a member that may be missing",
      { type: "object", required: ["a", "b"] },
      { type: "object", required: ["a"] },
      "wider",
    ],
    [
      "a new member of what is closed",
      { type: "object", properties: { a: { type: "string" } }, additionalProperties: false },
      {
        type: "object",
        properties: { a: { type: "string" }, b: { type: "number" } },
        additionalProperties: false,
      },
      "wider",
    ],
    [
      "a new member of what is open",
      { type: "object" },
      { type: "object", properties: { b: { type: "number" } } },
      "narrower",
    ],
    [
      "one more alternative",
      { anyOf: [{ type: "null" }, { minLength: 2, type: "string" }] },
      { anyOf: [{ type: "string" }, { type: "null" }, { type: "array" }] },
      "wider",
    ],
    [
      "alternatives that become types",
      { anyOf: [{ type: "null" }, { type: "string" }] },
      { type: ["null", "string"] },
      "same",
    ],
    [
      "one of several that becomes any of them",
      { oneOf: [{ type: "null" }, { type: "string" }] },
      { anyOf: [{ type: "null" }, { type: "string" }] },
      "wider",
    ],
    [
      "other names of definitions",
      { $defs: { x: { type: "string" } }, $ref: "#/$defs/x" },
      { $defs: { y: { type: "string" } }, allOf: [{ $ref: "#/$defs/y" }] },
      "same",
    ],
    [
      "words about it",
      { type: "string", title: "A" },
      { type: "string", description: "B", default: "" },
      "same",
    ],
    [
      "another pattern",
      { type: "string", pattern: "^a" },
      { type: "string", pattern: "^b" },
      "other",
    ],
    [
      "a refusal of less",
      { not: { type: ["string", "null"] } },
      { not: { type: "string" } },
      "wider",
    ],
    [
      "shorter lists",
      { type: "array", items: { type: "number" }, maxItems: 3 },
      { type: "array", items: { type: "number" }, maxItems: 2 },
      "narrower",
    ],
    [
      "a place that gets a type",
      { type: "array", maxItems: 2 },
      { type: "array", maxItems: 2, prefixItems: [true, { type: "null" }] },
      "narrower",
    ],
    [
      "an object that is closed",
      { type: "object" },
      { type: "object", additionalProperties: false },
      "narrower",
    ],
    ["keywords of another type", { type: "number" }, { type: "number", minLength: 3 }, "same"],
  ];

  test.each(CASES)("%s", (_name, before, after, expected) => {
    const [forth, back] = [isWithin(before, after), isWithin(after, before)];
    const found = forth && back ? "same" : forth ? "wider" : back ? "narrower" : "other";
    expect(found).toBe(expected);
  });

  test("names the place that refuses", () => {
    const before: Schema = { type: "object", properties: { "a/b": { type: "object" } } };
    const after: Schema = {
      type: "object",
      properties: { "a/b": { type: "object", required: ["unit"] } },
    };
    expect(differencesWithin(before, after)).toEqual([
      { path: "/properties/a~1b/required", problem: "refuses what has no unit" },
    ]);
  });

  test("that takes too long to compare is a difference", () => {
    const found = differencesWithin(wide(2), { anyOf: [{ minimum: 99 }, { minLength: 99 }] });
    expect(found.length).toBeGreaterThan(0);
  });
});
