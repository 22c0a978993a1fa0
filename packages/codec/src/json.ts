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

/** Where a value is in the one that is checked; written out only when something is refused. */
interface Place {
  readonly parent: Place | undefined;
  readonly value: object;
  /** Of the member that is being checked. */
  name: string | number;
}

function pathOf(field: string, place: Place | undefined): string {
  if (place === undefined) return field;
  const { name } = place;
  return (
    pathOf(field, place.parent) + (typeof name === "number" ? `[${String(name)}]` : `.${name}`)
  );
}

function assertContainer(
  value: object,
  field: string,
  depth: number,
  parent: Place | undefined,
): void {
  if (depth >= LIMITS.depth) {
    const path = pathOf(field, parent);
    throw new MeshError("LIMIT_EXCEEDED", `${path} is nested deeper than ${String(LIMITS.depth)}`, {
      field: path,
    });
  }
  for (let place = parent; place !== undefined; place = place.parent) {
    if (place.value === value) refuse(pathOf(field, parent), "contains itself");
  }
  const place: Place = { parent, value, name: 0 };
  if (Array.isArray(value)) {
    // By index: `forEach` would pass over the holes of a sparse array.
    for (let i = 0; i < value.length; i++) {
      place.name = i;
      assertJson(value[i], field, depth + 1, place);
    }
    return;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    refuse(pathOf(field, parent), "is not a plain object");
  }
  for (const name of Object.keys(value)) {
    if (FORBIDDEN_MEMBERS.has(name)) {
      refuse(pathOf(field, parent), `has the forbidden member name "${name}"`);
    }
    if (!name.isWellFormed())
      refuse(pathOf(field, parent), "has a member name with a lone surrogate");
    place.name = name;
    assertJson((value as Readonly<Record<string, unknown>>)[name], field, depth + 1, place);
  }
}

function assertJson(value: unknown, field: string, depth: number, place: Place | undefined): void {
  switch (typeof value) {
    case "boolean":
      return;
    case "number":
      if (!Number.isFinite(value)) {
        refuse(pathOf(field, place), `is ${String(value)}, which JSON can't hold`);
      }
      return;
    case "string":
      if (!value.isWellFormed()) refuse(pathOf(field, place), "holds a lone surrogate");
      return;
    case "object":
      if (value !== null) assertContainer(value, field, depth, place);
      return;
    case "bigint":
    case "function":
    case "symbol":
    case "undefined":
      refuse(pathOf(field, place), `is a ${typeof value}, which JSON can't hold`);
  }
}

/**
 * Checks that `value` is JSON as ctxmesh keeps it: finite numbers, well-formed strings, plain
 * objects without `__proto__`, `constructor` or `prototype`, nesting up to `LIMITS.depth`, no
 * cycles. Throws `INPUT_INVALID` or `LIMIT_EXCEEDED` naming the part.
 */
export function assertJsonValue(value: unknown, field: string): asserts value is JsonValue {
  assertJson(value, field, 0, undefined);
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

/**
 * Whether an object may list a name out of order (array indexes come first, in numeric order) or not
 * hold it as a member (`__proto__`). Told by the first character, so it may say yes to more.
 */
function isSpecial(name: string): boolean {
  const first = name.charCodeAt(0);
  return (first >= 0x30 && first <= 0x39) || name === "__proto__";
}

/** A copy with the members of every object in order; undefined where an object can't hold them so. */
function sorted(value: JsonValue): JsonValue | undefined {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    const items: JsonValue[] = [];
    for (const item of value as readonly JsonValue[]) {
      const copy = sorted(item);
      if (copy === undefined) return undefined;
      items.push(copy);
    }
    return items;
  }
  const object = value as Readonly<Record<string, JsonValue>>;
  const copy: Record<string, JsonValue> = {};
  // Without a comparison function names are ordered by UTF-16 code units.
  for (const name of Object.keys(object).toSorted()) {
    if (isSpecial(name)) return undefined;
    const member = sorted(object[name] ?? null);
    if (member === undefined) return undefined;
    copy[name] = member;
  }
  return copy;
}

/** The one text of a JSON value (RFC 8785). The value must have passed {@link assertJsonValue} or come from `JSON.parse`. */
export function canonicalJson(value: JsonValue): string {
  // RFC 8785 takes its texts of numbers and strings from ECMAScript, so only the order of members can differ.
  if (isSorted(value)) return JSON.stringify(value);
  const ordered = sorted(value);
  if (ordered !== undefined) return JSON.stringify(ordered);
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
