// SPDX-License-Identifier: Apache-2.0
/**
 * The part of JSON Schema 2020-12 that a registry takes. What is left out can take very long (recursion under alternatives, most regular expressions),
 * reaches for other documents (`$id`, `$anchor`, `$dynamicRef`), or can't be compared with another version.
 */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { isObject, pointerStep } from "./json.ts";
import type { JsonObject, Schema } from "./json.ts";
import { Pattern } from "./pattern.ts";

/** Formats that are checked. */
export const FORMATS = [
  "date",
  "date-time",
  "duration",
  "email",
  "hostname",
  "ipv4",
  "ipv6",
  "json-pointer",
  "time",
  "uri",
  "uuid",
] as const;

const DIALECT = "https://json-schema.org/draft/2020-12/schema";
const TYPES = ["array", "boolean", "integer", "null", "number", "object", "string"];
const REF = /^#\/\$defs\/(?<name>[A-Za-z0-9_.-]{1,100})$/u;
const DEFINITION = /^[A-Za-z0-9_.-]{1,100}$/u;
/** Members that every object of JavaScript has, or that code mishandles: what is asked of them would be asked of those. */
const MISHANDLED: ReadonlySet<string> = new Set([
  ...Object.getOwnPropertyNames(Object.prototype),
  "prototype",
]);

/** Keywords that say nothing about which values are accepted. */
export const ANNOTATIONS: ReadonlySet<string> = new Set([
  "$comment",
  "$schema",
  "title",
  "description",
  "default",
  "deprecated",
  "examples",
  "readOnly",
  "writeOnly",
]);

type Check = (value: JsonValue, path: string) => void;

function refuse(path: string, problem: string): never {
  throw new MeshError("INPUT_INVALID", `schema: ${path === "" ? "it" : path} ${problem}`, {
    field: path,
  });
}

const isCount = (value: JsonValue): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

const count: Check = (value, path) => {
  if (!isCount(value)) refuse(path, "is not a whole number from 0");
};
const number: Check = (value, path) => {
  if (typeof value !== "number") refuse(path, "is not a number");
};
const text: Check = (value, path) => {
  if (typeof value !== "string") refuse(path, "is not text");
};
const flag: Check = (value, path) => {
  if (typeof value !== "boolean") refuse(path, "is not true or false");
};
const anything: Check = () => undefined;

const isTexts = (value: JsonValue): value is readonly string[] =>
  Array.isArray(value) &&
  (value as readonly JsonValue[]).every((item) => typeof item === "string") &&
  new Set(value as readonly JsonValue[]).size === value.length;

function checkName(name: string, path: string): void {
  if (MISHANDLED.has(name))
    refuse(path, `names ${name}, which every object of JavaScript has by itself`);
}

/** What holds no subschemas. */
const CHECKS: Readonly<Record<string, Check>> = {
  $schema: (value, path) => {
    if (value !== DIALECT) refuse(path, `is not ${DIALECT}`);
  },
  $comment: text,
  title: text,
  description: text,
  default: anything,
  examples: anything,
  deprecated: flag,
  readOnly: flag,
  writeOnly: flag,
  const: anything,
  enum: (value, path) => {
    if (!Array.isArray(value) || value.length === 0) refuse(path, "is not a list of values");
  },
  type: (value, path) => {
    const types = typeof value === "string" ? [value] : value;
    if (!isTexts(types) || types.length === 0 || types.some((type) => !TYPES.includes(type))) {
      refuse(path, `is not one or some of ${TYPES.join(", ")}`);
    }
  },
  minimum: number,
  maximum: number,
  exclusiveMinimum: number,
  exclusiveMaximum: number,
  multipleOf: (value, path) => {
    if (typeof value !== "number" || !(value > 0)) refuse(path, "is not a number above 0");
  },
  minLength: count,
  maxLength: count,
  format: (value, path) => {
    if (!FORMATS.some((format) => format === value)) {
      refuse(path, `is not one of ${FORMATS.join(", ")}`);
    }
  },
  minItems: count,
  maxItems: count,
  uniqueItems: flag,
  minProperties: count,
  maxProperties: count,
  required: (value, path) => {
    if (!isTexts(value)) return refuse(path, "is not a list of different names");
    for (const name of value) checkName(name, path);
    return undefined;
  },
};

