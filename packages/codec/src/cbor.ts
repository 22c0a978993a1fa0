// SPDX-License-Identifier: Apache-2.0
/**
 * Deterministic CBOR (RFC 8949 section 4.2.1): shortest integers and lengths, definite lengths, map
 * keys in bytewise order. One value has one encoding, so hashes and signatures can be taken over it.
 */
import { MeshError } from "@ctxmesh/model";
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

/** The deterministic encoding of a value. */
export const encodeCbor = (value: CborValue): Uint8Array => encode(value, rfc8949EncodeOptions);

/**
 * Decodes untrusted bytes and refuses whatever would not encode to the same bytes again (long
 * integers, unsorted or duplicate keys, indefinite lengths, floats with an integer value, trailing
 * bytes). Strings and byte strings in the result are copies. Throws `FORMAT_INVALID`, and
 * `LIMIT_EXCEEDED` over `maxBytes`.
 */
export function decodeCbor(bytes: Uint8Array, maxBytes: number, what: string): CborValue {
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
    // Nesting can't be deeper than the stack allows: both calls throw RangeError first, and it is caught here.
    value = decode(bytes, {
      allowIndefinite: false,
      allowUndefined: false,
      allowNaN: false,
      allowInfinity: false,
      rejectDuplicateMapKeys: true,
      strict: true,
    }) as CborValue;
    again = encodeCbor(value);
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

/** Reads the members of a decoded map strictly: every member exactly once, nothing besides. */
export class MapReader {
  readonly #map: Readonly<Record<string, CborValue>>;
  readonly #what: string;

  /** Throws `FORMAT_INVALID` unless `value` is a map with exactly these member names. */
  constructor(value: CborValue, names: readonly string[], what: string) {
    if (
      typeof value !== "object" ||
      value === null ||
      Array.isArray(value) ||
      value instanceof Uint8Array
    ) {
      throw new MeshError("FORMAT_INVALID", `${what} is not a map`, { field: what });
    }
    const map = value as Readonly<Record<string, CborValue>>;
    const found = Object.keys(map);
    if (found.length !== names.length || !names.every((name) => Object.hasOwn(map, name))) {
      throw new MeshError("FORMAT_INVALID", `${what} must have exactly: ${names.join(", ")}`, {
        field: what,
      });
    }
    this.#map = map;
    this.#what = what;
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
