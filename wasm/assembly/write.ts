// SPDX-License-Identifier: Apache-2.0
/** Writes slots as the frames that `packages/facts/src/frame.ts` and `state.ts` specify. */
import { Chain, chainAt, chainCount, chainId, islandFrom, islandTo } from "./chains";
import { compareEntries, keyBytes, sortPointers } from "./keys";
import {
  beginOutput,
  cutOutput,
  give,
  outputEnd,
  outputFailed,
  outputFrom,
  outputLength,
  putByte,
  putBytes,
  putVarint,
  startOutputAt,
  tryTake,
} from "./memory";
import { failed, open, remaining, skip, varint } from "./reader";
import { CHAIN_BYTES, RETRACT, WRITER_BYTES } from "./record";
import { FORMAT, LIMIT } from "./check";
import { Slot, restOf } from "./slots";

const VERSION: u32 = 1;
/** Version and the longest count, in front of frames whose number is not known yet. */
const GAP: usize = 11;

let frames: u64 = 0;

/** Begins an answer of frames. */
export function beginFrames(): void {
  beginOutput(GAP);
  frames = 0;
}

/** Puts version and number in front of the frames; the length of all. */
export function endFrames(): i32 {
  if (outputFailed()) return LIMIT;
  const end = outputEnd();
  // Written behind the frames, to know how long it is, then moved.
  putByte(VERSION);
  putVarint(frames);
  if (outputFailed()) return LIMIT;
  const length = outputEnd() - end;
  memory.copy(outputFrom(GAP - length), outputFrom(end), length);
  cutOutput(end);
  startOutputAt(GAP - length);
  return <i32>outputLength();
}

function putRecord(slot: Slot, seqBefore: u64, hlcBefore: u64): void {
  const entry = slot.entry;
  putByte(slot.flags);
  putVarint(slot.seq - seqBefore);
  putVarint(slot.hlc - hlcBefore);
  putVarint(entry.length);
  putBytes(keyBytes(entry), entry.length);
  putBytes(restOf(slot), slot.restLength);
}

/** The head of a frame, with its chain. */
export function putHead(id: usize, from: u64, to: u64, count: u64): void {
  frames++;
  putBytes(id, CHAIN_BYTES);
  putByte(VERSION);
  putVarint(from);
  putVarint(to);
  putVarint(count);
}

/** A slot as a frame of its own. */
export function putSlot(slot: Slot): void {
  putHead(chainId(slot.chain), slot.seq - 1, slot.seq, 1);
  putRecord(slot, slot.seq - 1, 0);
}

function slotAt(list: usize, index: u32): Slot {
  return changetype<Slot>(load<usize>(list + ((<usize>index) << 2)));
}

/** By seq, clock, key, and writer ruled on. */
function compareSlots(a: usize, b: usize): i32 {
  const x = changetype<Slot>(a);
  const y = changetype<Slot>(b);
  if (x.seq !== y.seq) return x.seq < y.seq ? -1 : 1;
  if (x.hlc !== y.hlc) return x.hlc < y.hlc ? -1 : 1;
  if (x.entry !== y.entry) {
    return compareEntries(changetype<usize>(x.entry), changetype<usize>(y.entry));
  }
  const isRuling = x.flags === RETRACT;
  if (isRuling !== (y.flags === RETRACT)) return isRuling ? 1 : -1;
  return isRuling ? memory.compare(restOf(x), restOf(y), WRITER_BYTES) : 0;
}

/** The end of the run from `start` in which seqs and clocks rise. */
function runEnd(list: usize, start: u32, end: u32): u32 {
  let i = start + 1;
  for (; i < end; i++) {
    const slot = slotAt(list, i);
    const before = slotAt(list, i - 1);
    if (slot.seq <= before.seq || slot.hlc <= before.hlc) break;
  }
  return min(i, end);
}

