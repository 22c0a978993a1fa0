// SPDX-License-Identifier: Apache-2.0
/** JSON as signed bytes: RFC 8785 (JCS) out, and a strict check of what came in. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import canonicalize from "canonicalize";

/** Member names that JavaScript code is known to mishandle; refused in values at any depth. */
const FORBIDDEN_MEMBERS: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"]);

function refuse(field: string, problem: string): never {
  throw new MeshError("INPUT_INVALID", `${field} ${problem}`, { field });
}

function assertContainer(value: object, field: string, depth: number, path: Set<object>): void {
  if (depth >= LIMITS.depth) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `${field} is nested deeper than ${String(LIMITS.depth)}`,
      {
        field,
      },
    );
  }
  if (path.has(value)) refuse(field, "contains itself");
  path.add(value);
  if (Array.isArray(value)) {
    // By index: `forEach` would pass over the holes of a sparse array.
    for (let i = 0; i < value.length; i++) {
      assertJson(value[i], `${field}[${String(i)}]`, depth + 1, path);
    }
  } else {
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null)
      refuse(field, "is not a plain object");
    for (const [name, member] of Object.entries(value)) {
      if (FORBIDDEN_MEMBERS.has(name)) refuse(field, `has the forbidden member name "${name}"`);
      if (!name.isWellFormed()) refuse(field, "has a member name with a lone surrogate");
      assertJson(member, `${field}.${name}`, depth + 1, path);
    }
  }
  path.delete(value);
}

function assertJson(value: unknown, field: string, depth: number, path: Set<object>): void {
  switch (typeof value) {
    case "boolean":
      return;
    case "number":
      if (!Number.isFinite(value)) refuse(field, `is ${String(value)}, which JSON can't hold`);
      return;
    case "string":
      if (!value.isWellFormed()) refuse(field, "holds a lone surrogate");
      return;
    case "object":
      if (value !== null) assertContainer(value, field, depth, path);
      return;
    case "bigint":
    case "function":
    case "symbol":
    case "undefined":
      refuse(field, `is a ${typeof value}, which JSON can't hold`);
  }
}

/**
 * Checks that `value` is JSON as ctxmesh keeps it: finite numbers, well-formed strings, plain
 * objects without `__proto__`, `constructor` or `prototype`, nesting up to `LIMITS.depth`, no
 * cycles. Throws `INPUT_INVALID` or `LIMIT_EXCEEDED` naming the part.
 */
export function assertJsonValue(value: unknown, field: string): asserts value is JsonValue {
  assertJson(value, field, 0, new Set());
}

/** Whether every object in a value already has its members in the order of RFC 8785 (UTF-16 code units). */
function isSorted(value: JsonValue): boolean {
  if (typeof value !== "object" || value === null) return true;
  if (Array.isArray(value)) return (value as readonly JsonValue[]).every(isSorted);
  const object = value as Readonly<Record<string, JsonValue>>;
  let before: string | undefined;
  for (const name in object) {
    if (before !== undefined && before > name) return false;
    if (!isSorted(object[name] ?? null)) return false;
    before = name;
  }
  return true;
}

/** The one text of a JSON value (RFC 8785). The value must have passed {@link assertJsonValue} or come from `JSON.parse`. */
export function canonicalJson(value: JsonValue): string {
  // RFC 8785 takes its texts of numbers and strings from ECMAScript, so only the order of members can differ.
  if (isSorted(value)) return JSON.stringify(value);
  const text = canonicalize(value);
  if (text === undefined) throw new MeshError("INPUT_INVALID", "not a JSON value");
  return text;
}

/** Parses text that must be the RFC 8785 form of a value accepted by {@link assertJsonValue}. Throws `INPUT_INVALID`. */
export function parseCanonicalJson(text: string, field: string): JsonValue {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new MeshError("INPUT_INVALID", `${field} is not JSON`, { field, cause: error });
  }
  assertJsonValue(value, field);
  if (canonicalJson(value) !== text) refuse(field, "is not in canonical form (RFC 8785)");
  return value;
}
