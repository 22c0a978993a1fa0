// SPDX-License-Identifier: Apache-2.0
/** Reading of large canonical JSON of a known grammar from its bytes, without a tree or a second copy of all of it. */
import { utf8Decode } from "@ctxmesh/codec";
import { malformed } from "./read.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const SPACE = 0x20;

/** A place in the bytes. Every refusal is `FORMAT_INVALID` and names the offset. */
export class CanonicalReader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  #at = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  #fail(expected: string): never {
    return malformed(`${this.#what} has not ${expected} at byte ${String(this.#at)}`);
  }

  /** Whether this ASCII text comes next. */
  isNext(text: string): boolean {
    for (let i = 0; i < text.length; i++) {
      if (this.#bytes[this.#at + i] !== text.charCodeAt(i)) return false;
    }
    return true;
  }

  /** Passes over this ASCII text. */
  expect(text: string): void {
    if (!this.isNext(text)) this.#fail(text);
    this.#at += text.length;
  }

  /** A string, which must be spelt as RFC 8785 has it. */
  string(): string {
    const start = this.#at;
    const bytes = this.#bytes;
    if (bytes[start] !== QUOTE) this.#fail("a string");
    let at = start + 1;
    let isPlain = true;
    for (; at < bytes.length && bytes[at] !== QUOTE; at++) {
      const byte = bytes[at] ?? 0;
      if (byte === BACKSLASH) at++;
      if (byte === BACKSLASH || byte < SPACE) isPlain = false;
    }
    if (at >= bytes.length) this.#fail("a string that ends");
    const text = utf8Decode(bytes.subarray(start, at + 1));
    const value = isPlain ? text.slice(1, -1) : this.#unescape(text);
    this.#at = at + 1;
    return value;
  }

  #unescape(text: string): string {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return this.#fail("a string of JSON");
    }
    // RFC 8785 spells strings as ECMAScript does; lone surrogates, which it escapes, are no text.
    const isCanonical =
      typeof value === "string" && value.isWellFormed() && JSON.stringify(value) === text;
    return isCanonical ? (value as string) : this.#fail("a string in canonical form");
  }

  /** The items of an array, each read by `item`. At most `limit`. */
  array<Item>(limit: number, item: (index: number) => Item): Item[] {
    this.expect("[");
    const items: Item[] = [];
    if (this.isNext("]")) {
      this.expect("]");
      return items;
    }
    do {
      if (items.length > 0) this.expect(",");
      if (items.length >= limit) this.#fail(`at most ${String(limit)} items in the array`);
      items.push(item(items.length));
    } while (this.#bytes[this.#at] === COMMA);
    this.expect("]");
    return items;
  }

  /** Refuses what follows. */
  end(): void {
    if (this.#at !== this.#bytes.length) this.#fail("its end");
  }
}
