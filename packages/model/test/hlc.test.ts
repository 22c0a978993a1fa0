// SPDX-License-Identifier: Apache-2.0
import { HLC_COUNTERS_PER_MS, HLC_EPOCH_MS, hlcFromMs, hlcToMs, isHlc } from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import * as fc from "fast-check";
import { expect, test } from "vitest";

/** The last millisecond whose values are all safe integers. */
const LAST_MS = HLC_EPOCH_MS + Math.floor(Number.MAX_SAFE_INTEGER / HLC_COUNTERS_PER_MS) - 1;
const millisecond = fc.integer({ min: HLC_EPOCH_MS, max: LAST_MS });
const counter = fc.integer({ min: 0, max: HLC_COUNTERS_PER_MS - 1 });

test("every counter value of a millisecond reads back as that millisecond", () => {
  fc.assert(
    fc.property(millisecond, counter, (ms, count) => {
      const hlc = (hlcFromMs(ms) + count) as Hlc;
      expect(isHlc(hlc)).toBe(true);
      expect(hlcToMs(hlc)).toBe(ms);
    }),
  );
});

test("values order as their milliseconds, then as their counters", () => {
  fc.assert(
    fc.property(millisecond, counter, millisecond, counter, (ms1, count1, ms2, count2) => {
      const before = ms1 < ms2 || (ms1 === ms2 && count1 < count2);
      expect(hlcFromMs(ms1) + count1 < hlcFromMs(ms2) + count2).toBe(before);
    }),
  );
});

test("fractions of a millisecond do not count", () => {
  expect(hlcFromMs(HLC_EPOCH_MS + 7.999)).toBe(hlcFromMs(HLC_EPOCH_MS + 7));
});

test("a clock before the epoch of 2020 gives the first value", () => {
  expect(hlcFromMs(0)).toBe(0);
  expect(hlcFromMs(-1e15)).toBe(0);
  expect(hlcFromMs(HLC_EPOCH_MS)).toBe(0);
});

test("values last until the year 2089", () => {
  expect(new Date(LAST_MS).getUTCFullYear()).toBeGreaterThanOrEqual(2089);
});

test.each([[-1], [0.5], [Number.NaN], [Infinity], [2 ** 53], ["1"], [1n], [null], [undefined]])(
  "%s is no clock value",
  (value) => {
    expect(isHlc(value)).toBe(false);
  },
);
