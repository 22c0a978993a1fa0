// SPDX-License-Identifier: Apache-2.0
/** TypeScript types of schemas: what can be said of a value by its shape. Bounds, patterns and formats are not types. */
import type { JsonValue } from "@ctxmesh/model";
import type { ParsedEntry } from "./entry.ts";
import { isObject } from "./json.ts";
import type { JsonObject, Schema } from "./json.ts";
import { inlined } from "./subset.ts";

const PLAIN: Readonly<Record<string, string>> = {
  string: "string",
  number: "number",
  integer: "number",
  boolean: "boolean",
  null: "null",
};
const NAME = /^[A-Za-z_$][A-Za-z0-9_$]*$/u;
const ANY = "JsonValue";

const listOf = (value: JsonValue | undefined): readonly JsonValue[] =>
  Array.isArray(value) ? (value as readonly JsonValue[]) : [];
const textsOf = (value: JsonValue | undefined): readonly string[] =>
  listOf(value).filter((item) => typeof item === "string");
const unique = (types: readonly string[]): readonly string[] => [...new Set(types)];
const union = (types: readonly string[]): string =>
  types.length === 0 ? "never" : types.includes(ANY) ? ANY : unique(types).join(" | ");
/** In brackets where something else could read into it. */
const bracketed = (type: string): string => (/[|&]|^readonly /u.test(type) ? `(${type})` : type);

function objectType(schema: JsonObject): string {
  const properties = isObject(schema["properties"]) ? schema["properties"] : {};
  const required = new Set(textsOf(schema["required"]));
  const rest = schema["additionalProperties"] ?? true;
  const named = Object.entries(properties).map(([name, member]) => {
    const label = NAME.test(name) ? name : JSON.stringify(name);
    return `readonly ${label}${required.has(name) ? "" : "?"}: ${typeOf(member as Schema)};`;
  });
  const missing = [...required].filter((name) => !Object.hasOwn(properties, name));
  const others = missing.map(
    (name) => `readonly ${JSON.stringify(name)}: ${typeOf(rest as Schema)};`,
  );
  // Members without a name in the schema: any value, since a named one has to fit as well.
  const open = rest === false ? [] : [`readonly [member: string]: ${restType(rest, named)};`];
  return `{ ${[...named, ...others, ...open].join(" ")} }`;
}

const restType = (rest: JsonValue, named: readonly string[]): string =>
  named.length === 0 ? typeOf(rest as Schema) : `${ANY} | undefined`;

function arrayType(schema: JsonObject): string {
  const prefix = listOf(schema["prefixItems"]);
  const items = (schema["items"] ?? true) as Schema;
  if (prefix.length === 0) return `readonly ${bracketed(typeOf(items))}[]`;
  const least = Number(schema["minItems"] ?? 0);
  const places = prefix.map((item, i) => {
    const type = typeOf(item as Schema);
    return i < least ? type : `${bracketed(type)}?`;
  });
  const rest = items === false ? [] : [`...${bracketed(typeOf(items))}[]`];
  return `readonly [${[...places, ...rest].join(", ")}]`;
}

function plainType(schema: JsonObject): string {
  if (schema["const"] !== undefined) return literal(schema["const"]);
  if (schema["enum"] !== undefined) return union(listOf(schema["enum"]).map(literal));
  const { type } = schema;
  const shapes = ["properties", "required", "additionalProperties"].some((name) => name in schema);
  // Without a type, an object's keywords say nothing of other values.
  if (type === undefined) return ANY;
  const types = typeof type === "string" ? [type] : textsOf(type);
  return union(
    types.map((name) => {
      if (name === "object")
        return shapes ? objectType(schema) : `{ readonly [member: string]: ${ANY} }`;
      return name === "array" ? arrayType(schema) : (PLAIN[name] ?? ANY);
    }),
  );
}

const literal = (value: JsonValue): string =>
  typeof value === "object" && value !== null ? ANY : JSON.stringify(value);

/** The type of a schema that is inlined, as an expression. */
function typeOf(schema: Schema): string {
  if (schema === true) return ANY;
  if (schema === false) return "never";
  const { allOf, anyOf, oneOf, ...plain } = schema;
  const parts = [
    plainType(plain),
    ...listOf(allOf).map((part) => typeOf(part as Schema)),
    ...[anyOf, oneOf].flatMap((branches) =>
      branches === undefined ? [] : [union(listOf(branches).map((one) => typeOf(one as Schema)))],
    ),
  ].filter((part) => part !== ANY);
  if (parts.length === 0) return ANY;
  return parts.length === 1 ? (parts[0] ?? ANY) : unique(parts.map(bracketed)).join(" & ");
}

const words = (text: string): string =>
  (text.match(/[A-Za-z0-9]+/gu) ?? [])
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join("");

/** `Telemetry` of `telemetry/`, in documents of `line-*` `TelemetryInLine`. */
function typeName({ prefix, docs }: ParsedEntry, taken: Set<string>): string {
  const base = words(prefix) || "Any";
  const place = docs === "**" ? "" : `In${words(docs) || "Documents"}`;
  const plain = `${/^\d/u.test(base) ? "_" : ""}${base}${place}`;
  let name = plain;
  for (let i = 2; taken.has(name); i++) name = `${plain}${String(i)}`;
  taken.add(name);
  return name;
}

const comment = (text: string): string => text.replaceAll("*/", "*\\/").replaceAll(/\s+/gu, " ");

/**
 * A TypeScript module with a type for each entry, and `Facts`, which has them by prefix for those of all documents. Entries are the current ones, in the order in
 * which they shall appear.
 */
export function typesOf(entries: readonly ParsedEntry[]): string {
  const taken = new Set(["Facts", "JsonValue"]);
  const named = entries.map((entry) => ({ entry, name: typeName(entry, taken) }));
  const types = named.map(({ entry, name }) => {
    const { schema, prefix, docs, version } = entry;
    const about =
      isObject(schema) && typeof schema["description"] === "string" ? schema["description"] : "";
    const place = `Keys that start with ${JSON.stringify(prefix)}, documents ${JSON.stringify(docs)}, version ${version}.`;
    return `/** ${comment(`${place} ${about}`.trim())} */\nexport type ${name} = ${typeOf(inlined(schema))};\n`;
  });
  const everywhere = named.filter(({ entry }) => entry.docs === "**");
  const members = everywhere.map(
    ({ entry, name }) => `  readonly ${JSON.stringify(entry.prefix)}: ${name};\n`,
  );
  return [
    "// Made by `ctxmesh schema types`. Do not edit.\n\n",
    "/** Any JSON value. */\nexport type JsonValue =\n  | string\n  | number\n  | boolean\n  | null\n  | readonly JsonValue[]\n  | { readonly [member: string]: JsonValue };\n\n",
    ...types.map((type) => `${type}\n`),
    `/** What holds for the keys with a prefix, in every document. */\nexport interface Facts {\n${members.join("")}}\n`,
  ].join("");
}
