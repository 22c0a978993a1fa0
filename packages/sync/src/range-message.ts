// SPDX-License-Identifier: Apache-2.0
/**
 * The message in which two ends find out where their heads differ (Meyer, "Range-Based Set Reconciliation", 2022). How it is
 * answered is in `ranges.ts`.
 *
 * ```
 * ranges = [14, round, [ bound, value, bound, value ... ]]    round: 1 for the first message of a comparison, then one more for each answer; 16 at most
 * bound  = bstr: mode (1) || prefix (0 to 48): the range ends before the first key that is not below the prefix; without a
 *          prefix it goes to the end. A range begins where the one before it ends, the first at the lowest key.
 * key    = inc(16) || replica(32)
 *
 * mode 0   skip         null              nothing is said of it
 *      1   fingerprint  bstr(16)          over the sender's heads in it; please say how yours differ
 *      2   equal        bstr(16)          what the sender has in it, which is what it was told; no answer
 *      3   list         [ head ... ]      all heads that the sender has in it, by key; please say yours if they differ
 *      4   listed       [ head ... ]      all heads that the sender has in it, by key; no answer
 * ```
 *
 * A fingerprint is the first 16 bytes of the SHA-256 over the heads of the range, by key: `inc(16) replica(32) seq(8, big-endian) hash(16)`
 * of each, one after another.
 *
 * The incarnation comes first in the key since it is random: so prefixes of two or three bytes tell thousands of chains apart,
 * where the incarnations of one device would share its 32.
 */
import type { CborValue } from "@ctxmesh/codec";
import { fromHex, toHex } from "@ctxmesh/model";
import { MAX_HEADS, arrayOf, bytesOf, headItem, headsOf, refuse, uintOf } from "./message-parts.ts";
import type { Chain, ChainHead } from "./message-parts.ts";

/** Bytes of a fingerprint. */
export const FINGERPRINT_BYTES = 16;
/** Messages of one comparison after which it is no honest one: two ends that split by sixteenths in turn need 10 for 65,536 chains. */
export const MAX_ROUNDS = 16;
/** Ranges in one message. */
export const MAX_RANGES = 16_384;
const PREFIX_BYTES = 48;
const MODES = ["skip", "fingerprint", "equal", "list", "listed"] as const;

/** A chain's place in the order of ranges, hex. */
export const rangeKey = ({ replica, incarnation }: Chain): string => incarnation + replica;

/** One range: it begins where the one before it ends, and ends before `upper`, a prefix of keys in hex; empty: the end. */
export type Range =
  | { readonly upper: string; readonly mode: "skip" }
  | {
      readonly upper: string;
      readonly mode: "fingerprint" | "equal";
      /** Hex. */
      readonly fingerprint: string;
    }
  | {
      readonly upper: string;
      readonly mode: "list" | "listed";
      readonly heads: readonly ChainHead[];
    };

/** A message of a comparison. */
export interface RangesMessage {
  readonly type: "ranges";
  readonly round: number;
  readonly ranges: readonly Range[];
}

/** Whether a key lies before a bound. */
export const isBefore = (key: string, upper: string): boolean => upper === "" || key < upper;

function boundItem({ upper, mode }: Range): Uint8Array {
  const bound = new Uint8Array(1 + upper.length / 2);
  bound[0] = MODES.indexOf(mode);
  bound.set(fromHex(upper), 1);
  return bound;
}

function valueItem(range: Range): CborValue {
  switch (range.mode) {
    case "skip":
      return null;
    case "fingerprint":
    case "equal":
      return fromHex(range.fingerprint);
    case "list":
    case "listed":
      return range.heads.map(headItem);
  }
}

/** The parts of a message behind its type. */
export const rangesItems = ({ round, ranges }: RangesMessage): readonly CborValue[] => [
  round,
  ranges.flatMap((range) => [boundItem(range), valueItem(range)]),
];

/** Heads in the order of their keys, each once and all within the range. */
function orderedHeads(
  value: CborValue | undefined,
  lower: string,
  upper: string,
): readonly ChainHead[] {
  const heads = headsOf(value, 1);
  let last = "";
  for (const head of heads) {
    const key = rangeKey(head);
    if (key <= last || key < lower || !isBefore(key, upper)) refuse("lists a head out of place");
    last = key;
  }
  return heads;
}

function rangeOf(bound: Uint8Array, value: CborValue | undefined, lower: string): Range {
  const mode = MODES[bound[0] ?? MODES.length];
  const upper = toHex(bound.subarray(1));
  switch (mode) {
    case "skip":
      return value === null ? { upper, mode } : refuse("has a value for what is skipped");
    case "fingerprint":
    case "equal":
      return { upper, mode, fingerprint: toHex(bytesOf(value, FINGERPRINT_BYTES)) };
    case "list":
    case "listed":
      return { upper, mode, heads: orderedHeads(value, lower, upper) };
    case undefined:
    default:
      return refuse("has a range of an unknown mode");
  }
}

/** Reads the parts of an untrusted message behind its type. Throws `PROTOCOL_VIOLATION`. */
export function rangesOf(
  round: CborValue | undefined,
  items: CborValue | undefined,
): RangesMessage {
  if (uintOf(round, 1) > MAX_ROUNDS) refuse("is of a comparison that does not end");
  const parts = arrayOf(items, 2 * MAX_RANGES);
  if (parts.length % 2 !== 0 || parts.length === 0) refuse("has not a value for each range");
  const ranges: Range[] = [];
  let lower: string | undefined;
  let heads = 0;
  for (let i = 0; i < parts.length; i += 2) {
    const bound = bytesOf(parts[i]);
    if (bound.length > 1 + PREFIX_BYTES) refuse("has a bound that is too long");
    const range = rangeOf(bound, parts[i + 1], lower ?? "");
    const rises = lower === undefined || (lower !== "" && isBefore(lower, range.upper));
    if (!rises) refuse("has ranges out of order");
    lower = range.upper;
    if ("heads" in range) heads += range.heads.length;
    ranges.push(range);
  }
  if (heads > MAX_HEADS) refuse(`lists more than ${String(MAX_HEADS)} heads`);
  return { type: "ranges", round: Number(round), ranges };
}
