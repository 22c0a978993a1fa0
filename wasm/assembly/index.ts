// SPDX-License-Identifier: Apache-2.0
/** The exports; `wasm/README.md` describes them. One instance is one document. */
import { chainCount, gapCount } from "./chains";
import {
  ARGUMENT,
  FACTS_PER_FRAME,
  LIMIT,
  SLOTS_PER_DOCUMENT,
  applyElement,
  applyFrames,
} from "./check";
import { putDigests } from "./digest";
import {
  Entry,
  compareText,
  entryAt,
  findKey,
  keyBytes,
  keyCount,
  lowerBound,
  setSeed,
  sortKeys,
} from "./keys";
import {
  beginOutput,
  inputAt,
  inputOf,
  inputRoom,
  limitBytes,
  outputFailed,
  outputLength,
  outputPointer,
  putByte,
  putBytes,
  putVarint,
  setLimit,
  usedBytes,
} from "./memory";
import { MAX_SAFE, failed, skip, text, varint } from "./reader";
import { CHAIN_BYTES, DELETED, SOURCE, TAGS, TTL, RETRACT } from "./record";
import { Slot, allUnits, expiresBetween, expiringSlots, openAttributes, slots } from "./slots";
import { beginFrames, endFrames, putDiff, putHead, putSlot, putSummary } from "./write";

const ANY: u32 = 0;
const BY_SOURCE: u32 = 1;
const MOST_TERM: u32 = 128;

/** Before anything else, once: the limit of memory in bytes, and the secret of the hash table. */
export function init(limit: f64, seed0: u64, seed1: u64): void {
  setLimit(<u64>limit);
  setSeed(seed0, seed1);
}

/** Where to write the next input of so many bytes; 0 past the limit. */
export function alloc(length: u32): usize {
  return inputOf(length);
}

/** Where the answer is. */
export function out(): usize {
  return outputPointer();
}
/** Its length in bytes. */
export function outLength(): usize {
  return outputLength();
}

/** Merges a frame of the wire: input is the id of its chain and the frame. */
export function apply(length: u32): i32 {
  return <usize>length > inputRoom() ? ARGUMENT : applyElement(inputAt(), length, true);
}

/** Merges a difference or a state. */
export function merge(length: u32): i32 {
  return <usize>length > inputRoom() ? ARGUMENT : applyFrames(inputAt(), length);
}

/** Writes a fact: input is the id of the chain, the key, and the value unless its length is negative; the answer is the frame with its chain. */
export function set(keyLength: u32, valueLength: i32, seq: f64, hlc: f64): i32 {
  const value: u64 = max(valueLength, 0);
  const length = <u64>CHAIN_BYTES + keyLength + value;
  const isNumber = seq >= 1 && seq <= <f64>MAX_SAFE && hlc >= 1 && hlc <= <f64>MAX_SAFE;
  if (length > inputRoom() || !isNumber) return ARGUMENT;
  const key = inputAt() + CHAIN_BYTES;
  beginOutput(0);
  putHead(inputAt(), <u64>seq - 1, <u64>seq, 1);
  putByte(valueLength < 0 ? DELETED : 0);
  putVarint(1);
  putVarint(<u64>hlc);
  putVarint(keyLength);
  putBytes(key, keyLength);
  if (valueLength >= 0) {
    putVarint(value);
    putBytes(key + keyLength, <usize>value);
  }
  return outputFailed() ? LIMIT : applyElement(outputPointer(), outputLength(), false);
}

/** The slots of a key, which is the input, each as a frame with its chain; how many. */
export function get(keyLength: u32): i32 {
  if (<usize>keyLength > inputRoom()) return ARGUMENT;
  const found = findKey(inputAt(), keyLength, false);
  beginFrames();
  let count = 0;
  for (let at: usize = found === null ? 0 : found.first; at !== 0; at = changetype<Slot>(at).next) {
    putSlot(changetype<Slot>(at));
    count++;
  }
  const length = endFrames();
  return length < 0 ? length : count;
}

