// SPDX-License-Identifier: Apache-2.0
/** Goal: idle sessions are compared seldom, one at a time, and none of them is forgotten. */
import { COMPARE_AT_LEAST_EVERY_MS, COMPARE_EVERY_MS } from "@ctxmesh/sync";
import { createSeededRandom } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Schedule } from "../src/schedule.ts";

const STEP_MS = 1_000;

/** Runs a schedule over sessions that nobody else compares; returns when each was compared. */
function follow(count: number, forMs: number, seed: number): readonly (readonly number[])[] {
  const schedule = new Schedule(createSeededRandom(seed), 0);
  const sessions = Array.from({ length: count }, () => ({ comparedMs: 0 }));
  const times: number[][] = sessions.map(() => []);
  for (let nowMs = 0; nowMs <= forMs; nowMs += STEP_MS) {
    for (const session of schedule.due(sessions, nowMs)) {
      session.comparedMs = nowMs;
      times[sessions.indexOf(session)]?.push(nowMs);
    }
  }
  return times;
}

test("every thirty seconds one is compared, and each within five minutes, however many there are", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.nat(1_000), (count, seed) => {
      const forMs = 1_800_000;
      const times = follow(count, forMs, seed);
      for (const own of times) {
        const gaps = [0, ...own].map((ms, i, all) => (all[i + 1] ?? forMs) - ms);
        expect(Math.max(...gaps)).toBeLessThanOrEqual(COMPARE_AT_LEAST_EVERY_MS);
      }
      const all = times.flat().length;
      expect(all).toBeGreaterThanOrEqual(Math.floor(forMs / COMPARE_EVERY_MS) - 1);
      expect(all).toBeLessThanOrEqual(
        forMs / COMPARE_EVERY_MS + (count * forMs) / COMPARE_AT_LEAST_EVERY_MS,
      );
    }),
    { numRuns: 50 },
  );
});

test("which one it is, is drawn: over an hour each of four has its share", () => {
  const counts = follow(4, 3_600_000, 7).map(({ length }) => length);
  expect(Math.min(...counts)).toBeGreaterThan(15);
});

test("one that the other end has just compared is left out", () => {
  const schedule = new Schedule(createSeededRandom(1), 0);
  const fresh = { comparedMs: COMPARE_EVERY_MS - 1 };
  expect(schedule.due([fresh], COMPARE_EVERY_MS).size).toBe(0);
});

test("a clock that jumps either way compares at once and then goes on as before", () => {
  for (const jumpMs of [-86_400_000, 86_400_000]) {
    const schedule = new Schedule(createSeededRandom(1), 0);
    const session = { comparedMs: 0 };
    expect(schedule.due([session], jumpMs).size).toBe(1);
    session.comparedMs = jumpMs;
    expect(schedule.due([session], jumpMs + STEP_MS).size).toBe(0);
    expect(schedule.due([session], jumpMs + COMPARE_EVERY_MS).size).toBe(1);
  }
});
