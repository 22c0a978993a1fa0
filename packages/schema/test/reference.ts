// SPDX-License-Identifier: Apache-2.0
/** The keywords of the subset by their definitions in JSON Schema 2020-12, each in the plainest way; formats and references are left out. */
import type { JsonValue } from "@ctxmesh/model";
import type { JsonObject, Schema } from "../src/json.ts";
import { isObject, isSame } from "../src/json.ts";

type Keyword = (said: JsonValue, value: JsonValue, schema: JsonObject) => boolean;

const TYPES: Readonly<Record<string, (value: JsonValue) => boolean>> = {
  null: (value) => value === null,
  boolean: (value) => typeof value === "boolean",
  object: isObject,
  array: Array.isArray,
  string: (value) => typeof value === "string",
  number: (value) => typeof value === "number",
  integer: (value) => Number.isInteger(value),
};

const ofNumbers =
  (holds: (value: number, said: number) => boolean): Keyword =>
  (said, value) =>
    typeof value !== "number" || holds(value, said as number);
const ofTexts =
  (holds: (value: string, said: JsonValue) => boolean): Keyword =>
  (said, value) =>
    typeof value !== "string" || holds(value, said);
const ofLists =
  (holds: (value: readonly JsonValue[], said: JsonValue, schema: JsonObject) => boolean): Keyword =>
  (said, value, schema) =>
    !Array.isArray(value) || holds(value as readonly JsonValue[], said, schema);
const ofObjects =
  (holds: (value: JsonObject, said: JsonValue, schema: JsonObject) => boolean): Keyword =>
  (said, value, schema) =>
    !isObject(value) || holds(value, said, schema);
const listOf = (said: JsonValue | undefined): readonly JsonValue[] =>
  (said ?? []) as readonly JsonValue[];
const namesOf = (said: JsonValue | undefined): JsonObject => (said ?? {}) as JsonObject;
const sizeOf = (value: JsonObject): number => Object.keys(value).length;

const KEYWORDS: Readonly<Record<string, Keyword>> = {
  type: (said, value) => [said].flat().some((type) => TYPES[type as string]?.(value) === true),
  const: (said, value) => isSame(said, value),
  enum: (said, value) => listOf(said).some((one) => isSame(one, value)),
  minimum: ofNumbers((value, said) => value >= said),
  maximum: ofNumbers((value, said) => value <= said),
  exclusiveMinimum: ofNumbers((value, said) => value > said),
  exclusiveMaximum: ofNumbers((value, said) => value < said),
  multipleOf: ofNumbers((value, said) => Number.isInteger(value / said)),
  minLength: ofTexts((value, said) => Array.from(value).length >= Number(said)),
  maxLength: ofTexts((value, said) => Array.from(value).length <= Number(said)),
  pattern: ofTexts((value, said) => new RegExp(said as string, "u").test(value)),
  minItems: ofLists((value, said) => value.length >= Number(said)),
  maxItems: ofLists((value, said) => value.length <= Number(said)),
  uniqueItems: ofLists(
    (value, said) =>
      said === false || value.every((one, i) => !value.slice(0, i).some((two) => isSame(one, two))),
  ),
  prefixItems: ofLists((value, said) =>
    value.every((item, i) => meets(listOf(said)[i] ?? true, item)),
  ),
  items: ofLists((value, said, { prefixItems }) =>
    value.slice(listOf(prefixItems).length).every((item) => meets(said, item)),
  ),
  properties: ofObjects((value, said) =>
    Object.entries(value).every(([name, member]) => meets(namesOf(said)[name] ?? true, member)),
  ),
  additionalProperties: ofObjects((value, said, { properties }) =>
    Object.entries(value).every(
      ([name, member]) => namesOf(properties)[name] !== undefined || meets(said, member),
    ),
  ),
  required: ofObjects((value, said) =>
    listOf(said).every((name) => Object.hasOwn(value, name as string)),
  ),
  minProperties: ofObjects((value, said) => sizeOf(value) >= Number(said)),
  maxProperties: ofObjects((value, said) => sizeOf(value) <= Number(said)),
  allOf: (said, value) => listOf(said).every((one) => meets(one, value)),
  anyOf: (said, value) => listOf(said).some((one) => meets(one, value)),
  oneOf: (said, value) => listOf(said).filter((one) => meets(one, value)).length === 1,
  not: (said, value) => !meets(said, value),
};

function meets(schema: JsonValue, value: JsonValue): boolean {
  if (!isObject(schema)) return schema === true;
  return Object.entries(schema).every(([keyword, said]) => {
    const holds = KEYWORDS[keyword];
    if (holds === undefined) throw new Error(`no definition of ${keyword}`);
    return holds(said, value, schema);
  });
}

/** Whether a value meets a schema. */
export const isMet = (schema: Schema, value: JsonValue): boolean => meets(schema, value);