const SINGLE: ReadonlySet<string> = new Set(["items", "additionalProperties", "not"]);
const LISTS: ReadonlySet<string> = new Set(["allOf", "anyOf", "oneOf", "prefixItems"]);

/** The subschemas of a keyword, each with its path. */
function subschemas(
  keyword: string,
  value: JsonValue,
  path: string,
): readonly (readonly [string, JsonValue])[] {
  if (SINGLE.has(keyword)) return [[path, value]];
  if (LISTS.has(keyword)) {
    if (!Array.isArray(value) || value.length === 0) return refuse(path, "is not a list");
    return (value as readonly JsonValue[]).map((item, i) => [path + pointerStep(i), item]);
  }
  if (!isObject(value)) return refuse(path, "is not an object");
  return Object.entries(value).map(([name, item]) => {
    checkName(name, path);
    return [path + pointerStep(name), item];
  });
}

/** What a schema may cost, with its references written out. */
interface Cost {
  readonly subschemas: number;
  /** Branches of alternatives and of joined schemas: each may look at all of a value. */
  readonly branches: number;
  /** Steps of its patterns. */
  readonly steps: number;
}

const ONE: Cost = { subschemas: 1, branches: 0, steps: 0 };
const plus = (a: Cost, b: Cost): Cost => ({
  subschemas: a.subschemas + b.subschemas,
  branches: a.branches + b.branches,
  steps: a.steps + b.steps,
});

/** Walks through a schema once, and adds up what it costs with what it refers to. */
class Reader {
  readonly #definitions: JsonObject;
  /** What each definition comes to; `open` while that is worked out. */
  readonly #costs = new Map<string, Cost | "open">();

  constructor(root: JsonValue) {
    const definitions = isObject(root) ? root["$defs"] : undefined;
    this.#definitions = isObject(definitions) ? definitions : {};
    if (definitions !== undefined && !isObject(definitions)) refuse("/$defs", "is not an object");
  }

  readAll(root: JsonValue): Cost {
    for (const name of Object.keys(this.#definitions)) {
      if (!DEFINITION.test(name) || MISHANDLED.has(name)) {
        refuse("/$defs", "has a name of other than 1 to 100 letters, digits, dots, dashes and _");
      }
      this.#definition(name, "/$defs");
    }
    return this.read(root, "", 0);
  }

  /** What a schema costs. Throws for what the subset does not have. */
  read(schema: JsonValue, path: string, depth: number): Cost {
    if (typeof schema === "boolean") return ONE;
    if (!isObject(schema)) return refuse(path, "is neither an object nor true or false");
    if (depth >= LIMITS.schemaDepth) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `schema: ${path} is nested deeper than ${String(LIMITS.schemaDepth)}`,
        { field: path },
      );
    }
    const { uniqueItems, maxItems } = schema;
    const isBounded = typeof maxItems === "number" && maxItems <= LIMITS.uniqueItems;
    if (uniqueItems === true && !isBounded) {
      refuse(
        path,
        `has uniqueItems without a maxItems of ${String(LIMITS.uniqueItems)} or less: each item is compared with each`,
      );
    }
    return Object.entries(schema)
      .map(([keyword, value]) => this.#keyword(keyword, value, path + pointerStep(keyword), depth))
      .reduce(plus, ONE);
  }

