// SPDX-License-Identifier: Apache-2.0
/** The keys that have a slot: found by hash, and in code-unit order. Keys never go. */
import { blockBytes, give, regrow, take, tryTake } from "./memory";

/** A key; its bytes follow. */
@unmanaged
export class Entry {
  /** The first of its slots; see `slots.ts`. */
  first: usize;
  /** How many keys came before it. */
  ordinal: u32;
  length: u16;
  /** Part of its hash. */
  mark: u16;
}

export const ENTRY_BYTES: usize = offsetof<Entry>();
const MIN_PLACES: u32 = 16;

let seed0: u64 = 0;
let seed1: u64 = 0;

/** Open addressing over `places`, a power of two; 0 is free. */
let table: usize = 0;
let places: u32 = 0;
let count: u32 = 0;
/** All entries: the first `sorted` in order, then those that came since. */
let order: usize = 0;
let orderCapacity: u32 = 0;
let sorted: u32 = 0;

export function setSeed(a: u64, b: u64): void {
  seed0 = a;
  seed1 = b;
}
export function keyCount(): u32 {
  return count;
}
export function keyBytes(entry: Entry): usize {
  return changetype<usize>(entry) + ENTRY_BYTES;
}

// SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): who does not know the seed can't choose
// keys that meet in one place.
let v0: u64 = 0;
let v1: u64 = 0;
let v2: u64 = 0;
let v3: u64 = 0;

function sipRound(): void {
  v0 += v1;
  v1 = rotl(v1, 13) ^ v0;
  v0 = rotl(v0, 32);
  v2 += v3;
  v3 = rotl(v3, 16) ^ v2;
  v0 += v3;
  v3 = rotl(v3, 21) ^ v0;
  v2 += v1;
  v1 = rotl(v1, 17) ^ v2;
  v2 = rotl(v2, 32);
}

function absorb(word: u64): void {
  v3 ^= word;
  sipRound();
  v0 ^= word;
}

function hashOf(key: usize, length: u32): u64 {
  v0 = seed0 ^ 0x736f_6d65_7073_6575;
  v1 = seed1 ^ 0x646f_7261_6e64_6f6d;
  v2 = seed0 ^ 0x6c79_6765_6e65_7261;
  v3 = seed1 ^ 0x7465_6462_7974_6573;
  let at = key;
  const end = key + length;
  for (; at + 8 <= end; at += 8) absorb(load<u64>(at));
  let last: u64 = (<u64>length) << 56;
  for (let shift: u64 = 0; at < end; at++, shift += 8) last |= (<u64>load<u8>(at)) << shift;
  absorb(last);
  v2 ^= 0xff;
  sipRound();
  sipRound();
  sipRound();
  return v0 ^ v1 ^ v2 ^ v3;
}

function placeOf(index: u32): usize {
  return table + ((<usize>index) << 2);
}

/** Places for so many keys, three quarters of them taken at most. */
function placesFor(keys: u64): u64 {
  let needed: u64 = max<u64>(places, MIN_PLACES);
  while (needed * 3 < keys * 4) needed <<= 1;
  return needed;
}

/** Bytes that `reserveKeys` may take for so many more keys. */
export function bytesForKeys(more: u64): u64 {
  const keys = <u64>count + more;
  const newPlaces = placesFor(keys);
  const forTable = newPlaces > places ? blockBytes(newPlaces * 4) : 0;
  const forOrder =
    keys > orderCapacity ? blockBytes(max<u64>(keys, 2 * <u64>orderCapacity) * 4) : 0;
  return forTable + forOrder;
}

/** Makes room for so many more keys. */
export function reserveKeys(more: u32): void {
  const keys = count + more;
  if (keys > orderCapacity) {
    const capacity = max<u32>(keys, 2 * orderCapacity);
    order = regrow(order, (<usize>count) << 2, (<usize>capacity) << 2);
    orderCapacity = capacity;
  }
  const newPlaces = <u32>placesFor(keys);
  if (newPlaces <= places) return;
  give(table);
  table = take((<usize>newPlaces) << 2);
  places = newPlaces;
  memory.fill(table, 0, (<usize>newPlaces) << 2);
  for (let i: u32 = 0; i < count; i++) {
    const entry = entryAt(i);
    let index = <u32>hashOf(keyBytes(entry), entry.length) & (places - 1);
    while (load<usize>(placeOf(index)) !== 0) index = (index + 1) & (places - 1);
    store<usize>(placeOf(index), changetype<usize>(entry));
  }
}

