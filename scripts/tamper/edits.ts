// SPDX-License-Identifier: Apache-2.0
/** Changes of a file: single bits, digits, swaps, reorderings, cuts, repetitions, and parts of another valid file. */

/** Whole numbers below a bound. */
export type Pick = (below: number) => number;

/** A change; undefined where it would change nothing. */
export type Edit = (bytes: Uint8Array, other: Uint8Array, pick: Pick) => Uint8Array | undefined;

const DIGITS = new TextEncoder().encode("ABCDEFabcdefwxyz0189+/=");

const join = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

function range(bytes: Uint8Array, pick: Pick): readonly [from: number, to: number] {
  const from = pick(bytes.length);
  return [from, Math.min(bytes.length, from + 1 + pick(200))];
}

/** Items of a JSON array of objects, or lines, that change places. */
function reorder(bytes: Uint8Array, pick: Pick, between: string): Uint8Array | undefined {
  const text = new TextDecoder("latin1").decode(bytes);
  const items = text.split(between);
  if (items.length < 3) return undefined;
  const [a, b] = [1 + pick(items.length - 2), 1 + pick(items.length - 2)];
  [items[a], items[b]] = [items[b] ?? "", items[a] ?? ""];
  return new Uint8Array(Buffer.from(items.join(between), "latin1"));
}

/** The edits by name. */
export const EDITS: Readonly<Record<string, Edit>> = {
  "a bit": (bytes, _, pick) => {
    const copy = bytes.slice();
    const at = pick(copy.length);
    copy[at] = (copy[at] ?? 0) ^ (1 << pick(8));
    return copy;
  },
  "a digit": (bytes, _, pick) => {
    const copy = bytes.slice();
    copy[pick(copy.length)] = DIGITS[pick(DIGITS.length)] ?? 0;
    return copy;
  },
  "two bytes swapped": (bytes, _, pick) => {
    const copy = bytes.slice();
    const [a, b] = [pick(copy.length), pick(copy.length)];
    [copy[a], copy[b]] = [copy[b] ?? 0, copy[a] ?? 0];
    return copy;
  },
  "two parts swapped": (bytes, _, pick) => {
    const [from, to] = range(bytes, pick);
    const end = Math.min(bytes.length, to + (to - from));
    return join(
      bytes.subarray(0, from),
      bytes.subarray(to, end),
      bytes.subarray(from, to),
      bytes.subarray(end),
    );
  },
  "items reordered": (bytes, _, pick) => reorder(bytes, pick, "},{"),
  "lines reordered": (bytes, _, pick) => reorder(bytes, pick, "\\n"),
  cut: (bytes, _, pick) => bytes.slice(0, pick(bytes.length)),
  "a part taken out": (bytes, _, pick) => {
    const [from, to] = range(bytes, pick);
    return join(bytes.subarray(0, from), bytes.subarray(to));
  },
  "a part repeated": (bytes, _, pick) => {
    const [from, to] = range(bytes, pick);
    return join(bytes.subarray(0, to), bytes.subarray(from));
  },
  "a part of another file": (bytes, other, pick) => {
    const [from, to] = range(bytes, pick);
    return join(bytes.subarray(0, from), other.subarray(from, to), bytes.subarray(to));
  },
  "something behind it": (bytes, other, pick) => join(bytes, other.subarray(0, 1 + pick(50))),
};
