// SPDX-License-Identifier: Apache-2.0
/** What is published: one version of a schema with what goes by the same prefix. */
import { LIMITS, MeshError, isModuleName } from "@ctxmesh/model";
import type { JsonValue, SchemaEntry } from "@ctxmesh/model";
import { isObject } from "./json.ts";
import type { JsonObject, Schema } from "./json.ts";
import { globPattern } from "./pattern.ts";
import { parseVersion } from "./semver.ts";
import { parseSchema } from "./subset.ts";

const MEMBERS = [
  "docs",
  "prefix",
  "version",
  "compatibility",
  "schema",
  "admit",
  "ttlMs",
  "priority",
  "consistency",
  "maxStalenessMs",
] as const;
const DOCS = /^[A-Za-z0-9._/*-]{1,200}$/u;
// oxlint-disable-next-line no-control-regex -- keys have none, so a prefix with one would be of no key.
const CONTROL = /[\u0000-\u001f\u007f]/u;

/** An entry whose schema is parsed. */
export interface ParsedEntry extends Omit<SchemaEntry, "schema"> {
  readonly schema: Schema & JsonValue;
}

function refuse(field: string, problem: string): never {
  throw new MeshError("INPUT_INVALID", `schema entry: ${field} ${problem}`, { field });
}

function admitOf(value: JsonValue | undefined): Pick<SchemaEntry, "admit"> {
  if (value === undefined) return {};
  const admit = textOf(value, "admit");
  if (!isModuleName(admit)) refuse("admit", "is not wasm: and the SHA-256 of a module in hex");
  return { admit };
}

function choice<T extends string>(
  value: JsonValue | undefined,
  allowed: readonly T[],
  field: string,
): T {
  const found = allowed.find((option) => option === value);
  return found ?? refuse(field, `is not one of ${allowed.join(", ")}`);
}

function milliseconds(value: JsonValue, field: string): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value > 0) return value;
  return refuse(field, "is not a positive whole number of milliseconds");
}

function textOf(value: JsonValue | undefined, field: string): string {
  return typeof value === "string" ? value : refuse(field, "is not text");
}

function prefixOf(value: JsonValue | undefined): string {
  const prefix = textOf(value, "prefix");
  // Each escape is one byte.
  const bytes = prefix.isWellFormed()
    ? encodeURIComponent(prefix).replaceAll(/%../gu, "_").length
    : Infinity;
  if (bytes > LIMITS.keyBytes || CONTROL.test(prefix)) {
    refuse("prefix", `has over ${String(LIMITS.keyBytes)} bytes or a control character`);
  }
  return prefix;
}

function docsOf(value: JsonValue | undefined): string {
  const docs = textOf(value ?? "**", "docs");
  if (!DOCS.test(docs)) {
    refuse("docs", "is not 1 to 200 letters, digits, and . _ - / of document names, and * or **");
  }
  void globPattern(docs);
  return docs;
}

function consistencyOf({
  consistency,
  maxStalenessMs,
}: JsonObject): Pick<SchemaEntry, "consistency" | "maxStalenessMs"> {
  if ((consistency === "bounded") !== (maxStalenessMs !== undefined)) {
    refuse("maxStalenessMs", "and the consistency bounded go together");
  }
  if (consistency === undefined) return {};
  return {
    consistency: choice(consistency, ["eventual", "bounded", "strong"], "consistency"),
    ...(maxStalenessMs === undefined
      ? {}
      : { maxStalenessMs: milliseconds(maxStalenessMs, "maxStalenessMs") }),
  };
}

/**
 * Parses an untrusted entry: its members and no others. `docs` is `**` and `compatibility` is `backward` where they are left out. Throws `INPUT_INVALID`
 * and `LIMIT_EXCEEDED`.
 */
export function parseEntry(value: JsonValue): ParsedEntry {
  if (!isObject(value)) return refuse("entry", "is not an object");
  const unknown = Object.keys(value).find((name) => !MEMBERS.some((member) => member === name));
  if (unknown !== undefined) {
    refuse(unknown.slice(0, 80), `is no member; there are ${MEMBERS.join(", ")}`);
  }
  const version = textOf(value["version"], "version");
  parseVersion(version);
  if (value["schema"] === undefined) refuse("schema", "is missing");
  const { ttlMs, priority } = value;
  return {
    docs: docsOf(value["docs"]),
    prefix: prefixOf(value["prefix"]),
    version,
    compatibility: choice(
      value["compatibility"] ?? "backward",
      ["backward", "forward", "full"],
      "compatibility",
    ),
    schema: parseSchema(value["schema"] ?? true),
    ...admitOf(value["admit"]),
    ...(ttlMs === undefined ? {} : { ttlMs: milliseconds(ttlMs, "ttlMs") }),
    ...(priority === undefined
      ? {}
      : { priority: choice(priority, ["high", "normal", "low"], "priority") }),
    ...consistencyOf(value),
  };
}
