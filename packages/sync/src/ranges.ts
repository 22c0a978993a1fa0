// SPDX-License-Identifier: Apache-2.0
/**
 * Finding out where the heads of two ends differ, at a cost that grows with the difference and only with the logarithm of the
 * number of chains. Each end cuts what differs into ranges of equally many chains of its own and tells a fingerprint of
 * each; what is equal is done with, the rest is cut again, until a range has so few chains that they are listed. The answer to a
 * message follows from the message and from our heads alone, so nothing has to be remembered in between, and heads may move.
 */
import { sha256 } from "@ctxmesh/crypto";
import { LIMITS, fromHex, toHex } from "@ctxmesh/model";
import { isSameHead } from "./chain-map.ts";
import type { ChainHead } from "./message-parts.ts";
import { FINGERPRINT_BYTES, rangeKey } from "./range-message.ts";
import type { Range } from "./range-message.ts";

/** Ranges that one that differs is cut into. */
export const BRANCHES = 16;
/** A range with no more chains of ours is listed: of 16,000 chains that differ in 1,000, twice as many would cost two thirds more bytes. */
export const LISTED_CHAINS = 2;
/** The same where nothing is known of the remote yet: a mesh of some devices then needs one message and its answer. */
export const LISTED_AT_ONCE = 16;

/** Heads in one range that lists them; more are told in several. */
const LISTED_PER_RANGE = 2_048;
/** Hex digits of a position, and bytes of a head, as they are fingerprinted. */
const SEQ_DIGITS = 16;
const LINE_BYTES = 72;

/** A head as it is fingerprinted. */
const lineOf = (head: ChainHead): Uint8Array =>
  fromHex(rangeKey(head) + head.seq.toString(16).padStart(SEQ_DIGITS, "0") + head.hash);

/** Chains of ours by their place in an index, the last one excluded. */
interface Slice {
  readonly from: number;
  readonly to: number;
}

/** Heads in the order of their keys. */
export class RangeIndex {
  readonly #keys: readonly string[];
  readonly #heads: ChainHead[];
  /** All heads as they are fingerprinted, one after another. */
  readonly #lines: Uint8Array;