/** An entry by its place among all; in order after `sortKeys`. */
export function entryAt(index: u32): Entry {
  return changetype<Entry>(load<usize>(order + ((<usize>index) << 2)));
}

/** The entry of a key; with `add`, for which there must be room, a new one where there is none, else null. */
export function findKey(key: usize, length: u32, add: bool): Entry | null {
  if (places === 0) return null;
  const hash = hashOf(key, length);
  const mark = <u16>(hash >> 48);
  let index = <u32>hash & (places - 1);
  for (;;) {
    const found = load<usize>(placeOf(index));
    if (found === 0) break;
    const entry = changetype<Entry>(found);
    if (
      entry.mark === mark &&
      entry.length === <u16>length &&
      memory.compare(keyBytes(entry), key, length) === 0
    ) {
      return entry;
    }
    index = (index + 1) & (places - 1);
  }
  if (!add) return null;
  const entry = changetype<Entry>(take(ENTRY_BYTES + length));
  entry.first = 0;
  entry.ordinal = count;
  entry.length = <u16>length;
  entry.mark = mark;
  memory.copy(keyBytes(entry), key, length);
  store<usize>(placeOf(index), changetype<usize>(entry));
  store<usize>(order + ((<usize>count) << 2), changetype<usize>(entry));
  count++;
  return entry;
}

/**
 * Compares UTF-8 as UTF-16 code units compare: where two texts differ first, what is outside the Basic Multilingual Plane
 * (leads from F0) comes before U+E000 to U+FFFF (leads EE and EF), since its surrogates do.
 */
export function compareText(a: usize, aLength: u32, b: usize, bLength: u32): i32 {
  const length = min(aLength, bLength);
  let i: u32 = 0;
  while (i + 8 <= length && load<u64>(a + i) === load<u64>(b + i)) i += 8;
  for (; i < length; i++) {
    const x: i32 = load<u8>(a + i);
    const y: i32 = load<u8>(b + i);
    if (x !== y) return x >= 0xee && y >= 0xee && x >= 0xf0 !== y >= 0xf0 ? y - x : x - y;
  }
  return <i32>aLength - <i32>bLength;
}

export function compareEntries(a: usize, b: usize): i32 {
  const x = changetype<Entry>(a);
  const y = changetype<Entry>(b);
  return compareText(keyBytes(x), x.length, keyBytes(y), y.length);
}

/** Merges two neighbouring runs of pointers from one array into another. */
function mergeRuns(
  from: usize,
  into: usize,
  low: u32,
  middle: u32,
  high: u32,
  compare: (a: usize, b: usize) => i32,
): void {
  let left = low;
  let right = middle;
  for (let i = low; i < high; i++) {
    const a = from + ((<usize>left) << 2);
    const b = from + ((<usize>right) << 2);
    const takeLeft =
      right >= high || (left < middle && compare(load<usize>(a), load<usize>(b)) <= 0);
    store<usize>(into + ((<usize>i) << 2), load<usize>(takeLeft ? a : b));
    if (takeLeft) left++;
    else right++;
  }
}

/** A stable merge sort of `length` pointers, with room for as many beside them. */
export function sortPointers(
  pointers: usize,
  length: u32,
  room: usize,
  compare: (a: usize, b: usize) => i32,
): void {
  let from = pointers;
  let into = room;
  for (let width: u32 = 1; width < length; width <<= 1) {
    for (let low: u32 = 0; low < length; low += 2 * width) {
      const middle = min(low + width, length);
      mergeRuns(from, into, low, middle, min(low + 2 * width, length), compare);
    }
    const other = from;
    from = into;
    into = other;
  }
  if (from !== pointers) memory.copy(pointers, from, (<usize>length) << 2);
}

/** Puts the entries in order; false if there is no room for that. */
export function sortKeys(): bool {
  if (sorted === count) return true;
  const bytes = (<usize>count) << 2;
  const room = tryTake(bytes);
  if (room === 0) return false;
  const added = order + ((<usize>sorted) << 2);
  sortPointers(added, count - sorted, room, compareEntries);
  if (sorted > 0) {
    mergeRuns(order, room, 0, sorted, count, compareEntries);
    memory.copy(order, room, (<usize>count) << 2);
  }
  sorted = count;
  give(room);
  return true;
}

/** The first place whose key is not before a text; after `sortKeys`. */
export function lowerBound(key: usize, length: u32): u32 {
  let low: u32 = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    const entry = entryAt(middle);
    if (compareText(keyBytes(entry), entry.length, key, length) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
