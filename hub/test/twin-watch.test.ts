// SPDX-License-Identifier: Apache-2.0
import { parseDeviceKey } from "@ctxmesh/model";
import {
  MemoryEngineData,
  createMemoryEngine,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { EngineLink } from "../src/engine-link.ts";
import { TwinWatch } from "../src/twin-watch.ts";
import { START_MS, spaceOf } from "./fixture.ts";

const LOOK_MS = 700;
const SECOND = 1_000;
const device = parseDeviceKey("ab".repeat(32));
const clock = createVirtualClock(START_MS);
const link = new EngineLink({
  engine: createMemoryEngine(new MemoryEngineData(), clock),
  space: spaceOf().id,
  clock,
  logger: silentLogger,
});

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const watch = (holder: string): TwinWatch => new TwinWatch(link, device, holder, silentLogger);

/** Lets time go by while those hubs look. */
async function pass(ms: number, ...watches: readonly TwinWatch[]): Promise<void> {
  for (let passed = 0; passed < ms; passed += LOOK_MS) {
    for (const one of watches) await one.look();
    clock.advance(LOOK_MS);
    vi.advanceTimersByTime(LOOK_MS);
  }
}

test("a hub that starts again after it was killed finds no twin", async () => {
  await pass(3 * SECOND, watch("killed"));
  const again = watch("again");
  await pass(20 * SECOND, again);
  expect(again.hasTwin).toBe(false);
  await again.stop();
});

test("of two hubs with one key, one says so, until the other has gone", async () => {
  const [one, two] = [watch("one"), watch("two")];
  await pass(30 * SECOND, one, two);
  expect([one.hasTwin, two.hasTwin]).toEqual([false, true]);
  await one.stop();
  await pass(2 * SECOND, two);
  expect(two.hasTwin).toBe(false);
  await two.stop();
});