/** Whether a slot is a statement with a term: a source model, or a tag. */
function hasTerm(slot: Slot, kind: u32, term: usize, length: u32): bool {
  if (slot.flags === RETRACT) return false;
  if ((slot.flags & (kind === BY_SOURCE ? SOURCE : TAGS)) === 0) return false;
  openAttributes(slot);
  if (kind === BY_SOURCE) {
    const own = text(MOST_TERM);
    return own === length && memory.compare(skip(0) - own, term, length) === 0;
  }
  if ((slot.flags & SOURCE) !== 0) for (let i = 0; i < 3; i++) text(MOST_TERM);
  if ((slot.flags & TTL) !== 0) varint();
  for (let left = varint(); left > 0 && !failed(); left--) {
    const own = text(MOST_TERM);
    if (own === length && memory.compare(skip(0) - own, term, length) === 0) return true;
  }
  return false;
}

function entryHasTerm(entry: Entry, kind: u32, term: usize, length: u32): bool {
  if (kind === ANY) return true;
  for (let at = entry.first; at !== 0; at = changetype<Slot>(at).next) {
    if (hasTerm(changetype<Slot>(at), kind, term, length)) return true;
  }
  return false;
}

/**
 * Keys in code-unit order, each ended by a line feed; how many. Input: the prefix, the key after which to begin unless its length is
 * negative, and the term. `kind`: 0 any key, 1 those with a statement of the source model `term`, 2 with the tag `term`. Of
 * the keys that came first, `upTo` are looked at: a scan in parts stays one of the moment when it began.
 */
export function scan(
  prefixLength: u32,
  afterLength: i32,
  kind: u32,
  termLength: u32,
  upTo: u32,
  most: u32,
): i32 {
  const afterBytes: u32 = max(afterLength, 0);
  const length = <u64>prefixLength + afterBytes + termLength;
  if (length > inputRoom() || kind > 2) return ARGUMENT;
  if (!sortKeys()) return LIMIT;
  const prefix = inputAt();
  const after = prefix + prefixLength;
  const term = after + afterBytes;
  beginOutput(0);
  const isAfter = afterLength >= 0 && compareText(after, afterBytes, prefix, prefixLength) > 0;
  let index = isAfter ? lowerBound(after, afterBytes) : lowerBound(prefix, prefixLength);
  let count: u32 = 0;
  for (; index < keyCount() && count < most; index++) {
    const entry = entryAt(index);
    const key = keyBytes(entry);
    if (entry.length < prefixLength || memory.compare(key, prefix, prefixLength) !== 0) break;
    if (entry.ordinal >= upTo) continue;
    if (afterLength >= 0 && compareText(key, entry.length, after, afterBytes) <= 0) continue;
    if (!entryHasTerm(entry, kind, term, termLength)) continue;
    putBytes(key, entry.length);
    putByte(0x0a);
    count++;
  }
  return outputFailed() ? LIMIT : count;
}

/** How far each chain is known. */
export function summary(): i32 {
  return putSummary();
}

/** What a store with a summary, which is the input, lacks. */
export function diff(length: u32): i32 {
  return <usize>length > inputRoom() ? ARGUMENT : putDiff(inputAt(), length);
}

/** SHA-256 of every slot's leaf, 32 bytes each. */
export function leaves(): i32 {
  return putDigests(false);
}
/** The root of the tree over them. */
export function digest(): i32 {
  return putDigests(true);
}

/** Whether the ttl of a statement runs out after one time and up to another, Unix milliseconds. */
export function expires(after: f64, upTo: f64): i32 {
  return expiresBetween(after, upTo) ? 1 : 0;
}

/** Figures of the document: 0 keys, 1 slots, 2 size in code units, 3 gaps, 4 slots with a ttl, 5 chains, 6 bytes used. */
export function stat(which: u32): f64 {
  switch (which) {
    case 0:
      return keyCount();
    case 1:
      return slots();
    case 2:
      return <f64>allUnits();
    case 3:
      return gapCount();
    case 4:
      return expiringSlots();
    case 5:
      return chainCount();
    case 6:
      return <f64>usedBytes();
    default:
      return -1;
  }
}

/** Limits: 0 bytes of memory, 1 records of a frame, 2 records of one in a state. */
export function limit(which: u32): f64 {
  switch (which) {
    case 0:
      return <f64>limitBytes();
    case 1:
      return <f64>FACTS_PER_FRAME;
    case 2:
      return <f64>SLOTS_PER_DOCUMENT;
    default:
      return -1;
  }
}
