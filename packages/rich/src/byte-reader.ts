// SPDX-License-Identifier: Apache-2.0
/** Strict reader of the lib0 encoding that V1 updates use: every value has one form, and nothing is read past the end. */
import { assertAtMost, malformed } from "./errors.ts";
import { CONTENT_DEPTH, isSafeKey } from "./names.ts";

const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Tags of lib0's `writeAny`, as far as they stand for JSON, and the one for no value at all. */
const ANY = {
  undefined: 127,
  null: 126,
  integer: 125,
  float32: 124,
  float64: 123,
  false: 121,
  true: 120,
  string: 119,
  object: 118,
  array: 117,
} as const;

/** Up to this length reading ASCII character by character is quicker than a call to the decoder. */
const SHORT_TEXT = 24;

/** The text of bytes that are all ASCII; undefined when one is not. */
function asciiOf(bytes: Uint8Array): string | undefined {
  let text = "";
  for (const byte of bytes) {
    if (byte >= 0x80) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}

/** Nesting of a JSON value: 0 for a scalar. */
function jsonDepth(value: unknown, at: number): number {
  assertAtMost(at, CONTENT_DEPTH, "levels of nesting");
  if (typeof value === "string" && !value.isWellFormed()) malformed("a lone surrogate", "value");
  if (typeof value !== "object" || value === null) return 0;
  let deepest = 0;
  for (const [key, member] of Object.entries(value)) {
    if (!Array.isArray(value)) assertKey(key);
    deepest = Math.max(deepest, jsonDepth(member, at + 1));
  }
  return deepest + 1;
}

/** Refuses member names that poison prototypes and strings that UTF-8 can't carry. */
function assertKey(key: string): void {
  if (!isSafeKey(key) || !key.isWellFormed()) malformed(`the key ${JSON.stringify(key)}`, "key");
}

/** Reads from the start of `bytes`; every method throws `FORMAT_INVALID` at what it does not know. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Whether everything was read. */
  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  #take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) malformed("it ends too early", "bytes");
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** One byte. */
  u8(): number {
    // Not by #take: a view for each byte was half the time of decoding.
    return this.#bytes[this.#at++] ?? malformed("it ends too early", "bytes");
  }

  /** An unsigned safe integer, 7 bits a byte, low bits first, as short as it can be. */
  uint(): number {
    const first = this.#bytes[this.#at] ?? 0x80;
    if (first >= 0x80) return this.#groups(0, 1);
    this.#at++;
    return first;
  }

  #groups(start: number, firstScale: number): number {
    let value = start;
    for (let scale = firstScale; ; scale *= 0x80) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (value > Number.MAX_SAFE_INTEGER) malformed("an integer over 2^53 - 1", "integer");
      if (byte < 0x80) {
        if (byte === 0 && scale > 1) malformed("an integer longer than it need be", "integer");
        return value;
      }
    }
  }

  /** A signed integer: 6 bits and the sign in the first byte, then groups of 7. */
  #int(): void {
    const first = this.u8();
    if (first >= 0x80) this.#groups(first & 0x3f, 0x40);
  }

  /** UTF-8 with its length in front. */
  text(): string {
    const bytes = this.#take(this.uint());
    if (bytes.length <= SHORT_TEXT) {
      const ascii = asciiOf(bytes);
      if (ascii !== undefined) return ascii;
    }
    try {
      return STRICT_UTF8.decode(bytes);
    } catch {
      return malformed("text that is not UTF-8", "text");
    }
  }

  /** A member name or map key. */
  key(): string {
    const key = this.text();
    assertKey(key);
    return key;
  }

  /** JSON text in the form that `JSON.stringify` gives it; the value and its nesting. */
  json(): { value: unknown; depth: number } {
    const text = this.text();
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      malformed("text that is not JSON", "json");
    }
    const depth = jsonDepth(value, 0);
    if (JSON.stringify(value) !== text) malformed("JSON in a form of its own", "json");
    return { value, depth };
  }

  /** Skips `undefined` in lib0's `any` encoding, if that comes next; says whether it did. */
  skipUndefined(): boolean {
    if (this.#bytes[this.#at] !== ANY.undefined) return false;
    this.#at++;
    return true;
  }

  /** Skips a value of lib0's `any` encoding that JSON has too; returns its nesting. */
  skipAny(at = 0): number {
    assertAtMost(at, CONTENT_DEPTH, "levels of nesting");
    const tag = this.u8();
    switch (tag) {
      case ANY.null:
      case ANY.true:
      case ANY.false:
        return 0;
      case ANY.integer:
        this.#int();
        return 0;
      case ANY.float32:
      case ANY.float64:
        this.#float(tag === ANY.float32 ? 4 : 8);
        return 0;
      case ANY.string:
        this.text();
        return 0;
      case ANY.object:
      case ANY.array:
        return this.#skipContainer(tag === ANY.object, at);
      default:
        return malformed(`a value of type ${String(tag)}, which JSON does not have`, "value");
    }
  }

  #float(size: 4 | 8): void {
    const bytes = this.#take(size);
    const view = new DataView(bytes.buffer, bytes.byteOffset, size);
    const value = size === 4 ? view.getFloat32(0) : view.getFloat64(0);
    if (!Number.isFinite(value)) malformed("a number that JSON does not have", "value");
  }

  #skipContainer(isObject: boolean, at: number): number {
    const keys = new Set<string>();
    let deepest = 0;
    const count = this.uint();
    for (let i = 0; i < count; i++) {
      if (isObject) keys.add(this.key());
      deepest = Math.max(deepest, this.skipAny(at + 1));
    }
    if (isObject && keys.size !== count) malformed("an object with a key twice", "key");
    return deepest + 1;
  }
}
