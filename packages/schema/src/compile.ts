// SPDX-License-Identifier: Apache-2.0
/**
 * Schemas as functions. Ajv writes the code of such a function and compiles it, so it gets nothing but what `parseSchema` let through, and patterns run
 * on a machine of our own (`pattern.ts`).
 */
import { LIMITS } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
// oxlint-disable-next-line import/extensions -- ajv has no exports map
import { Ajv2020 } from "ajv/dist/2020.js";
import type { ErrorObject, Format } from "ajv/dist/2020.js";
// oxlint-disable-next-line import/extensions -- nor has this
import { fullFormats } from "ajv-formats/dist/formats.js";
import { isObject, pointerStep } from "./json.ts";
import type { Schema } from "./json.ts";
import { Pattern } from "./pattern.ts";
import { FORMATS } from "./subset.ts";

/** What breaks a schema. */
export interface ValueProblem {
  /** JSON pointer of the part of the value; empty for all of it. */
  readonly path: string;
  /** What it would have to be. */
  readonly problem: string;
}

/** Says what of a value breaks a schema; undefined when nothing does. */
export type Validator = (value: JsonValue) => ValueProblem | undefined;

/** No format is longer; what is, is none. It bounds the time that the expressions behind them take. */
const FORMAT_LENGTH = 2_048;

function bounded(format: Format): (text: string) => boolean {
  const check =
    typeof format === "object" && "validate" in format ? format.validate : (format as unknown);
  return (text) => {
    if (text.length > FORMAT_LENGTH) return false;
    return check instanceof RegExp ? check.test(text) : (check as (text: string) => boolean)(text);
  };
}

// As Ajv wants an engine of expressions: a function with the code that would make one, which is for code in files alone.
const regExp = Object.assign((pattern: string) => new Pattern(pattern), { code: "Pattern" });

function newCompiler(): Ajv2020 {
  const ajv = new Ajv2020({
    meta: false,
    validateSchema: false,
    strict: true,
    strictTypes: false,
    strictTuples: false,
    strictRequired: false,
    // What is no JSON does not get here.
    strictNumbers: false,
    allowUnionTypes: true,
    addUsedSchema: false,
    logger: false,
    // Shorter code is no faster, and takes five times as long to make: a second for the largest schema.
    code: { regExp, optimize: false },
  });
  // For keywords that the subset does not have (`unevaluatedProperties`, `$dynamicRef`), and set by its constructor whatever it is told. Following
  // which members were looked at costs time, and in some nested alternatives makes code that names what is not there.
  Object.assign(ajv.opts, { unevaluated: false, dynamicRef: false });
  for (const name of FORMATS) ajv.addFormat(name, bounded(fullFormats[name]));
  return ajv;
}

function problemOf(error: ErrorObject | undefined): ValueProblem {
  if (error === undefined) return { path: "", problem: "is not accepted" };
  const { keyword, instancePath, message = "is not accepted" } = error;
  const params = error.params as Readonly<Record<string, unknown>>;
  const [member, problem] =
    keyword === "required"
      ? [params["missingProperty"], "is missing"]
      : keyword === "additionalProperties"
        ? [params["additionalProperty"], "is no member that the schema has"]
        : [undefined, keyword === "enum" ? "must be one of the listed values" : message];
  const path = typeof member === "string" ? instancePath + pointerStep(member) : instancePath;
  return { path, problem };
}

const cache = new Map<string, Validator>();

/** The validator of a parsed schema; `LIMITS.compiledSchemas` of them are kept, those that were asked for last. */
export function validatorOf(schema: Schema): Validator {
  const text = JSON.stringify(schema);
  const known = cache.get(text);
  const validator = known ?? compile(schema);
  cache.delete(text);
  cache.set(text, validator);
  if (cache.size > LIMITS.compiledSchemas) {
    const [oldest] = cache.keys();
    if (oldest !== undefined) cache.delete(oldest);
  }
  return validator;
}

function compile(schema: Schema): Validator {
  // Without the name of its dialect: the compiler knows no other one, and looks for none.
  const plain = isObject(schema)
    ? Object.fromEntries(Object.entries(schema).filter(([keyword]) => keyword !== "$schema"))
    : schema;
  const validate = newCompiler().compile(plain);
  return (value) => {
    if (validate(value)) return undefined;
    // The last one is of the outermost keyword: for alternatives the ones before it say what each of them lacks.
    return problemOf(validate.errors?.at(-1));
  };
}
