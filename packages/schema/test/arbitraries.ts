// SPDX-License-Identifier: Apache-2.0
/** Schemas of the registry's subset over few names and numbers, and values that have a chance to fit them. */
import type { JsonValue } from "@ctxmesh/model";
import type { Schema } from "@ctxmesh/schema";
import * as fc from "fast-check";

const NAMES = ["a", "b", "c"];
const number = fc.constantFrom(-1, 0, 0.5, 1, 2, 3);
const count = fc.integer({ min: 0, max: 3 });

/** Values. */
export const valueArbitrary: fc.Arbitrary<JsonValue> = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom(
      null,
      true,
      false,
      -1,
      0,
      0.5,
      1,
      1.5,
      2,
      3,
      4,
      "",
      "a",
      "ab",
      "ba",
      "abc",
      "2026-01-01",
    ),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...NAMES), tie("value"), { maxKeys: 3, noNullPrototype: true }),
  ),
})).value;

/** Some of the members of a record of arbitraries. */
const some = (
  members: Readonly<Record<string, fc.Arbitrary<JsonValue>>>,
): fc.Arbitrary<JsonValue> =>
  // Absent members are absent, and not undefined.
  fc
    .record(members, { requiredKeys: [], noNullPrototype: true })
    .map((made) => made as Readonly<Record<string, JsonValue>>);

const type = fc.oneof(
  fc.constantFrom("null", "boolean", "object", "array", "string", "integer", "number"),
  fc.uniqueArray(fc.constantFrom("null", "object", "array", "string", "integer", "number"), {
    minLength: 1,
    maxLength: 3,
  }),
);

/** Schemas. */
export const schemaArbitrary: fc.Arbitrary<Schema> = fc
  .letrec<{ schema: JsonValue }>((tie) => {
    const schema = tie("schema");
    const schemas = fc.array(schema, { minLength: 1, maxLength: 3 });
    return {
      schema: fc.oneof(
        { maxDepth: 3, depthSize: "small" },
        fc.oneof(
          { weight: 1, arbitrary: fc.boolean() },
          { weight: 3, arbitrary: some({ type, minimum: number, exclusiveMaximum: number }) },
          {
            weight: 3,
            arbitrary: some({
              type,
              maximum: number,
              exclusiveMinimum: number,
              multipleOf: fc.constantFrom(0.5, 1, 2),
            }),
          },
          {
            weight: 3,
            arbitrary: some({
              type,
              minLength: count,
              maxLength: count,
              pattern: fc.constantFrom("^a", "b$", "^(ab|ba)+$"),
              format: fc.constant("date"),
            }),
          },
          {
            weight: 2,
            arbitrary: some({
              enum: fc.array(valueArbitrary, { minLength: 1, maxLength: 3 }),
              type,
            }),
          },
          { weight: 1, arbitrary: valueArbitrary.map((value) => ({ const: value })) },
        ),
        some({
          type,
          items: schema,
          prefixItems: schemas,
          minItems: count,
          maxItems: count,
        }),
        fc.record(
          { maxItems: count, uniqueItems: fc.boolean(), items: schema },
          { noNullPrototype: true },
        ),
        some({
          type,
          properties: fc.dictionary(fc.constantFrom(...NAMES), schema, {
            maxKeys: 3,
            noNullPrototype: true,
          }),
          additionalProperties: schema,
          required: fc.uniqueArray(fc.constantFrom(...NAMES), { maxLength: 2 }),
          minProperties: count,
          maxProperties: count,
        }),
        some({ anyOf: schemas, type }),
        some({ oneOf: schemas, type }),
        some({ allOf: schemas, not: schema }),
      ),
    };
  })
  .schema.map((schema) => schema as Schema);

/** A schema and one that differs from it a little: in one place, which says more, less or something else. */
export const changedArbitrary: fc.Arbitrary<readonly [before: Schema, after: Schema]> = fc
  .tuple(schemaArbitrary, schemaArbitrary, fc.nat(1_000), fc.nat(4))
  .map(([before, other, at, how]) => {
    if (how === 0) return [before, { anyOf: [before, other] }] as const;
    if (how === 1) return [{ allOf: [before, other] }, before] as const;
    return [before, changed(before, other, at)] as const;
  });

/** With one member somewhere replaced, left out or widened. */
function changed(schema: JsonValue, other: JsonValue, at: number): Schema {
  if (typeof schema !== "object" || schema === null || Array.isArray(schema))
    return other as Schema;
  const entries = Object.entries(schema as Readonly<Record<string, JsonValue>>);
  const entry = entries[at % Math.max(1, entries.length)];
  if (entry === undefined) return other as Schema;
  const [name, value] = entry;
  const rest = Object.fromEntries(entries.filter(([each]) => each !== name));
  if (at % 3 === 0) return rest;
  if (typeof value === "number") return { ...rest, [name]: value + (at % 2 === 0 ? 1 : -1) };
  if (name === "items" || name === "additionalProperties" || name === "not") {
    return { ...rest, [name]: changed(value, other, Math.floor(at / 3)) };
  }
  return rest;
}
