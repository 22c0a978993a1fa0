// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "vitest";
import { stateFromSeed, xoshiro128StarStar } from "../src/xoshiro.ts";

test("xoshiro128** gives the published sequence from the state 1, 2, 3, 4 (rand_xoshiro crate)", () => {
  const state = Uint32Array.of(1, 2, 3, 4);
  expect(Array.from({ length: 10 }, () => xoshiro128StarStar(state))).toEqual([
    11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597,
    4258142804,
  ]);
});

const word = (low: number, high: number): bigint => (BigInt(high) << 32n) | BigInt(low);

test("SplitMix64 gives its published first outputs from the seed 1234567 (Rosetta Code)", () => {
  const [a = 0, b = 0, c = 0, d = 0] = stateFromSeed(1234567n);
  expect([word(a, b), word(c, d)]).toEqual([6457827717110365317n, 3203168211198807973n]);
});
