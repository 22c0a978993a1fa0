// SPDX-License-Identifier: Apache-2.0
/** Goal: quantities and key patterns mean what they say, and cost nothing before they are known to be small enough. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SCENARIO_LIMITS } from "../src/index.ts";
import { expandKeys } from "../src/scenario/keys.ts";
import { bandwidthOf, durationOf, percentOf, rateOf, showTime } from "../src/scenario/units.ts";

describe("quantities", () => {
  test("are numbers with a unit, and nothing else is", () => {
    expect([durationOf("1.5h"), durationOf("10m"), durationOf("-2s"), durationOf("7")]).toEqual([
      5_400_000,
      600_000,
      -2_000,
      undefined,
    ]);
    expect([rateOf("2/s"), rateOf("6/h"), rateOf("1/ms")]).toEqual([
      0.002,
      6 / 3_600_000,
      undefined,
    ]);
    expect([bandwidthOf("8 kbit/s"), bandwidthOf("1 Mbit/s"), bandwidthOf("1 MB/s")]).toEqual([
      1,
      125,
      undefined,
    ]);
    expect([percentOf("0.5%"), percentOf("0.5")]).toEqual([0.005, undefined]);
  });

  test("are shown to a few digits", () => {
    const shown = [
      0, 2.35, 18.2, 999.6, 2_450, 59_949, 59_960, 200_000, 3_599_600, 79_500_000, 86_399_000,
      90_000_000,
    ];
    expect(shown.map(showTime)).toEqual([
      "0 ms",
      "2.4 ms",
      "18 ms",
      "1 s",
      "2.5 s",
      "59.9 s",
      "1 min",
      "3 min 20 s",
      "1 h",
      "22 h 5 min",
      "1 d",
      "1 d 1 h",
    ]);
  });

  test("of time are what a shown one says, to its last digit", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 2e9, noNaN: true }), (ms) => {
        const parts = showTime(ms).matchAll(/([0-9.]+) (ms|s|min|h|d)/gu);
        const said = [...parts].reduce(
          (sum, [, count, unit]) => sum + (durationOf(`${count ?? ""}${unit ?? ""}`) ?? 0),
          0,
        );
        // A tenth of a millisecond is shown, and taken as a whole one.
        expect(Math.abs(said - ms)).toBeLessThanOrEqual(Math.max(0.56, ms * 0.05));
      }),
    );
  });
});

describe("a key pattern", () => {
  test("stands for each number and word once, in order", () => {
    expect(expandKeys("{a,b}/{1..2}/{agent}", 10)).toEqual([
      "a/1/{agent}",
      "a/2/{agent}",
      "b/1/{agent}",
      "b/2/{agent}",
    ]);
    expect(expandKeys("plain", 10)).toEqual(["plain"]);
  });

  test("stands for as many keys as the product of its parts, or none", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 4 }), (sizes) => {
        const keys = expandKeys(sizes.map((size) => `{1..${String(size)}}`).join("/"), 1_000);
        const product = sizes.reduce((all, size) => all * size, 1);
        expect("problem" in keys).toBe(product > 1_000);
        const { length } = "problem" in keys ? [] : keys;
        expect(length).toBe(product > 1_000 ? 0 : product);
      }),
    );
  });

  test("has a limit that is known before it is expanded", () => {
    expect(expandKeys("{1..999999999}", SCENARIO_LIMITS.keys)).toHaveProperty("problem");
  });
});
