// SPDX-License-Identifier: Apache-2.0
/**
 * Reads untrusted bytes. The first thing that is wrong sets `failed`; from there on every read gives 0 and
 * moves nothing, so callers may look once at the end of a record.
 */

export const MAX_SAFE: u64 = 9_007_199_254_740_991;
const MAX_VARINT_BYTES: i32 = 8;

let at: usize = 0;
let end: usize = 0;
let wrong: bool = false;
/** UTF-16 code units of the text read last. */
let units: u32 = 0;

export function open(from: usize, length: usize): void {
  at = from;
  end = from + length;
  wrong = false;
}
export function position(): usize {
  return at;
}
export function remaining(): usize {
  return end - at;
}
export function failed(): bool {
  return wrong;
}
export function textUnits(): u32 {
  return units;
}

export function fail(): u64 {
  wrong = true;
  at = end;
  return 0;
}

export function byte(): u32 {
  if (at >= end) return <u32>fail();
  return load<u8>(at++);
}

/** Where the next bytes are; 0 if there are not so many. */
export function skip(length: usize): usize {
  if (length > end - at) {
    fail();
    return 0;
  }
  const from = at;
  at += length;
  return from;
}

/** An unsigned integer below 2^53 in its shortest form. */
export function varint(): u64 {
  if (at < end) {
    const first = load<u8>(at);
    if (first < 0x80) {
      at++;
      return first;
    }
  }
  let value: u64 = 0;
  for (let i = 0; i < MAX_VARINT_BYTES; i++) {
    const next: u64 = byte();
    if (wrong) return 0;
    value |= (next & 0x7f) << (<u64>(7 * i));
    if (next < 0x80) return (next === 0 && i > 0) || value > MAX_SAFE ? fail() : value;
  }
  return fail();
}

/** Whether bytes are well-formed UTF-8 (RFC 3629); counts their UTF-16 code units. */
function isUtf8(from: usize, to: usize): bool {
  let p = from;
  let extra: u32 = 0;
  while (p < to) {
    if (p + 8 <= to && (load<u64>(p) & 0x8080_8080_8080_8080) === 0) {
      p += 8;
      continue;
    }
    const lead: u32 = load<u8>(p);
    if (lead < 0x80) {
      p++;
      continue;
    }
    if (lead < 0xc2 || lead > 0xf4) return false;
    const length: u32 = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (<usize>length > to - p) return false;
    const second: u32 = load<u8>(p, 1);
    const low: u32 = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const high: u32 = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    if (second < low || second > high) return false;
    if (length > 2 && (load<u8>(p, 2) & 0xc0) !== 0x80) return false;
    if (length > 3 && (load<u8>(p, 3) & 0xc0) !== 0x80) return false;
    p += length;
    // Two bytes are one unit, three are one, four are two.
    extra += length === 3 ? 2 : length - (length >> 1);
  }
  units = <u32>(to - from) - extra;
  return true;
}

/** Skips a text of at most `most` bytes; its length. */
export function text(most: u32): u32 {
  units = 0;
  const length = varint();
  if (length > most) return <u32>fail();
  const from = skip(<usize>length);
  if (wrong) return 0;
  return isUtf8(from, from + <usize>length) ? <u32>length : <u32>fail();
}
