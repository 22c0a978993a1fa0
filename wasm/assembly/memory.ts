// SPDX-License-Identifier: Apache-2.0
/** Blocks of memory, counted against the limit of `init`, and the two buffers that the host sees. */

/** A block of the allocator has a header of 4 bytes, and 12, 28, 44... of its own. */
const HEADER: usize = 4;
/** A buffer up to this size is kept between calls. */
const KEPT: usize = 65_536;

/** No buffer is smaller, so that small inputs and answers share one. */
const SMALL: usize = 4_096;
/** As `--maximumMemory` in `scripts/build-wasm.ts` has it. */
const MOST_PAGES: u64 = 4_096;
const PAGE_BITS: u64 = 16;
const PAGE_BYTES: u64 = 65_536;
const LEFT_FREE: u32 = 2;

let used: u64 = 0;
let limit: u64 = 0;

let input: usize = 0;
let inputCapacity: usize = 0;
let output: usize = 0;
let outputCapacity: usize = 0;
/** Where the answer ends; it begins at `outputStart`. */
let outputAt: usize = 0;
let outputStart: usize = 0;
/** The answer did not fit. */
let outputFull: bool = false;

export function setLimit(bytes: u64): void {
  limit = bytes;
}
export function usedBytes(): u64 {
  return used;
}
export function limitBytes(): u64 {
  return limit;
}

/** Bytes that a block of `size` takes, header included. */
export function blockBytes(size: u64): u64 {
  return max<u64>((size + HEADER + 15) & ~15, 16);
}

/**
 * Free bytes at the very end of the memory. There the allocator has an empty block that bears `LEFT_FREE` when the one before it is free, and
 * before it then where that begins (`rt/tlsf.ts` of AssemblyScript).
 */
function freeAtEnd(): u64 {
  const end = ((<usize>memory.size()) << (<usize>PAGE_BITS)) - HEADER;
  return (load<u32>(end) & LEFT_FREE) === 0 ? 0 : load<u32>(load<usize>(end - sizeof<usize>()));
}

/**
 * Whether so much more, in however many blocks, stays within the limit, and the memory can't but have room for it: in one piece, since what lies between
 * blocks may be of no use. Where the allocator finds none, it traps.
 */
export function fits(bytes: u64): bool {
  const room = max(freeAtEnd(), (MOST_PAGES - memory.size()) << PAGE_BITS);
  // The allocator looks for blocks a sixteenth larger, and grows by whole pages.
  return used + bytes <= limit && bytes + (bytes >> 4) + 2 * PAGE_BYTES <= room;
}

/** Bytes in a block that was taken. */
export function blockSize(block: usize): usize {
  return load<usize>(block - HEADER) & ~3;
}

/** A block; whoever calls has asked `fits`. */
export function take(size: usize): usize {
  const block = heap.alloc(size);
  used += blockSize(block) + HEADER;
  return block;
}

/** A block, or 0 if it does not fit. */
export function tryTake(size: usize): usize {
  return fits(blockBytes(size)) ? take(size) : 0;
}

export function give(block: usize): void {
  if (block === 0) return;
  used -= blockSize(block) + HEADER;
  heap.free(block);
}

/** A larger block with what was in the old one. */
export function regrow(old: usize, oldBytes: usize, bytes: usize): usize {
  const block = take(bytes);
  memory.copy(block, old, oldBytes);
  give(old);
  return block;
}

/** Room for the next input; 0 past the limit. What the host wrote before is gone. */
export function inputOf(bytes: usize): usize {
  if (input !== 0 && bytes <= inputCapacity && inputCapacity <= KEPT) return input;
  give(input);
  input = 0;
  inputCapacity = 0;
  const capacity = max<usize>(bytes, SMALL);
  input = tryTake(capacity);
  if (input !== 0) inputCapacity = capacity;
  return input;
}
export function inputAt(): usize {
  return input;
}
export function inputRoom(): usize {
  return inputCapacity;
}

/** Begins a new answer, `gap` bytes into the buffer. */
export function beginOutput(gap: usize): void {
  if (outputCapacity > KEPT) {
    give(output);
    output = 0;
    outputCapacity = 0;
  }
  outputFull = false;
  outputStart = 0;
  outputAt = 0;
  if (ensure(gap)) {
    outputStart = gap;
    outputAt = gap;
  }
}

/** Makes room for so many bytes; whether there is. */
export function ensure(bytes: usize): bool {
  if (outputFull) return false;
  const needed = outputAt + bytes;
  if (needed <= outputCapacity) return true;
  let capacity = max<usize>(max<usize>(needed, 2 * outputCapacity), SMALL);
  let block = tryTake(capacity);
  if (block === 0) {
    capacity = needed;
    block = tryTake(capacity);
    if (block === 0) {
      outputFull = true;
      return false;
    }
  }
  memory.copy(block, output, outputAt);
  give(output);
  output = block;
  outputCapacity = capacity;
  return true;
}

export function outputPointer(): usize {
  return output + outputStart;
}
export function outputLength(): usize {
  return outputAt - outputStart;
}
export function outputFailed(): bool {
  return outputFull;
}
/** Where the next byte goes. */
export function outputEnd(): usize {
  return outputAt;
}
/** The bytes from a position of `outputEnd` on. */
export function outputFrom(position: usize): usize {
  return output + position;
}
export function cutOutput(position: usize): void {
  outputAt = position;
}
export function startOutputAt(position: usize): void {
  outputStart = position;
}

export function putByte(byte: u32): void {
  if (!ensure(1)) return;
  store<u8>(output + outputAt, byte);
  outputAt++;
}

export function putBytes(from: usize, length: usize): void {
  if (!ensure(length)) return;
  memory.copy(output + outputAt, from, length);
  outputAt += length;
}

export function putVarint(value: u64): void {
  if (!ensure(10)) return;
  let at = output + outputAt;
  while (value >= 0x80) {
    store<u8>(at++, <u8>value | 0x80);
    value >>= 7;
  }
  store<u8>(at++, <u8>value);
  outputAt = at - output;
}
