// SPDX-License-Identifier: Apache-2.0
import { Scheduler } from "@ctxmesh/simulator";
import * as fc from "fast-check";
import { expect, test } from "vitest";

test("events happen by their time, and in the order of their making where that is the same", async () => {
  const delays = fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 200 });
  await fc.assert(
    fc.asyncProperty(delays, async (all) => {
      const scheduler = new Scheduler(1_000);
      const happened: (readonly [number, number])[] = [];
      for (const [i, delay] of all.entries()) {
        scheduler.after(delay, () => happened.push([scheduler.nowMs, i]));
      }
      await scheduler.runUntil(20, () => false);
      const expected = all.map((delay, i) => [delay, i] as const);
      expect(happened).toEqual(expected.toSorted(([a, i], [b, j]) => a - b || i - j));
    }),
    { numRuns: 50 },
  );
});

test("all that an event sets off comes to rest before the next one", async () => {
  const scheduler = new Scheduler(10);
  const log: string[] = [];
  scheduler.after(1, () => {
    void (async () => {
      for (let i = 0; i < 100; i++) await Promise.resolve();
      log.push("drained");
    })();
  });
  scheduler.after(1, () => log.push("next"));
  await scheduler.runUntil(1, () => false);
  expect(log).toEqual(["drained", "next"]);
});

test("time stands where it was told to, whether events were left or not", async () => {
  const scheduler = new Scheduler(10);
  scheduler.after(50, () => undefined);
  await scheduler.runUntil(20, () => false);
  expect([scheduler.nowMs, scheduler.events]).toEqual([20, 0]);
});

test("a run that goes round in circles is ended, at one instant and in all", async () => {
  for (const [delay, message] of [
    [0, /^livelock/u],
    [1, /^more than 200000 events/u],
  ] as const) {
    const scheduler = new Scheduler(200_000);
    const again = (): void => {
      scheduler.after(delay, again);
    };
    again();
    await expect(scheduler.runUntil(1e9, () => false)).rejects.toThrow(message);
  }
});
