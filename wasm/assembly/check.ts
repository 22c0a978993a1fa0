// SPDX-License-Identifier: Apache-2.0
/** Checks of whole inputs, before anything changes: every byte, and the room that merging may take. */
import { bytesForChains, reserveChains } from "./chains";
import { bytesForKeys, reserveKeys } from "./keys";
import { beginOutput, blockBytes, ensure, fits } from "./memory";
import { byte, fail, failed, open, remaining, skip, varint } from "./reader";
import {
  CHAIN_BYTES,
  MIN_RECORD_BYTES,
  beginRecords,
  readRecord,
  recordKeyLength,
  recordSeq,
} from "./record";
import { applyFrame, bytesForRecord } from "./slots";

/** The input is no frame, or none that may come so. */
export const FORMAT: i32 = -1;
/** The limit of memory does not allow it. */
export const LIMIT: i32 = -2;
/** An argument is out of range. */
export const ARGUMENT: i32 = -3;

const VERSION: u32 = 1;
// As in `LIMITS` of packages/model.
export const FACTS_PER_FRAME: u64 = 10_000;
export const SLOTS_PER_DOCUMENT: u64 = 4_194_304;

/** What was checked adds up to. */
let records: u64 = 0;
let blocks: u64 = 0;
let keyBytes: u64 = 0;

function begin(): void {
  records = 0;
  blocks = 0;
  keyBytes = 0;
}

/** Reads one frame of at most `most` records. */
function checkFrame(most: u64): u64 {
  if (byte() !== VERSION) fail();
  const from = varint();
  const to = varint();
  const count = varint();
  if (count > most || count * MIN_RECORD_BYTES > remaining()) fail();
  beginRecords(from);
  for (let i: u64 = 0; i < count && !failed(); i++) {
    if (!readRecord()) return 0;
    blocks += bytesForRecord();
    keyBytes += recordKeyLength() + 1;
  }
  if (recordSeq() > to) fail();
  records += count;
  return count;
}

/** Takes all room that what was checked may need, so that merging it can't stop half way. */
function reserve(frames: u64): bool {
  beginOutput(0);
  const forOutput = blockBytes(max<u64>(keyBytes, 4_096));
  const all = blocks + forOutput + bytesForKeys(records) + bytesForChains(frames);
  if (!fits(all) || !ensure(<usize>keyBytes)) return false;
  reserveKeys(<u32>records);
  reserveChains(<u32>frames);
  return true;
}

/** Merges a frame as it comes from another device: 1 to 10,000 records, and nothing behind them. */
export function applyElement(from: usize, length: usize, isSaid: bool): i32 {
  begin();
  open(from, length);
  const id = skip(CHAIN_BYTES);
  const count = checkFrame(FACTS_PER_FRAME);
  if (failed() || count === 0 || remaining() > 0) return FORMAT;
  if (isSaid) {
    if (!reserve(1)) return LIMIT;
  } else {
    const all = blocks + bytesForKeys(records) + bytesForChains(1);
    if (!fits(all)) return LIMIT;
    reserveKeys(<u32>records);
    reserveChains(1);
  }
  open(from, length);
  skip(CHAIN_BYTES);
  return applyFrame(id, isSaid);
}

/** Merges frames with their chains: a difference, or a state. */
export function applyFrames(from: usize, length: usize): i32 {
  begin();
  open(from, length);
  if (byte() !== VERSION) fail();
  const frames = varint();
  if (frames > remaining()) fail();
  for (let i: u64 = 0; i < frames && !failed(); i++) {
    skip(CHAIN_BYTES);
    checkFrame(SLOTS_PER_DOCUMENT);
  }
  if (failed() || remaining() > 0) return FORMAT;
  if (!reserve(frames)) return LIMIT;
  open(from, length);
  byte();
  varint();
  let changed: u32 = 0;
  for (let i: u64 = 0; i < frames; i++) changed += applyFrame(skip(CHAIN_BYTES), true);
  return changed;
}
