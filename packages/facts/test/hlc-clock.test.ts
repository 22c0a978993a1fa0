// SPDX-License-Identifier: Apache-2.0
import { HlcClock } from "@ctxmesh/facts";
import { HLC_COUNTERS_PER_MS, hlcFromMs, hlcToMs } from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import { createVirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { AROUND_MS } from "./arbitraries.ts";

type Step = readonly ["jump" | "observe" | "tick", number];

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(fc.constant("jump" as const), fc.integer({ min: -100_000, max: 100_000 })),
  fc.tuple(fc.constant("observe" as const), fc.integer({ min: -200_000, max: 200_000 })),
  fc.tuple(fc.constant("tick" as const), fc.constant(0)),
);

test("a tick is above every earlier tick and every observed value, and never behind the wall clock", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.nat(1_000_000), (steps, last) => {
      const wall = createVirtualClock(AROUND_MS);
      const clock = new HlcClock(wall, last as Hlc);
      let highest = last;
      for (const [kind, n] of steps) {
        if (kind === "jump") wall.advance(n);
        if (kind === "observe") {
          const seen = hlcFromMs(AROUND_MS + n);
          clock.observe(seen);
          highest = Math.max(highest, seen);
        }
        const value = clock.tick();
        expect(value).toBeGreaterThan(highest);
        expect(value).toBeGreaterThanOrEqual(hlcFromMs(wall.now()));
        // Never further ahead than it must be.
        expect(value).toBe(Math.max(highest + 1, hlcFromMs(wall.now())));
        highest = value;
      }
    }),
  );
});

test("a millisecond's used-up counter borrows from the next millisecond", () => {
  const clock = new HlcClock(createVirtualClock(AROUND_MS), 0 as Hlc);
  const values = Array.from({ length: HLC_COUNTERS_PER_MS + 1 }, () => clock.tick());
  expect(values[0]).toBe(hlcFromMs(AROUND_MS));
  expect(hlcToMs(values[HLC_COUNTERS_PER_MS - 1] ?? (0 as Hlc))).toBe(AROUND_MS);
  expect(values.at(-1)).toBe(hlcFromMs(AROUND_MS + 1));
});

test("a restart with a wall clock that went back stays ahead of the last known value", () => {
  const last = hlcFromMs(AROUND_MS);
  const clock = new HlcClock(createVirtualClock(AROUND_MS - 86_400_000), last);
  expect(clock.tick()).toBe(last + 1);
});

test("observing an older value changes nothing", () => {
  const clock = new HlcClock(createVirtualClock(AROUND_MS), 0 as Hlc);
  const value = clock.tick();
  clock.observe((value - 5) as Hlc);
  expect(clock.tick()).toBe(value + 1);
});

test("a value's distance from the wall clock is in milliseconds, positive ahead", () => {
  const clock = new HlcClock(createVirtualClock(AROUND_MS), 0 as Hlc);
  expect(clock.aheadMs(hlcFromMs(AROUND_MS + 1500))).toBe(1500);
  expect(clock.aheadMs(hlcFromMs(AROUND_MS - 1))).toBe(-1);
});
