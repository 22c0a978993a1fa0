// SPDX-License-Identifier: Apache-2.0
/** SHA-256 (FIPS 180-4). */

const K = memory.data<u32>([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
]);
const INITIAL = memory.data<u32>([
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
]);
const BLOCK: usize = 64;
const STATE_BYTES: usize = 32;

const words = memory.data(256);
const state = memory.data(32);
/** The end of the message with its padding: at most two blocks. */
const tail = memory.data(128);

function word(at: usize, index: usize): u32 {
  return load<u32>(at + (index << 2));
}

function schedule(block: usize): void {
  for (let i: usize = 0; i < 16; i++) store<u32>(words + (i << 2), bswap(word(block, i)));
  for (let i: usize = 16; i < 64; i++) {
    const a = word(words, i - 15);
    const b = word(words, i - 2);
    const s0 = rotr(a, 7) ^ rotr(a, 18) ^ (a >> 3);
    const s1 = rotr(b, 17) ^ rotr(b, 19) ^ (b >> 10);
    store<u32>(words + (i << 2), word(words, i - 16) + s0 + word(words, i - 7) + s1);
  }
}

function compress(block: usize): void {
  schedule(block);
  let a = word(state, 0);
  let b = word(state, 1);
  let c = word(state, 2);
  let d = word(state, 3);
  let e = word(state, 4);
  let f = word(state, 5);
  let g = word(state, 6);
  let h = word(state, 7);
  for (let i: usize = 0; i < 64; i++) {
    const s1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25);
    const t1 = h + s1 + ((e & f) ^ (~e & g)) + word(K, i) + word(words, i);
    const s0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22);
    const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + t2;
  }
  store<u32>(state, word(state, 0) + a);
  store<u32>(state, word(state, 1) + b, 4);
  store<u32>(state, word(state, 2) + c, 8);
  store<u32>(state, word(state, 3) + d, 12);
  store<u32>(state, word(state, 4) + e, 16);
  store<u32>(state, word(state, 5) + f, 20);
  store<u32>(state, word(state, 6) + g, 24);
  store<u32>(state, word(state, 7) + h, 28);
}

/** Writes the digest of a message to `into`; they may overlap. */
export function sha256(message: usize, length: usize, into: usize): void {
  memory.copy(state, INITIAL, STATE_BYTES);
  const whole = length & ~(BLOCK - 1);
  for (let at: usize = 0; at < whole; at += BLOCK) compress(message + at);
  const left = length - whole;
  const tailBytes: usize = left < 56 ? BLOCK : 2 * BLOCK;
  memory.fill(tail, 0, tailBytes);
  memory.copy(tail, message + whole, left);
  store<u8>(tail + left, 0x80);
  store<u64>(tail + tailBytes - 8, bswap((<u64>length) << 3));
  for (let at: usize = 0; at < tailBytes; at += BLOCK) compress(tail + at);
  for (let i: usize = 0; i < 8; i++) store<u32>(into + (i << 2), bswap(word(state, i)));
}
