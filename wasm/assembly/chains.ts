// SPDX-License-Identifier: Apache-2.0
/** Chains that have slots, in the order of their ids, and how far each is known. */
import { blockBytes, give, regrow, take } from "./memory";
import { CHAIN_BYTES, WRITER_BYTES } from "./record";
import { Slot } from "./slots";

/** One chain; its id of 48 bytes (writer, incarnation) follows. */
@unmanaged
export class Chain {
  /** Every seq up to this one is known, applied or overwritten. */
  known: u64;
  /** Live slots whose seq rose when they came: ascending, from first to last. */
  first: usize;
  last: usize;
  /** Live slots that came late, in the order in which they came. */
  lateFirst: usize;
  lateLast: usize;
  live: u32;
  /** Known intervals (from, to] beyond a gap, two u64 each, disjoint and ascending. */
  islands: usize;
  islandCount: u32;
  islandCapacity: u32;
}

export const CHAIN_HEAD: usize = offsetof<Chain>();
const ISLAND_BYTES: usize = 16;

let chains: usize = 0;
let count: u32 = 0;
let capacity: u32 = 0;
let gaps: u32 = 0;
/** The chain of the last frame, which is mostly that of the next; 0 when there is none. */
let latest: usize = 0;

export function chainCount(): u32 {
  return count;
}
export function gapCount(): u32 {
  return gaps;
}
export function chainId(chain: Chain): usize {
  return changetype<usize>(chain) + CHAIN_HEAD;
}
export function chainAt(index: u32): Chain {
  return changetype<Chain>(load<usize>(chains + ((<usize>index) << 2)));
}

/** Bytes that frames may take for chains and gaps. */
export function bytesForChains(frames: u64): u64 {
  const all = <u64>count + frames;
  const forList = all > capacity ? blockBytes(max<u64>(all, 2 * <u64>capacity) * 4) : 0;
  const forIslands = (<u64>gaps + frames) * (4 * ISLAND_BYTES) + 16 * frames;
  return forList + forIslands + frames * blockBytes(CHAIN_HEAD + CHAIN_BYTES);
}

export function reserveChains(more: u32): void {
  const all = count + more;
  if (all <= capacity) return;
  const room = max<u32>(all, 2 * capacity);
  chains = regrow(chains, (<usize>count) << 2, (<usize>room) << 2);
  capacity = room;
}