  #keyword(keyword: string, value: JsonValue, path: string, depth: number): Cost {
    const nothing: Cost = { ...ONE, subschemas: 0 };
    if (keyword === "pattern") return { ...nothing, steps: stepsOf(value, path) };
    const check = Object.hasOwn(CHECKS, keyword) ? CHECKS[keyword] : undefined;
    if (check !== undefined) {
      check(value, path);
      return nothing;
    }
    if (keyword === "$ref") return this.#reference(value, path);
    if (keyword === "$defs" && depth === 0) return nothing;
    if (keyword !== "properties" && !SINGLE.has(keyword) && !LISTS.has(keyword)) {
      refuse(path, "is no keyword that a registry takes");
    }
    const inner = subschemas(keyword, value, path);
    const branches = LISTS.has(keyword) && keyword !== "prefixItems" ? inner.length : 0;
    return inner
      .map(([at, item]) => this.read(item, at, depth + 1))
      .reduce(plus, { ...nothing, branches });
  }

  #reference(value: JsonValue, path: string): Cost {
    const name = typeof value === "string" ? REF.exec(value)?.groups?.["name"] : undefined;
    if (name === undefined || !Object.hasOwn(this.#definitions, name)) {
      return refuse(path, "is not a definition of this schema, such as #/$defs/name");
    }
    return this.#definition(name, path);
  }

  #definition(name: string, path: string): Cost {
    const known = this.#costs.get(name);
    if (known === "open")
      return refuse(path, "refers to what it is a part of, and that has no end");
    if (known !== undefined) return known;
    this.#costs.set(name, "open");
    const at = `/$defs${pointerStep(name)}`;
    const cost = this.read(this.#definitions[name] ?? true, at, 1);
    this.#costs.set(name, cost);
    return cost;
  }
}

function stepsOf(value: JsonValue, path: string): number {
  if (typeof value !== "string") return refuse(path, "is not text");
  try {
    return new Pattern(value).steps;
  } catch (error) {
    const { code, message } = error as MeshError;
    throw new MeshError(code, `schema: ${path}: ${message}`, { field: path });
  }
}

/**
 * Parses an untrusted schema, and sees to it that it is of the subset and within `LIMITS.schemaNodes`, `schemaBranches`, `schemaDepth`, `patternLength` and
 * `patternSteps`, which is for all of its patterns together. Throws `INPUT_INVALID` or `LIMIT_EXCEEDED`; `field` is the JSON pointer of the keyword.
 */
export function parseSchema(value: JsonValue): Schema {
  const { subschemas: nodes, branches, steps } = new Reader(value).readAll(value);
  const bounds = [
    [nodes, LIMITS.schemaNodes, "subschemas"],
    [branches, LIMITS.schemaBranches, "branches of anyOf, oneOf and allOf"],
    [steps, LIMITS.patternSteps, "steps in its patterns"],
  ] as const;
  for (const [cost, limit, what] of bounds) {
    if (cost <= limit) continue;
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `schema: it has ${String(cost)} ${what} with its references written out, the limit is ${String(limit)}`,
      { field: "" },
    );
  }
  return value as Schema;
}

/** A parsed schema with its references written out, and without annotations. */
export function inlined(schema: Schema): Schema {
  const definitions = isObject(schema) ? (schema["$defs"] ?? {}) : {};
  return inline(schema, definitions as JsonObject);
}

function inline(schema: JsonValue, definitions: JsonObject): Schema {
  if (!isObject(schema)) return schema as boolean;
  const plain: Record<string, JsonValue> = {};
  for (const [keyword, value] of Object.entries(schema)) {
    if (ANNOTATIONS.has(keyword) || keyword === "$defs" || keyword === "$ref") continue;
    plain[keyword] = inlineKeyword(keyword, value, definitions);
  }
  const { $ref } = schema;
  if (typeof $ref !== "string") return plain;
  const target = inline(definitions[$ref.slice("#/$defs/".length)] ?? true, definitions);
  if (Object.keys(plain).length === 0) return target;
  const others = (plain["allOf"] ?? []) as readonly JsonValue[];
  return { ...plain, allOf: [...others, target] };
}

function inlineKeyword(keyword: string, value: JsonValue, definitions: JsonObject): JsonValue {
  if (SINGLE.has(keyword)) return inline(value, definitions);
  if (LISTS.has(keyword)) {
    return (value as readonly JsonValue[]).map((item) => inline(item, definitions));
  }
  if (keyword !== "properties" || !isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, inline(item, definitions)]),
  );
}
