// SPDX-License-Identifier: Apache-2.0
/**
 * Tells by its bytes that a text is canonical JSON (RFC 8785), without making the value: most of what is received is, and most of
 * it is never read here.
 */
import { LIMITS } from "@ctxmesh/model";

const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
/** What begins here and above may come elsewhere in the order of UTF-16 than in that of UTF-8: U+E000 is the first such character. */
const LEAD_OF_E000 = 0xee;
/** A decimal of so many digits comes back the same from binary64. */
const EXACT_DIGITS = 15;
/** Zeros behind `0.`: with one more, ECMAScript writes an exponent. */
const PLAIN_ZEROS = 5;
/** No number's text is longer. */
const MAX_NUMBER_BYTES = 25;
/** Where a scan that can't say yes ends. */
const UNSURE = -1;

const ascii = (text: string): Uint8Array =>
  Uint8Array.from(text, (character) => character.charCodeAt(0));
const TRUE = ascii("true");
const FALSE = ascii("false");
const NULL = ascii("null");
/** See `assertJsonValue`. */
const FORBIDDEN = ["__proto__", "constructor", "prototype"].map(ascii);

const isDigit = (byte: number | undefined): boolean =>
  byte !== undefined && byte >= ZERO && byte <= NINE;

/** Behind a word, if it is there. */
function wordEnd(bytes: Uint8Array, at: number, end: number, word: Uint8Array): number {
  if (end - at < word.length) return UNSURE;
  for (let i = 0; i < word.length; i++) if (bytes[at + i] !== word[i]) return UNSURE;
  return at + word.length;
}

/** Behind a string without escapes, from behind its first quote. */
function stringEnd(bytes: Uint8Array, from: number, end: number): number {
  for (let at = from; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === QUOTE) return at + 1;
    if (byte < 0x20 || byte === BACKSLASH) return UNSURE;
  }
  return UNSURE;
}

/** Whether the text of a number is the one that ECMAScript gives it, as RFC 8785 wants. */
function isOwnText(bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from > MAX_NUMBER_BYTES) return false;
  let text = "";
  for (let at = from; at < to; at++) text += String.fromCharCode(bytes[at] ?? 0);
  const number = Number(text);
  return Number.isFinite(number) && String(number) === text;
}

function digitsEnd(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end && isDigit(bytes[at])) at++;
  return at;
}

const isNumberByte = (byte: number): boolean =>
  isDigit(byte) ||
  byte === MINUS ||
  byte === DOT ||
  byte === 0x2b ||
  byte === 0x45 ||
  byte === 0x65;

/** Behind a number; a plain one of few digits is told by its form, any other by what ECMAScript makes of it. */
function numberEnd(bytes: Uint8Array, from: number, end: number): number {
  const first = bytes[from] === MINUS ? from + 1 : from;
  const whole = digitsEnd(bytes, first, end);
  const isFraction = bytes[whole] === DOT && whole < end;
  const to = isFraction ? digitsEnd(bytes, whole + 1, end) : whole;
  const next = to < end ? (bytes[to] ?? 0) : 0;
  const digits = to - first - (isFraction ? 1 : 0);
  if (digits > EXACT_DIGITS || isNumberByte(next)) {
    let last = to;
    while (last < end && isNumberByte(bytes[last] ?? 0)) last++;
    return isOwnText(bytes, from, last) ? last : UNSURE;
  }
  if (whole === first) return UNSURE;
  const isZero = bytes[first] === ZERO;
  if (isZero && whole !== first + 1) return UNSURE;
  // Neither is -0 a number of its own.
  if (!isFraction) return isZero && first !== from ? UNSURE : to;
  if (to === whole + 1 || bytes[to - 1] === ZERO) return UNSURE;
  if (!isZero) return to;
  let zeros = 0;
  while (bytes[whole + 1 + zeros] === ZERO) zeros++;
  return zeros <= PLAIN_ZEROS ? to : UNSURE;
}

/** Behind a list, from behind its bracket. */
function listEnd(bytes: Uint8Array, from: number, end: number, depth: number): number {
  if (from < end && bytes[from] === CLOSE_LIST) return from + 1;
  for (let at = from; ;) {
    at = valueEnd(bytes, at, end, depth);
    if (at === UNSURE || at >= end) return UNSURE;
    if (bytes[at] === CLOSE_LIST) return at + 1;
    if (bytes[at] !== COMMA) return UNSURE;
    at++;
  }
}

/** Whether one name comes before another in the order of UTF-16 code units; false also where its bytes do not tell. */
function isBefore(
  bytes: Uint8Array,
  one: number,
  oneEnd: number,
  other: number,
  otherEnd: number,
): boolean {
  const length = Math.min(oneEnd - one, otherEnd - other);
  for (let i = 0; i < length; i++) {
    const [a = 0, b = 0] = [bytes[one + i], bytes[other + i]];
    if (a === b) continue;
    return a < b && b < LEAD_OF_E000;
  }
  return oneEnd - one < otherEnd - other;
}

const isForbidden = (bytes: Uint8Array, from: number, to: number): boolean =>
  FORBIDDEN.some((word) => to - from === word.length && wordEnd(bytes, from, to, word) === to);

/** Behind an object, from behind its brace. */
function objectEnd(bytes: Uint8Array, from: number, end: number, depth: number): number {
  if (from < end && bytes[from] === CLOSE_OBJECT) return from + 1;
  let [before, beforeEnd] = [UNSURE, UNSURE];
  for (let at = from; ;) {
    if (at >= end || bytes[at] !== QUOTE) return UNSURE;
    const name = at + 1;
    const behind = stringEnd(bytes, name, end);
    if (behind === UNSURE || bytes[behind] !== COLON) return UNSURE;
    const nameEnd = behind - 1;
    if (before !== UNSURE && !isBefore(bytes, before, beforeEnd, name, nameEnd)) return UNSURE;
    if (isForbidden(bytes, name, nameEnd)) return UNSURE;
    [before, beforeEnd] = [name, nameEnd];
    at = valueEnd(bytes, behind + 1, end, depth);
    if (at === UNSURE || at >= end) return UNSURE;
    if (bytes[at] === CLOSE_OBJECT) return at + 1;
    if (bytes[at] !== COMMA) return UNSURE;
    at++;
  }
}

/** Behind the value that begins at a byte. `depth`: how many lists and objects it is in. */
function valueEnd(bytes: Uint8Array, at: number, end: number, depth: number): number {
  if (at >= end) return UNSURE;
  switch (bytes[at] ?? 0) {
    case QUOTE:
      return stringEnd(bytes, at + 1, end);
    case OPEN_OBJECT:
      return depth >= LIMITS.depth ? UNSURE : objectEnd(bytes, at + 1, end, depth + 1);
    case OPEN_LIST:
      return depth >= LIMITS.depth ? UNSURE : listEnd(bytes, at + 1, end, depth + 1);
    case 0x74:
      return wordEnd(bytes, at, end, TRUE);
    case 0x66:
      return wordEnd(bytes, at, end, FALSE);
    case 0x6e:
      return wordEnd(bytes, at, end, NULL);
    default:
      return numberEnd(bytes, at, end);
  }
}

/**
 * Whether `bytes` from `from` to `to`, which are known to be UTF-8, are surely what `parseCanonicalJson` takes. False says nothing: of texts
 * with escapes, names beyond U+DFFF out of the order of bytes, and some rare ones, that function has to be asked.
 */
export const isSurelyCanonical = (bytes: Uint8Array, from: number, to: number): boolean =>
  valueEnd(bytes, from, to, 0) === to;
