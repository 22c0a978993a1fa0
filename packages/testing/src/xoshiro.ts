// SPDX-License-Identifier: Apache-2.0
/** The generators behind the seeded random source. Not for keys. */

/** The next 64-bit output of SplitMix64 (Steele, Lea, Flood 2014), which spreads a seed over a larger state. */
function splitMix64(state: { value: bigint }): bigint {
  state.value = BigInt.asUintN(64, state.value + 0x9e3779b97f4a7c15n);
  let z = state.value;
  z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return z ^ (z >> 31n);
}

/** Four words of xoshiro128** state from a seed (taken modulo 2^64). */
export function stateFromSeed(seed: bigint): Uint32Array {
  const mix = { value: BigInt.asUintN(64, seed) };
  const halves = [splitMix64(mix), splitMix64(mix)];
  return Uint32Array.from(
    halves.flatMap((half) => [Number(half & 0xffffffffn), Number(half >> 32n)]),
  );
}

/** xoshiro128** 1.1 (Blackman and Vigna 2018): advances `state` (four words, not all zero), returns 32 bits. */
export function xoshiro128StarStar(state: Uint32Array): number {
  const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = state;
  const result = Math.imul(rotateLeft(Math.imul(s1, 5), 7), 9) >>> 0;
  const mixed2 = s2 ^ s0;
  const mixed3 = s3 ^ s1;
  state[0] = s0 ^ mixed3;
  state[1] = s1 ^ mixed2;
  state[2] = mixed2 ^ (s1 << 9);
  state[3] = rotateLeft(mixed3, 11);
  return result;
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
