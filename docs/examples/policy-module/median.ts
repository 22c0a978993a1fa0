// SPDX-License-Identifier: Apache-2.0
/**
 * A module for a space, in AssemblyScript. As a resolver it shows the statement whose number is the median of all, so that one sensor that is wrong is
 * never shown among three. As a rule of admission it takes numbers that somebody is at least half sure of. docs/POLICY.md has the interface.
 *
 *   npx --package=assemblyscript asc median.ts --outFile median.wasm -O3 --runtime stub --use abort= --initialMemory 1 --maximumMemory 16
 */

// The input, as docs/POLICY.md has it.
const COUNT: usize = 4;
const CANDIDATES: usize = 24;
const STRIDE: usize = 104;
const CONFIDENCE: usize = 8;
const NUMBER: usize = 16;
const KIND: usize = 24;
const IS_NUMBER: u32 = 4;
/** The answer that no statement is shown. */
const NOTHING: i32 = -1;

const REASON: string = "not a number that somebody is half sure of";

let input: usize = 0;

/** Where the input goes. */
export function alloc(length: i32): usize {
  input = heap.alloc(length);
  return input;
}

function candidate(i: i32): usize {
  return input + CANDIDATES + STRIDE * usize(i);
}

/** How many of the numbers come before one; of equal ones those of newer statements do. */
function before(which: i32, count: i32): i32 {
  const number = load<f64>(candidate(which), NUMBER);
  let less = 0;
  for (let i = 0; i < count; i++) {
    if (load<u32>(candidate(i), KIND) != IS_NUMBER) continue;
    const other = load<f64>(candidate(i), NUMBER);
    if (other < number || (other == number && i < which)) less++;
  }
  return less;
}

/** The number of the statement that is shown. */
export function resolve(length: i32): i32 {
  const count = load<i32>(input, COUNT);
  let numbers = 0;
  for (let i = 0; i < count; i++) {
    if (load<u32>(candidate(i), KIND) == IS_NUMBER) numbers++;
  }
  for (let i = 0; i < count; i++) {
    if (load<u32>(candidate(i), KIND) != IS_NUMBER) continue;
    if (before(i, count) == (numbers - 1) / 2) return i;
  }
  return NOTHING;
}

/** 0 for yes; else a code, and why in the output. */
export function admit(length: i32): i32 {
  const isNumber = load<u32>(candidate(0), KIND) == IS_NUMBER;
  return isNumber && load<f64>(candidate(0), CONFIDENCE) >= 0.5 ? 0 : 1;
}

/** Where the output is: the reason in UTF-8, which for such letters is a byte for each. */
export function out(): usize {
  const at = heap.alloc(REASON.length);
  for (let i = 0; i < REASON.length; i++) store<u8>(at + i, u8(REASON.charCodeAt(i)));
  return at;
}

/** Its length. */
export function outLength(): i32 {
  return REASON.length;
}