  /** Of heads in any order, one for each chain. */
  constructor(heads: Iterable<ChainHead>) {
    const entries = [...heads]
      .map((head) => [rangeKey(head), head] as const)
      .toSorted(([a], [b]) => (a < b ? -1 : 1));
    this.#keys = entries.map(([key]) => key);
    this.#heads = entries.map(([, head]) => head);
    this.#lines = new Uint8Array(LINE_BYTES * entries.length);
    for (const [at, head] of this.#heads.entries()) this.#lines.set(lineOf(head), LINE_BYTES * at);
  }

  /** Number of chains. */
  get size(): number {
    return this.#keys.length;
  }

  /** A chain's head has moved; false when the chain is not here yet, and the index has to be made anew. */
  move(head: ChainHead): boolean {
    const key = rangeKey(head);
    const at = this.place(key);
    if (this.#keys[at] !== key) return false;
    this.#heads[at] = head;
    this.#lines.set(lineOf(head), LINE_BYTES * at);
    return true;
  }

  /** The place of the first key that is not before `bound`. */
  place(bound: string): number {
    let [low, high] = [0, this.#keys.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] ?? "") < bound) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The heads in a slice, by key. */
  heads({ from, to }: Slice): readonly ChainHead[] {
    return this.#heads.slice(from, to);
  }

  /** Of the heads in a slice, as `range-message.ts` has it. */
  fingerprint({ from, to }: Slice): string {
    const lines = this.#lines.subarray(LINE_BYTES * from, LINE_BYTES * to);
    return toHex(sha256(lines).subarray(0, FINGERPRINT_BYTES));
  }

  /** The shortest prefix, in whole bytes, that is after the chain before a place and not after the chain at it. */
  boundBefore(at: number): string {
    const [before = "", key = ""] = [this.#keys[at - 1], this.#keys[at]];
    let digits = 2;
    while (before.slice(0, digits) === key.slice(0, digits)) digits += 2;
    return key.slice(0, digits);
  }
}

/** Cuts a range that differs: lists it where it has `most` chains or fewer, else tells fingerprints of its parts. */
function cut(index: RangeIndex, slice: Slice, upper: string, most: number): readonly Range[] {
  const count = slice.to - slice.from;
  if (count <= most) return [{ upper, mode: "list", heads: index.heads(slice) }];
  const parts = Math.min(BRANCHES, count);
  const ends = Array.from(
    { length: parts },
    (_, i) => slice.from + Math.floor(((i + 1) * count) / parts),
  );
  return ends.map((to, i) => ({
    upper: i === parts - 1 ? upper : index.boundBefore(to),
    mode: "fingerprint",
    fingerprint: index.fingerprint({ from: ends[i - 1] ?? slice.from, to }),
  }));
}

/** The first message of a comparison: everything, cut. */
export const openingRanges = (index: RangeIndex): readonly Range[] =>
  cut(index, { from: 0, to: index.size }, "", LISTED_AT_ONCE);

/** A range of which all heads of one end are known to the other. */
export interface KnownRange {
  readonly lower: string;
  readonly upper: string;
  readonly heads: readonly ChainHead[];
  /** Whether both ends have these. */
  readonly agreed: boolean;
}

/** Whether an answer is expected to a range. */
export const isAsking = ({ mode }: Range): boolean => mode === "fingerprint" || mode === "list";

/** What a message of the remote says, and our answer. */
export interface Comparison {
  /** Ranges of which it says all that the remote has, in order: by a list, or by a fingerprint that is ours. */
  readonly known: readonly KnownRange[];
  /** What is to be answered, without gaps from the lowest key on; empty when there is nothing to say. */
  readonly answer: readonly Range[];
}

const isSameList = (ours: readonly ChainHead[], theirs: readonly ChainHead[]): boolean =>
  ours.length === theirs.length &&
  ours.every((head, i) => {
    const other = theirs[i] as ChainHead;
    return rangeKey(head) === rangeKey(other) && isSameHead(head, other);
  });

/** Part of an answer: a range, or our chains in a slice of which nothing is to be said, or that the remote has as well. */
type Part =
  | Range
  | { readonly mode: "nothing" | "same"; readonly slice: Slice; readonly upper: string };

/** Puts parts together: neighbours that are skipped or equal become one, and what is skipped at the end needs no word. */
function assemble(parts: readonly Part[], index: RangeIndex): readonly Range[] {
  const merged: Part[] = [];
  for (const part of parts) {
    const last = merged.at(-1);
    if ("slice" in part && last !== undefined && "slice" in last && last.mode === part.mode) {
      merged.pop();
      merged.push({ ...part, slice: { from: last.slice.from, to: part.slice.to } });
    } else merged.push(part);
  }
  if (merged.at(-1)?.mode === "nothing") merged.pop();
  return merged.map((part): Range => {
    if (!("slice" in part)) return part;
    const { upper, slice } = part;
    return part.mode === "nothing"
      ? { upper, mode: "skip" }
      : { upper, mode: "equal", fingerprint: index.fingerprint(slice) };
  });
}

/** All of our heads in a range, in pieces that fit into a message each. */
function listAll(index: RangeIndex, { from, to }: Slice, upper: string): readonly Range[] {
  const ranges: Range[] = [];
  for (let at = from; at === from || at < to; at += LISTED_PER_RANGE) {
    const end = Math.min(to, at + LISTED_PER_RANGE);
    const bound = end === to ? upper : index.boundBefore(end);
    ranges.push({ upper: bound, mode: "listed", heads: index.heads({ from: at, to: end }) });
  }
  return ranges;
}

/** Compares a message of the remote with our heads. */
export function compareRanges(ranges: readonly Range[], index: RangeIndex): Comparison {
  const known: KnownRange[] = [];
  const parts: Part[] = [];
  let lower = "";
  let from = 0;
  for (const range of ranges) {
    const { upper } = range;
    const to = upper === "" ? index.size : index.place(upper);
    const slice = { from, to };
    const listed = "heads" in range ? range.heads : undefined;
    const isSame =
      listed === undefined
        ? "fingerprint" in range && range.fingerprint === index.fingerprint(slice)
        : isSameList(index.heads(slice), listed);
    if (isSame) known.push({ lower, upper, heads: index.heads(slice), agreed: true });
    else if (listed !== undefined) known.push({ lower, upper, heads: listed, agreed: false });
    if (!isAsking(range)) parts.push({ mode: "nothing", slice, upper });
    else if (isSame) parts.push({ mode: "same", slice, upper });
    else if (listed === undefined) parts.push(...cut(index, slice, upper, LISTED_CHAINS));
    else parts.push(...listAll(index, slice, upper));
    lower = upper;
    from = to;
  }
  return { known, answer: assemble(parts, index) };
}

/** Bytes of a range in a message at most, without what it lists; and of each head. */
const RANGE_BYTES = 72;
const HEAD_BYTES = 78;

const sizeOf = (range: Range): number =>
  RANGE_BYTES + ("heads" in range ? range.heads.length * HEAD_BYTES : 0);

/** Puts ranges into messages of `LIMITS.syncChunkBytes` at most. */
export function pageRanges(ranges: readonly Range[]): readonly (readonly Range[])[] {
  const pages: Range[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const [i, range] of ranges.entries()) {
    bytes += sizeOf(range);
    if (bytes > LIMITS.syncChunkBytes) {
      const before = ranges[i - 1];
      pages.push(before === undefined ? [] : [{ upper: before.upper, mode: "skip" }]);
      bytes = 2 * RANGE_BYTES + sizeOf(range);
    }
    pages.at(-1)?.push(range);
  }
  return pages;
}