/** The place of the first chain whose id is not before one. */
function lowerBound(id: usize): u32 {
  let low: u32 = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (memory.compare(chainId(chainAt(middle)), id, CHAIN_BYTES) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function isChain(chain: Chain, id: usize): bool {
  return memory.compare(chainId(chain), id, CHAIN_BYTES) === 0;
}

/** A chain by its id, or a new one that is not among the others yet. */
export function openChain(id: usize): Chain {
  if (latest !== 0 && isChain(changetype<Chain>(latest), id)) return changetype<Chain>(latest);
  const index = lowerBound(id);
  if (index < count && isChain(chainAt(index), id)) return chainAt(index);
  const block = take(CHAIN_HEAD + CHAIN_BYTES);
  memory.fill(block, 0, CHAIN_HEAD);
  memory.copy(block + CHAIN_HEAD, id, CHAIN_BYTES);
  return changetype<Chain>(block);
}

/** After a frame: a chain without slots has nothing to tell anybody, and is forgotten. */
export function closeChain(chain: Chain): void {
  const id = chainId(chain);
  if (latest === changetype<usize>(chain)) {
    if (chain.live === 0) forget(chain);
    return;
  }
  const index = lowerBound(id);
  const isKnown = index < count && chainAt(index) === chain;
  if (chain.live === 0) {
    if (isKnown) forget(chain);
    else freeChain(chain);
    return;
  }
  if (!isKnown) {
    const place = chains + ((<usize>index) << 2);
    memory.copy(place + 4, place, (<usize>(count - index)) << 2);
    store<usize>(place, changetype<usize>(chain));
    count++;
  }
  latest = changetype<usize>(chain);
}

/** Takes a chain that has no slots any more from among the others. */
export function forget(chain: Chain): void {
  const place = chains + ((<usize>lowerBound(chainId(chain))) << 2);
  count--;
  memory.copy(place, place + 4, ((<usize>count) << 2) - (place - chains));
  if (latest === changetype<usize>(chain)) latest = 0;
  freeChain(chain);
}

function freeChain(chain: Chain): void {
  gaps -= chain.islandCount;
  give(chain.islands);
  give(changetype<usize>(chain));
}

export function islandFrom(chain: Chain, index: u32): u64 {
  return load<u64>(chain.islands + <usize>index * ISLAND_BYTES);
}
export function islandTo(chain: Chain, index: u32): u64 {
  return load<u64>(chain.islands + <usize>index * ISLAND_BYTES, 8);
}

/** The first island whose end (or, without `byEnd`, beginning) is not below a number. */
function islandNotBelow(chain: Chain, least: u64, byEnd: bool): u32 {
  let low: u32 = 0;
  let high = chain.islandCount;
  while (low < high) {
    const middle = (low + high) >> 1;
    const edge = byEnd ? islandTo(chain, middle) : islandFrom(chain, middle);
    if (edge < least) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Replaces islands from `index` to `end` by `by` of them, not written yet. */
function splice(chain: Chain, index: u32, end: u32, by: u32): void {
  const length = chain.islandCount - (end - index) + by;
  if (length > chain.islandCapacity) {
    const room = max<u32>(2 * chain.islandCapacity, 2);
    const kept = <usize>chain.islandCount * ISLAND_BYTES;
    chain.islands = regrow(chain.islands, kept, <usize>room * ISLAND_BYTES);
    chain.islandCapacity = room;
  }
  const from = chain.islands + <usize>end * ISLAND_BYTES;
  const into = chain.islands + <usize>(index + by) * ISLAND_BYTES;
  memory.copy(into, from, <usize>(chain.islandCount - end) * ISLAND_BYTES);
  gaps += length - chain.islandCount;
  chain.islandCount = length;
}

/** Puts an interval in its place, as one with those that it touches. */
function addIsland(chain: Chain, from: u64, to: u64): void {
  const first = islandNotBelow(chain, from, true);
  const end = islandNotBelow(chain, to + 1, false);
  if (first < chain.islandCount) from = min(from, islandFrom(chain, first));
  if (end > 0) to = max(to, islandTo(chain, end - 1));
  splice(chain, first, end, 1);
  const place = chain.islands + <usize>first * ISLAND_BYTES;
  store<u64>(place, from);
  store<u64>(place, to, 8);
}

/** A frame over (from, to] was applied. */
export function cover(chain: Chain, from: u64, to: u64): void {
  if (from <= chain.known) {
    if (to <= chain.known) return;
    chain.known = to;
  } else {
    addIsland(chain, from, to);
  }
  // Islands that the known part has reached are part of it.
  const apart = islandNotBelow(chain, chain.known + 1, false);
  if (apart === 0) return;
  chain.known = max(chain.known, islandTo(chain, apart - 1));
  splice(chain, 0, apart, 0);
}

/** Order of the writers of two chains. */
export function compareWriters(a: Chain, b: Chain): i32 {
  return a === b ? 0 : memory.compare(chainId(a), chainId(b), WRITER_BYTES);
}

/** Order of the incarnations of two chains of one writer. */
export function compareIncarnations(a: Chain, b: Chain): i32 {
  if (a === b) return 0;
  return memory.compare(
    chainId(a) + WRITER_BYTES,
    chainId(b) + WRITER_BYTES,
    CHAIN_BYTES - WRITER_BYTES,
  );
}

/** A slot of the chain came to count. */
export function addSlot(chain: Chain, slot: Slot): void {
  chain.live++;
  const last = changetype<Slot>(chain.last);
  slot.isLate = chain.last !== 0 && slot.seq <= last.seq;
  const previous = slot.isLate ? chain.lateLast : chain.last;
  slot.previous = previous;
  slot.following = 0;
  if (previous !== 0) changetype<Slot>(previous).following = changetype<usize>(slot);
  else if (slot.isLate) chain.lateFirst = changetype<usize>(slot);
  else chain.first = changetype<usize>(slot);
  if (slot.isLate) chain.lateLast = changetype<usize>(slot);
  else chain.last = changetype<usize>(slot);
}

/** A slot of the chain was replaced. */
export function removeSlot(chain: Chain, slot: Slot): void {
  chain.live--;
  const previous = slot.previous;
  const following = slot.following;
  if (previous !== 0) changetype<Slot>(previous).following = following;
  else if (slot.isLate) chain.lateFirst = following;
  else chain.first = following;
  if (following !== 0) changetype<Slot>(following).previous = previous;
  else if (slot.isLate) chain.lateLast = previous;
  else chain.last = previous;
}
