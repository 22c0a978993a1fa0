// SPDX-License-Identifier: Apache-2.0
/** Strict reading of parsed JSON: exact members, exact types. Every refusal is `FORMAT_INVALID` and names the part. */
import { fromBase64 } from "@ctxmesh/codec";
import { MeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";

/** Refuses with `FORMAT_INVALID`. */
export function malformed(message: string): never {
  throw new MeshError("FORMAT_INVALID", message);
}

/** An object with any members. */
export function readObject(
  value: JsonValue | undefined,
  what: string,
): Readonly<Record<string, JsonValue>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return malformed(`${what} is not an object`);
  }
  return value as Readonly<Record<string, JsonValue>>;
}

/** An object with exactly the given members. */
export function readMembers<Name extends string>(
  value: JsonValue | undefined,
  names: readonly Name[],
  what: string,
): Readonly<Record<Name, JsonValue>> {
  const found = readObject(value, what);
  for (const name of names) {
    if (!Object.hasOwn(found, name)) malformed(`${what} lacks "${name}"`);
  }
  for (const name of Object.keys(found)) {
    if (!(names as readonly string[]).includes(name)) {
      malformed(`${what} has the unknown member ${JSON.stringify(name.slice(0, 40))}`);
    }
  }
  return found;
}

/** A string. */
export const readText = (value: JsonValue | undefined, what: string): string =>
  typeof value === "string" ? value : malformed(`${what} is not a string`);

/** A safe integer of at least `least`. */
export const readInteger = (value: JsonValue | undefined, least: number, what: string): number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= least
    ? value
    : malformed(`${what} is not an integer of at least ${String(least)}`);

/** An array of `limit` items at most. */
export function readArray(
  value: JsonValue | undefined,
  limit: number,
  what: string,
): readonly JsonValue[] {
  if (!Array.isArray(value)) return malformed(`${what} is not an array`);
  const items = value as readonly JsonValue[];
  if (items.length > limit) malformed(`${what} has more than ${String(limit)} items`);
  return items;
}

/** Bytes in canonical base64, of an exact length where one is given. */
export function readBase64(
  value: JsonValue | undefined,
  what: string,
  length?: number,
): Uint8Array {
  const text = readText(value, what);
  let bytes: Uint8Array;
  try {
    bytes = fromBase64(text);
  } catch {
    return malformed(`${what} is not canonical base64`);
  }
  if (length !== undefined && bytes.length !== length) {
    malformed(`${what} has ${String(bytes.length)} bytes, not ${String(length)}`);
  }
  return bytes;
}
