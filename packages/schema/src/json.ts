// SPDX-License-Identifier: Apache-2.0
import type { JsonValue } from "@ctxmesh/model";

/** A JSON object. */
export type JsonObject = Readonly<Record<string, JsonValue>>;

/** A schema: an object of keywords, or whether everything is accepted. */
export type Schema = boolean | JsonObject;

/** Whether a value is an object, and no list. */
export const isObject = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Whether two JSON values are the same; the order of members does not count. */
export function isSame(a: JsonValue, b: JsonValue): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    const [left, right] = [a as readonly JsonValue[], b as readonly JsonValue[]];
    return left.length === right.length && left.every((item, i) => isSame(item, right[i] ?? null));
  }
  if (!isObject(a) || !isObject(b)) return false;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && isSame(a[name] ?? null, b[name] ?? null))
  );
}

/** A member as a step of a JSON pointer (RFC 6901). */
export const pointerStep = (name: string | number): string =>
  `/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`;
