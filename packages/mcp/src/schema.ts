// SPDX-License-Identifier: Apache-2.0
/**
 * The part of JSON Schema that tools describe their arguments with, and the check against it. The words for what is wrong are
 * those of the reference memory server (zod 4), so that a client which reads them meets nothing new.
 */

/** What every schema may have. */
interface Described {
  readonly description?: string;
}

/** A text. */
export interface StringSchema extends Described {
  readonly type: "string";
  readonly enum?: readonly string[];
}

/** A number; both bounds are included. */
export interface NumberSchema extends Described {
  readonly type: "number" | "integer";
  readonly minimum?: number;
  readonly maximum?: number;
}

/** True or false. */
export interface BooleanSchema extends Described {
  readonly type: "boolean";
}

/** A list. */
export interface ArraySchema extends Described {
  readonly type: "array";
  readonly items: Schema;
  readonly maxItems?: number;
}

/** An object; without `additionalProperties: false` unknown members are allowed. */
export interface ObjectSchema extends Described {
  readonly type: "object";
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: false;
}

/** Any value of JSON. */
export interface AnySchema extends Described {
  readonly type?: never;
}

/** A schema of JSON Schema, draft 7 and later. */
export type Schema =
  | StringSchema
  | NumberSchema
  | BooleanSchema
  | ArraySchema
  | ObjectSchema
  | AnySchema;

/** A text that is described. */
export const textSchema = (description: string): Schema => ({ type: "string", description });

/** An object without unknown members, for arguments. */
export const strictObject = (
  properties: Readonly<Record<string, Schema>>,
  required: readonly string[],
): ObjectSchema => ({ type: "object", properties, required, additionalProperties: false });

/** An object that may have more members than are described, for answers. */
export const openObject = (
  properties: Readonly<Record<string, Schema>>,
  required: readonly string[],
): ObjectSchema => ({ type: "object", properties, required });

/** Problems that are told of one call; a list of a million wrong items needs no million lines. */
const MAX_PROBLEMS = 8;

const typeOf = (value: unknown): string =>
  value === null ? "null" : Array.isArray(value) ? "array" : typeof value;

/**
 * What is wrong with a value, such as `Invalid input: expected array, received string at entities`; empty when it is as the schema
 * says. At most eight problems.
 */
export function problemsOf(schema: Schema, value: unknown): readonly string[] {
  const problems: string[] = [];
  check(schema, value, "", problems);
  return problems.slice(0, MAX_PROBLEMS);
}

function check(schema: Schema, value: unknown, path: string, problems: string[]): void {
  if (problems.length >= MAX_PROBLEMS || schema.type === undefined) return;
  const say = (problem: string): void => {
    problems.push(path === "" ? problem : `${problem} at ${path}`);
  };
  const expected = schema.type === "integer" ? "number" : schema.type;
  if (typeOf(value) !== expected) {
    say(`Invalid input: expected ${expected}, received ${typeOf(value)}`);
    return;
  }
  switch (schema.type) {
    case "string":
      if (schema.enum !== undefined && !schema.enum.includes(value as string)) {
        const options = schema.enum.map((option) => JSON.stringify(option)).join("|");
        say(`Invalid option: expected one of ${options}`);
      }
      return;
    case "number":
    case "integer":
      return checkNumber(schema, value as number, say);
    case "array":
      return checkItems(schema, value as readonly unknown[], path, problems);
    case "object":
      return checkMembers(schema, value as Readonly<Record<string, unknown>>, path, problems);
    case "boolean":
      return;
  }
}

function checkNumber(
  { type, minimum = -Infinity, maximum = Infinity }: NumberSchema,
  value: number,
  say: (problem: string) => void,
): void {
  if (type === "integer" && !Number.isSafeInteger(value)) {
    say("Invalid input: expected int, received number");
  } else if (value < minimum) {
    say(`Too small: expected number to be >=${String(minimum)}`);
  } else if (value > maximum) {
    say(`Too big: expected number to be <=${String(maximum)}`);
  }
}

function checkItems(
  { items, maxItems = Infinity }: ArraySchema,
  value: readonly unknown[],
  path: string,
  problems: string[],
): void {
  if (value.length > maxItems) {
    problems.push(
      `Too big: expected array to have <=${String(maxItems)} items${path && ` at ${path}`}`,
    );
    return;
  }
  for (const [index, item] of value.entries()) {
    check(items, item, `${path}[${String(index)}]`, problems);
  }
}

function checkMembers(
  { properties = {}, required = [], additionalProperties }: ObjectSchema,
  value: Readonly<Record<string, unknown>>,
  path: string,
  problems: string[],
): void {
  for (const [name, schema] of Object.entries(properties)) {
    const member = Object.hasOwn(value, name) ? value[name] : undefined;
    if (member === undefined && !required.includes(name)) continue;
    check(schema, member, path === "" ? name : `${path}.${name}`, problems);
  }
  if (additionalProperties !== false) return;
  const unknown = Object.keys(value).find((name) => !Object.hasOwn(properties, name));
  if (unknown !== undefined) {
    problems.push(
      `Unrecognized key: ${JSON.stringify(unknown.slice(0, 80))}${path && ` at ${path}`}`,
    );
  }
}
