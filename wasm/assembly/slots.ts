// SPDX-License-Identifier: Apache-2.0
/** Slots: the newest statement, or ruling, of each writer about each key; and how a record becomes one. */
import {
  Chain,
  addSlot,
  closeChain,
  compareIncarnations,
  compareWriters,
  cover,
  forget,
  openChain,
  removeSlot,
} from "./chains";
import { ENTRY_BYTES, Entry, entryAt, findKey, keyCount } from "./keys";
import { blockBytes, blockSize, give, putByte, putBytes, take } from "./memory";
import { byte, open, skip, text, varint } from "./reader";
import {
  CONFIDENCE,
  DELETED,
  RETRACT,
  SOURCE,
  TTL,
  WRITER_BYTES,
  beginRecords,
  readRecord,
  recordFlags,
  recordHlc,
  recordKey,
  recordKeyLength,
  recordRest,
  recordRestLength,
  recordSeq,
  recordUnits,
} from "./record";

/** A slot; its rest follows: what its record has behind the key. */
@unmanaged
export class Slot {
  seq: u64;
  hlc: u64;
  /** The next slot of the key: statements by writer, then rulings by writer and writer ruled on. */
  next: usize;
  entry: Entry;
  chain: Chain;
  /** Neighbours in the list of the chain. */
  previous: usize;
  following: usize;
  restLength: u32;
  units: u32;
  flags: u8;
  isLate: bool;
}

export const SLOT_BYTES: usize = offsetof<Slot>();
/** A block is written over as long as no more than this of it would stay unused. */
const SLACK: usize = 64;
const TEXT_BYTES: u32 = 65_536;
const HLC_EPOCH_MS: f64 = 1_577_836_800_000;
const HLC_BITS: u64 = 12;

let slotCount: u32 = 0;
let expiring: u32 = 0;
let units: u64 = 0;

export function slots(): u32 {
  return slotCount;
}
export function expiringSlots(): u32 {
  return expiring;
}
export function allUnits(): u64 {
  return units;
}
export function restOf(slot: Slot): usize {
  return changetype<usize>(slot) + SLOT_BYTES;
}

/** Bytes that a record may take. */
export function bytesForRecord(): u64 {
  return blockBytes(SLOT_BYTES + recordRestLength()) + blockBytes(ENTRY_BYTES + recordKeyLength());
}

/** Where the record just read stands to a slot of its key: 0 when it is the one that it may replace. */
function compareToSlot(slot: Slot, chain: Chain, isRuling: bool): i32 {
  const other = slot.flags === RETRACT;
  if (other !== isRuling) return isRuling ? 1 : -1;
  const order = compareWriters(chain, slot.chain);
  if (order !== 0 || !isRuling) return order;
  return memory.compare(recordRest(), restOf(slot), WRITER_BYTES);
}

/** Whether the record just read is newer: by HLC, then incarnation. */
function isNewer(slot: Slot, chain: Chain): bool {
  const hlc = recordHlc();
  return hlc !== slot.hlc ? hlc > slot.hlc : compareIncarnations(chain, slot.chain) > 0;
}

/** Writes the record just read into a block. */
function fill(slot: Slot, entry: Entry, chain: Chain): void {
  slot.seq = recordSeq();
  slot.hlc = recordHlc();
  slot.entry = entry;
  slot.chain = chain;
  slot.restLength = recordRestLength();
  slot.units = recordUnits();
  slot.flags = <u8>recordFlags();
  memory.copy(restOf(slot), recordRest(), recordRestLength());
  addSlot(chain, slot);
  slotCount++;
  units += slot.units;
  if ((slot.flags & TTL) !== 0) expiring++;
}

function drop(slot: Slot, chain: Chain): void {
  slotCount--;
  units -= slot.units;
  if ((slot.flags & TTL) !== 0) expiring--;
  const other = slot.chain;
  removeSlot(other, slot);
  // The frame's own chain is looked at when the frame is done.
  if (other.live === 0 && other !== chain) forget(other);
}

/** Merges the record just read. Whether it came to count. */
function applyRecord(chain: Chain): bool {
  const entry = changetype<Entry>(changetype<usize>(findKey(recordKey(), recordKeyLength(), true)));
  const isRuling = recordFlags() === RETRACT;
  const needed = SLOT_BYTES + recordRestLength();
  // Where the pointer to the slot is: in the entry, or in the slot before.
  let link = changetype<usize>(entry) + offsetof<Entry>("first");
  for (let at = load<usize>(link); at !== 0; at = load<usize>(link)) {
    const slot = changetype<Slot>(at);
    const order = compareToSlot(slot, chain, isRuling);
    if (order < 0) break;
    if (order === 0) {
      if (!isNewer(slot, chain)) return false;
      const next = slot.next;
      drop(slot, chain);
      let block = at;
      const size = blockSize(at);
      if (size < needed || size > needed + SLACK) {
        give(at);
        block = take(needed);
      }
      store<usize>(link, block);
      changetype<Slot>(block).next = next;
      fill(changetype<Slot>(block), entry, chain);
      return true;
    }
    link = at + offsetof<Slot>("next");
  }
  const added = changetype<Slot>(take(needed));
  added.next = load<usize>(link);
  store<usize>(link, changetype<usize>(added));
  fill(added, entry, chain);
  return true;
}

/** Merges a frame that was checked, and there is room for; says the keys that changed in the answer. */
export function applyFrame(id: usize, isSaid: bool): u32 {
  byte();
  const from = varint();
  const to = varint();
  const count = varint();
  const chain = openChain(id);
  let changed: u32 = 0;
  beginRecords(from);
  for (let i: u64 = 0; i < count; i++) {
    readRecord();
    if (!applyRecord(chain)) continue;
    changed++;
    if (!isSaid) continue;
    putBytes(recordKey(), recordKeyLength());
    putByte(0x0a);
  }
  cover(chain, from, to);
  closeChain(chain);
  return changed;
}

/** Opens the reader behind value and confidence of a statement. */
export function openAttributes(slot: Slot): void {
  open(restOf(slot), slot.restLength);
  if ((slot.flags & DELETED) === 0) text(TEXT_BYTES);
  if ((slot.flags & CONFIDENCE) !== 0) skip(8);
}

/** Unix milliseconds from which a statement with a ttl no longer counts. */
function expiryMs(slot: Slot): f64 {
  openAttributes(slot);
  if ((slot.flags & SOURCE) !== 0) {
    text(TEXT_BYTES);
    text(TEXT_BYTES);
    text(TEXT_BYTES);
  }
  return <f64>(slot.hlc >> HLC_BITS) + HLC_EPOCH_MS + <f64>varint();
}

/** Whether the ttl of a statement runs out after one time and up to another. */
export function expiresBetween(after: f64, upTo: f64): bool {
  if (expiring === 0) return false;
  for (let i: u32 = 0; i < keyCount(); i++) {
    for (let at = entryAt(i).first; at !== 0; at = changetype<Slot>(at).next) {
      const slot = changetype<Slot>(at);
      if ((slot.flags & TTL) === 0 || slot.flags === RETRACT) continue;
      const ms = expiryMs(slot);
      if (after < ms && ms <= upTo) return true;
    }
  }
  return false;
}
