// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { parseSchema, validatorOf } from "@ctxmesh/schema";
import type { Schema } from "@ctxmesh/schema";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { schemaArbitrary, valueArbitrary } from "./arbitraries.ts";
import { isMet } from "./reference.ts";

const nested = (depth: number): JsonValue => (depth === 0 ? true : { items: nested(depth - 1) });
const large: JsonValue = {
  properties: Object.fromEntries(
    Array.from({ length: LIMITS.schemaNodes }, (_, i) => [`p${String(i)}`, true]),
  ),
};
/** Definitions that each name the next one twice: 2^n ways through a value. */
const doubling = (n: number): JsonValue => ({
  $ref: "#/$defs/d0",
  $defs: Object.fromEntries(
    Array.from({ length: n }, (_, i) => [
      `d${String(i)}`,
      i === n - 1
        ? true
        : {
            anyOf: [
              { $ref: `#/$defs/d${String(i + 1)}` },
              { items: { $ref: `#/$defs/d${String(i + 1)}` } },
            ],
          },
    ]),
  ),
});

describe("a schema", () => {
  test("of the subset compiles, and judges every value without failing", () => {
    fc.assert(
      fc.property(schemaArbitrary, fc.array(valueArbitrary, { maxLength: 5 }), (schema, values) => {
        const validate = validatorOf(parseSchema(schema));
        const paths = values.map((value) => validate(value)?.path ?? "");
        expect(paths.filter((path) => path !== "" && !path.startsWith("/"))).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test("accepts what its keywords accept by their definitions", () => {
    // Formats have none that is short.
    const plain = schemaArbitrary.filter((schema) => !JSON.stringify(schema).includes('"format"'));
    const joined = fc
      .tuple(plain, plain, plain)
      .chain(([a, b, c]) =>
        fc.constantFrom<Schema>(
          a,
          { oneOf: [{ allOf: [a, { oneOf: [b] }], not: c }, b] },
          { properties: { a, b }, additionalProperties: c, anyOf: [a, b] },
          { prefixItems: [a, b], items: c, not: { not: a } },
          { oneOf: [{ allOf: [{ oneOf: [{ properties: { a } }] }], not: b }, c] },
          { properties: { a: { pattern: "^a" }, b: { pattern: "b$" } }, not: c },
        ),
      );
    fc.assert(
      fc.property(joined, fc.array(valueArbitrary, { maxLength: 10 }), (schema, values) => {
        const validate = validatorOf(parseSchema(schema));
        const accepted = values.map((value) => validate(value) === undefined);
        expect(accepted).toEqual(values.map((value) => isMet(schema, value)));
      }),
      { numRuns: 300 },
    );
  });

  test("judges with alternatives in others, of which only some name members or places", () => {
    const named = { properties: { a: {} } };
    const placed = { prefixItems: [{}] };
    for (const part of [named, placed]) {
      const joined = { oneOf: [{ allOf: [{ oneOf: [part] }], not: {} }, {}] };
      for (const schema of [joined, { anyOf: [joined, joined] }, { items: joined, ...joined }]) {
        const validate = validatorOf(parseSchema(schema));
        for (const value of [null, 1, [], [1], {}, { a: 1 }]) {
          expect(validate(value)).toBeUndefined();
        }
      }
    }
  });

  test("holds each text to the pattern at its own place", () => {
    const validate = validatorOf(
      parseSchema({
        properties: { a: { pattern: "^a" }, b: { pattern: "^b" } },
        not: { properties: { c: { pattern: "^c" } }, required: ["c"] },
      }),
    );
    expect(validate({ a: "a", b: "b", c: "a" })).toBeUndefined();
    expect(validate({ a: "a", b: "a" })).toMatchObject({ path: "/b" });
    expect(validate({ a: "b" })).toMatchObject({ path: "/a" });
    expect(validate({ c: "c" })).toMatchObject({ path: "" });
  });

  test.each<[string, JsonValue, string, string]>([
    ["is no schema", "string", "INPUT_INVALID", ""],
    ["has an unknown keyword", { typ: "string" }, "INPUT_INVALID", "/typ"],
    [
      "reaches for the network",
      { $ref: "https://example.org/schema.json" },
      "INPUT_INVALID",
      "/$ref",
    ],
    ["has a base of its own", { $id: "https://example.org/" }, "INPUT_INVALID", "/$id"],
    ["refers to nothing", { $ref: "#/$defs/none" }, "INPUT_INVALID", "/$ref"],
    [
      "refers to what an object has by itself",
      { $ref: "#/$defs/toString" },
      "INPUT_INVALID",
      "/$ref",
    ],
    [
      "is of another dialect",
      { $schema: "http://json-schema.org/draft-07/schema#" },
      "INPUT_INVALID",
      "/$schema",
    ],
    [
      "is a part of itself",
      { $ref: "#/$defs/a", $defs: { a: { items: { $ref: "#/$defs/a" } } } },
      "INPUT_INVALID",
      "/$defs/a/items/$ref",
    ],
    [
      "has a pattern that goes back",
      { items: { pattern: String.raw`(a)\1` } },
      "INPUT_INVALID",
      "/items/pattern",
    ],
    ["has a huge pattern", { pattern: "(a{1000}){1000}" }, "LIMIT_EXCEEDED", "/pattern"],
    ["compares each with each", { uniqueItems: true }, "INPUT_INVALID", ""],
    ["compares too many", { uniqueItems: true, maxItems: 257 }, "INPUT_INVALID", ""],
    ["has a format that nobody knows", { format: "regex" }, "INPUT_INVALID", "/format"],
    ["has a type that is none", { type: "float" }, "INPUT_INVALID", "/type"],
    ["names a type twice", { type: ["null", "null"] }, "INPUT_INVALID", "/type"],
    ["counts with fractions", { minLength: 1.5 }, "INPUT_INVALID", "/minLength"],
    ["divides by nothing", { multipleOf: 0 }, "INPUT_INVALID", "/multipleOf"],
    ["lists nothing", { enum: [] }, "INPUT_INVALID", "/enum"],
    ["has no alternatives", { anyOf: [] }, "INPUT_INVALID", "/anyOf"],
    ["has definitions inside", { items: { $defs: {} } }, "INPUT_INVALID", "/items/$defs"],
    [
      "names a member that JavaScript mishandles",
      JSON.parse('{"properties":{"__proto__":true}}') as JsonValue,
      "INPUT_INVALID",
      "/properties",
    ],
    ["asks for such a member", { required: ["constructor"] }, "INPUT_INVALID", "/required"],
    ["asks for what every object has", { required: ["toString"] }, "INPUT_INVALID", "/required"],
    [
      "is deep",
      nested(LIMITS.schemaDepth + 1),
      "LIMIT_EXCEEDED",
      "/items".repeat(LIMITS.schemaDepth),
    ],
    ["is large", { items: large }, "LIMIT_EXCEEDED", ""],
    [
      "has many alternatives",
      { anyOf: Array.from({ length: 65 }, () => true) },
      "LIMIT_EXCEEDED",
      "",
    ],
    [
      "has dear patterns",
      { properties: { a: { pattern: "a{150}" }, b: { pattern: "a{150}" } } },
      "LIMIT_EXCEEDED",
      "",
    ],
    ["is small and takes for ever", doubling(30), "LIMIT_EXCEEDED", ""],
  ])("that %s is refused, with its place", (_name, schema, code, field) => {
    expect(() => parseSchema(schema)).toThrowError(expect.objectContaining({ code, field }));
  });
});

describe("a value that breaks a schema", () => {
  const schema: Schema = {
    type: "object",
    properties: {
      unit: { enum: ["C", "F"] },
      at: { type: "string", format: "date-time" },
      list: { type: "array", items: { type: "integer" } },
      choice: { anyOf: [{ type: "null" }, { type: "string" }] },
      "a/b": { type: "object", additionalProperties: false },
    },
    required: ["unit"],
  };
  const valid = { unit: "C", at: "2026-01-01T00:00:00Z", list: [1], choice: null, more: [{}] };

  test("is refused with the part that does, and others pass, unknown members too", () => {
    const validate = validatorOf(parseSchema(schema));
    expect(validate(valid)).toBeUndefined();
    for (const [value, path] of [
      ["text", ""],
      [{}, "/unit"],
      [{ unit: "K" }, "/unit"],
      [{ ...valid, at: "yesterday" }, "/at"],
      [{ ...valid, at: `2026${" ".repeat(4_000)}` }, "/at"],
      [{ ...valid, list: [1, 2.5] }, "/list/1"],
      [{ ...valid, choice: 5 }, "/choice"],
      [{ ...valid, "a/b": { x: 1 } }, "/a~1b/x"],
    ] as const) {
      expect(validate(value as JsonValue)).toMatchObject({ path });
    }
  });

  test("changes nothing of the value", () => {
    const value = { unit: "C", extra: 1 };
    validatorOf(parseSchema({ properties: { other: { default: 1 } } }))(value);
    expect(value).toEqual({ unit: "C", extra: 1 });
  });
});
