// SPDX-License-Identifier: Apache-2.0
/**
 * One record of a frame: checked byte by byte, and taken apart only as far as merging needs. What follows the
 * key is the *rest*: it is kept and handed on as the bytes that it came as.
 */
import { MAX_SAFE, byte, fail, failed, position, skip, text, textUnits, varint } from "./reader";

export const DELETED: u32 = 1;
export const CONFIDENCE: u32 = 2;
export const SOURCE: u32 = 4;
export const TTL: u32 = 8;
export const TAGS: u32 = 16;
export const BASIS: u32 = 32;
export const RETRACT: u32 = 64;
export const MORE: u32 = 128;
const CORRELATION: u32 = 1;
const TRACE: u32 = 2;
const TARGETS: u32 = 4;

export const WRITER_BYTES: usize = 32;
export const CHAIN_BYTES: usize = 48;
/** The shortest record: flags, two deltas, a key of one byte, and no value. */
export const MIN_RECORD_BYTES: u64 = 5;
/** What each slot counts besides its texts. */
const SLOT_UNITS: u32 = 96;
/** A traceparent as text. */
const TRACE_UNITS: u32 = 55;

// As in `LIMITS` of packages/model.
const KEY_BYTES: u32 = 512;
const VALUE_BYTES: u32 = 65_536;
const TAG_BYTES: u32 = 128;
const REASON_BYTES: u32 = 512;
const MOST_TAGS: u64 = 16;

let flags: u32 = 0;
let seq: u64 = 0;
let hlc: u64 = 0;
let key: usize = 0;
let keyLength: u32 = 0;
let rest: usize = 0;
let restLength: u32 = 0;
let units: u32 = 0;

export function recordFlags(): u32 {
  return flags;
}
export function recordSeq(): u64 {
  return seq;
}
export function recordHlc(): u64 {
  return hlc;
}
export function recordKey(): usize {
  return key;
}
export function recordKeyLength(): u32 {
  return keyLength;
}
export function recordRest(): usize {
  return rest;
}
export function recordRestLength(): u32 {
  return restLength;
}
/** What the record counts, in UTF-16 code units of its texts and an overhead. */
export function recordUnits(): u32 {
  return units;
}

/** Before the first record of a frame. */
export function beginRecords(from: u64): void {
  seq = from;
  hlc = 0;
}

function countedText(most: u32): u32 {
  const length = text(most);
  units += textUnits();
  return length;
}

function texts(): void {
  const count = varint();
  if (count === 0 || count > MOST_TAGS) fail();
  for (let i: u64 = 0; i < count && !failed(); i++) countedText(TAG_BYTES);
}

function isZero(at: usize, length: usize): bool {
  for (let i: usize = 0; i < length; i += 8) if (load<u64>(at + i) !== 0) return false;
  return true;
}

function readMore(): void {
  const more = byte();
  if (more === 0 || (more & ~(CORRELATION | TRACE | TARGETS)) !== 0) fail();
  if ((more & CORRELATION) !== 0 && countedText(TAG_BYTES) === 0) fail();
  if ((more & TRACE) !== 0) {
    const trace = skip(25);
    if (failed() || isZero(trace, 16) || isZero(trace + 16, 8)) fail();
    units += TRACE_UNITS;
  }
  if ((more & TARGETS) !== 0) texts();
}

function readConfidence(): void {
  const at = skip(8);
  if (failed()) return;
  const confidence = load<f64>(at);
  // A negative zero would be a second spelling of zero.
  if (!(confidence >= 0 && confidence <= 1) || load<u64>(at) === 0x8000_0000_0000_0000) fail();
}

function readRest(): void {
  if (flags === RETRACT) {
    skip(WRITER_BYTES);
    varint();
    if (countedText(REASON_BYTES) === 0) fail();
    return;
  }
  if ((flags & DELETED) === 0) countedText(VALUE_BYTES);
  if ((flags & CONFIDENCE) !== 0) readConfidence();
  if ((flags & SOURCE) !== 0) {
    if (countedText(TAG_BYTES) === 0) fail();
    countedText(TAG_BYTES);
    countedText(TAG_BYTES);
  }
  if ((flags & TTL) !== 0) varint();
  if ((flags & TAGS) !== 0) texts();
  if ((flags & BASIS) !== 0) texts();
  if ((flags & MORE) !== 0) readMore();
}

function readKey(): void {
  keyLength = countedText(KEY_BYTES);
  if (failed() || keyLength === 0) {
    fail();
    return;
  }
  key = position() - keyLength;
  for (let i: u32 = 0; i < keyLength; i++) {
    const unit = load<u8>(key + i);
    if (unit < 0x20 || unit === 0x7f) fail();
  }
}

/** Reads the next record. Whether it is one. */
export function readRecord(): bool {
  units = SLOT_UNITS;
  flags = byte();
  if ((flags & RETRACT) !== 0 && flags !== RETRACT) fail();
  const seqDelta = varint();
  const hlcDelta = varint();
  if (seqDelta === 0 || hlcDelta === 0) fail();
  seq += seqDelta;
  hlc += hlcDelta;
  if (seq > MAX_SAFE || hlc > MAX_SAFE) fail();
  if (failed()) return false;
  readKey();
  if (failed()) return false;
  rest = position();
  readRest();
  restLength = <u32>(position() - rest);
  return !failed();
}