/** A frame of slots of a chain; of a hostile one, one for each run in which seqs and clocks rise. */
function putFrame(chain: Chain, from: u64, to: u64, list: usize, start: u32, end: u32): void {
  const id = chainId(chain);
  if (start === end) putHead(id, from, to, 0);
  let next = start;
  for (let at = start; at < end; at = next) {
    next = runEnd(list, at, end);
    const isLast = next === end;
    const first = isLast ? from : slotAt(list, at).seq - 1;
    const last = isLast ? to : slotAt(list, next - 1).seq;
    putHead(id, first, last, next - at);
    let seq = first;
    let hlc: u64 = 0;
    for (let i = at; i < next; i++) {
      const slot = slotAt(list, i);
      putRecord(slot, seq, hlc);
      seq = slot.seq;
      hlc = slot.hlc;
    }
  }
}

/** Fills a list with the live slots above a seq, in order; how many. */
function gather(chain: Chain, above: u64, list: usize): u32 {
  let count: u32 = 0;
  let at = chain.last;
  while (at !== 0 && changetype<Slot>(at).seq > above) {
    count++;
    at = changetype<Slot>(at).previous;
  }
  at = chain.last;
  for (let i = count; i > 0; i--) {
    store<usize>(list + ((<usize>(i - 1)) << 2), at);
    at = changetype<Slot>(at).previous;
  }
  if (chain.lateFirst === 0) return count;
  for (at = chain.lateFirst; at !== 0; at = changetype<Slot>(at).following) {
    if (changetype<Slot>(at).seq <= above) continue;
    store<usize>(list + ((<usize>count) << 2), at);
    count++;
  }
  const room = list + ((<usize>chain.live) << 2);
  sortPointers(list, count, room, compareSlots);
  return count;
}

/** What a chain has above a seq: first what lies beyond a gap, then the part that is known from 0. */
function putChain(chain: Chain, above: u64, list: usize): void {
  const count = gather(chain, above, list);
  let prefix: u32 = 0;
  while (prefix < count && slotAt(list, prefix).seq <= chain.known) prefix++;
  let next = prefix;
  for (let i: u32 = 0; i < chain.islandCount; i++) {
    const start = next;
    while (next < count && slotAt(list, next).seq <= islandTo(chain, i)) next++;
    if (next > start) putFrame(chain, islandFrom(chain, i), islandTo(chain, i), list, start, next);
  }
  if (chain.known > above) putFrame(chain, above, chain.known, list, 0, prefix);
}

/** How far each chain is known: the number of chains, then id and seq of each, in the order of the ids. */
export function putSummary(): i32 {
  beginOutput(0);
  putVarint(chainCount());
  for (let i: u32 = 0; i < chainCount(); i++) {
    const chain = chainAt(i);
    putBytes(chainId(chain), CHAIN_BYTES);
    putVarint(chain.known);
  }
  return outputFailed() ? LIMIT : <i32>outputLength();
}

/** A summary that is one: ids that rise, and nothing behind them. */
function isSummary(from: usize, length: usize): bool {
  open(from, length);
  const count = varint();
  if (count > remaining()) return false;
  let before: usize = 0;
  for (let i: u64 = 0; i < count && !failed(); i++) {
    const id = skip(CHAIN_BYTES);
    if (failed() || (before !== 0 && memory.compare(before, id, CHAIN_BYTES) >= 0)) return false;
    before = id;
    varint();
  }
  return !failed() && remaining() === 0;
}

/** What a store with a summary lacks, as frames in the order of their chains. */
export function putDiff(from: usize, length: usize): i32 {
  if (!isSummary(from, length)) return FORMAT;
  open(from, length);
  let theirs = varint();
  let id: usize = 0;
  let known: u64 = 0;
  beginFrames();
  for (let i: u32 = 0; i < chainCount(); i++) {
    const chain = chainAt(i);
    const own = chainId(chain);
    while (theirs > 0 && (id === 0 || memory.compare(id, own, CHAIN_BYTES) < 0)) {
      id = skip(CHAIN_BYTES);
      known = varint();
      theirs--;
    }
    const isTheirs = id !== 0 && memory.compare(id, own, CHAIN_BYTES) === 0;
    const bytes = (<usize>chain.live) << (chain.lateFirst === 0 ? 2 : 3);
    const list = tryTake(bytes);
    if (list === 0) return LIMIT;
    putChain(chain, isTheirs ? known : 0, list);
    give(list);
  }
  return endFrames();
}
