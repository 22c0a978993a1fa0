// SPDX-License-Identifier: Apache-2.0
/**
 * Deterministic CBOR (RFC 8949 section 4.2.1): shortest integers and lengths, definite lengths, map
 * keys in bytewise order. One value has one encoding, so hashes and signatures can be taken over it.
 */
import { LIMITS, MeshError } from "@ctxmesh/model";
import { decode, encode, rfc8949EncodeOptions } from "cborg";

/** What our formats put into CBOR: no floats, no tags, no `undefined`. */
export type CborValue =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly CborValue[]
  | { readonly [key: string]: CborValue };

/**
 * The deterministic encoding of a value. A copy, since cborg may return a `Buffer` of a shared pool,
 * whose `slice` is a view.
 */
export const encodeCbor = (value: CborValue): Uint8Array =>
  new Uint8Array(encode(value, rfc8949EncodeOptions));

/** Refuses what is CBOR but no {@link CborValue}, and nesting over `LIMITS.depth`, before anything else walks the value. */
function assertPlain(value: CborValue, depth: number): void {
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) throw new Error("it has a float");
    return;
  }
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return;
  if (depth >= LIMITS.depth) throw new Error(`it is nested deeper than ${String(LIMITS.depth)}`);
  for (const member of Array.isArray(value) ? value : Object.values(value)) {
    assertPlain(member as CborValue, depth + 1);
  }
}

/** Items that any untrusted value may have besides those that its length allows. */
const SPARE_ITEMS = 2_048;
/** Members of a map in untrusted bytes, twice what any format of ours has: they are sorted and compared, which takes longest. */
const MAX_MEMBERS = 32;

/** Bytes of an item's argument by the low bits of its first byte (RFC 8949, section 3); what is not here has none. */
const ARGUMENT_BYTES: Readonly<Record<number, number>> = { 24: 1, 25: 2, 26: 4, 27: 8 };

/**
 * Goes over the heads of the items, without making anything of them, and refuses bytes that hold more items than honest
 * ones can: else a megabyte of empty maps would cost most of a second before its shape is looked at. What is not
 * well-formed is left for the decoder.
 */
function assertFewItems(bytes: Uint8Array, bytesPerItem: number): void {
  let items = SPARE_ITEMS + Math.floor(bytes.length / bytesPerItem);
  for (let at = 0; at < bytes.length;) {
    const initial = bytes[at] ?? 0;
    const major = initial >>> 5;
    const low = initial & 31;
    const size = ARGUMENT_BYTES[low] ?? 0;
    if (--items < 0) throw new Error("it has more items than its length allows");
    let argument = low < 24 ? low : 0;
    for (let i = 1; i <= size; i++) argument = argument * 256 + (bytes[at + i] ?? 0);
    if (major === 5 && argument > MAX_MEMBERS)
      throw new Error("it has a map with too many members");
    at += 1 + size + (major === 2 || major === 3 ? argument : 0);
  }
}

/**
 * Decodes untrusted bytes and refuses whatever would not encode to the same bytes again (long
 * integers, unsorted or duplicate keys, indefinite lengths, trailing bytes), and what {@link CborValue}
 * does not have (floats, tags, integers over 2^53 - 1), nesting over `LIMITS.depth`, and more items than
 * one for each `bytesPerItem` bytes, which bounds the time that foreign bytes take; without it only for our own. Strings and byte strings in the result are copies. Throws `FORMAT_INVALID`, and `LIMIT_EXCEEDED` over `maxBytes`.
 */
export function decodeCbor(
  bytes: Uint8Array,
  maxBytes: number,
  what: string,
  bytesPerItem?: number,
): CborValue {
  if (bytes.length > maxBytes) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `${what} has ${String(bytes.length)} bytes, the limit is ${String(maxBytes)}`,
      { field: what },
    );
  }
  let value: CborValue;
  let again: Uint8Array;
  try {
    if (bytesPerItem !== undefined) assertFewItems(bytes, bytesPerItem);
    // Bytes nested deeper than the stack allows make `decode` throw RangeError, which is caught here.
    value = decode(bytes, {
      allowIndefinite: false,
      allowUndefined: false,
      allowNaN: false,
      allowInfinity: false,
      allowBigInt: false,
      rejectDuplicateMapKeys: true,
      strict: true,
    }) as CborValue;
    assertPlain(value, 0);
    again = encode(value, rfc8949EncodeOptions);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new MeshError("FORMAT_INVALID", `${what} is not CBOR: ${reason}`, {
      field: what,
      cause: error,
    });
  }
  if (Buffer.compare(bytes, again) !== 0) {
    throw new MeshError("FORMAT_INVALID", `${what} is not deterministic CBOR`, { field: what });
  }
  return value;
}

/** Reads the members of a decoded map strictly: every member exactly once, nothing besides but what is optional. */
export class MapReader {
  readonly #map: Readonly<Record<string, CborValue>>;
  readonly #what: string;

  /** Throws `FORMAT_INVALID` unless `value` is a map with exactly these member names, and of the `optional` ones any. */
  constructor(
    value: CborValue,
    names: readonly string[],
    what: string,
    optional: readonly string[] = [],
  ) {
    if (
      typeof value !== "object" ||
      value === null ||
      Array.isArray(value) ||
      value instanceof Uint8Array
    ) {
      throw new MeshError("FORMAT_INVALID", `${what} is not a map`, { field: what });
    }
    const map = value as Readonly<Record<string, CborValue>>;
    const isThere = (name: string): boolean => Object.hasOwn(map, name);
    const count = names.length + optional.filter(isThere).length;
    if (Object.keys(map).length !== count || !names.every(isThere)) {
      throw new MeshError("FORMAT_INVALID", `${what} must have exactly: ${names.join(", ")}`, {
        field: what,
      });
    }
    this.#map = map;
    this.#what = what;
  }

  /** Whether an optional member is there. */
  has(name: string): boolean {
    return Object.hasOwn(this.#map, name);
  }

  #refuse(name: string, expected: string): never {
    throw new MeshError("FORMAT_INVALID", `${this.#what}.${name} is not ${expected}`, {
      field: `${this.#what}.${name}`,
    });
  }

  /** A byte string of exactly `length` bytes. */
  bytes(name: string, length: number): Uint8Array {
    const value = this.#map[name];
    if (!(value instanceof Uint8Array) || value.length !== length) {
      return this.#refuse(name, `${String(length)} bytes`);
    }
    return value;
  }

  /** A byte string of any length. */
  byteString(name: string): Uint8Array {
    const value = this.#map[name];
    if (!(value instanceof Uint8Array)) return this.#refuse(name, "bytes");
    return value;
  }

  /** A byte string of exactly `length` bytes, or null. */
  bytesOrNull(name: string, length: number): Uint8Array | null {
    return this.#map[name] === null ? null : this.bytes(name, length);
  }

  /** An unsigned safe integer. */
  uint(name: string): number {
    const value = this.#map[name];
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
      return this.#refuse(name, "an unsigned integer");
    }
    return value;
  }

  /** A text string. */
  text(name: string): string {
    const value = this.#map[name];
    if (typeof value !== "string") return this.#refuse(name, "text");
    return value;
  }

  /** An array of at most `max` items. */
  array(name: string, max: number): readonly CborValue[] {
    const value = this.#map[name];
    if (!Array.isArray(value) || value.length > max) {
      return this.#refuse(name, `an array of at most ${String(max)} items`);
    }
    return value as readonly CborValue[];
  }
}
