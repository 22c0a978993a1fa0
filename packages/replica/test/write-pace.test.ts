// SPDX-License-Identifier: Apache-2.0
/** Writes in quick succession. Rules of the pace on a clock of its own; then what a replica makes of it. */
import { createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createSeededRandom, silentLogger } from "@ctxmesh/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { WritePace } from "../src/write-pace.ts";
import { DOC, START_MS, applied, space, us, verifier } from "./mesh.ts";

const WINDOW_MS = 10;

/** A timer of the test: `pass` moves the clock on, and ends what was waited for by then. */
function createTimer(clock: VirtualClock) {
  const waiting: { readonly dueMs: number; readonly end: () => void }[] = [];
  return {
    wait: async (ms: number): Promise<void> =>
      new Promise((end) => {
        waiting.push({ dueMs: clock.now() + ms, end });
      }),
    pass: async (ms: number): Promise<void> => {
      clock.advance(ms);
      for (const { dueMs, end } of waiting) if (dueMs <= clock.now()) end();
      // What follows without time passing, the in-memory store's writes among it.
      await new Promise(setImmediate);
    },
  };
}

/** Feeds a pace with writes that arrive at given times; returns how long each waited. */
async function waits(arrivals: readonly number[], windowMs = WINDOW_MS): Promise<number[]> {
  const clock = createVirtualClock(START_MS);
  const timer = createTimer(clock);
  const pace = new WritePace(clock, timer.wait, () => undefined);
  pace.open(windowMs);
  const [waited, queue]: [number[], number[]] = [[], []];
  const end = (arrivals.at(-1) ?? 0) + windowMs + 1;
  for (let ms = 0; ms <= end; ms++) {
    for (const at of arrivals) if (at === ms) queue.push(at);
    while (pace.isTurn({ length: queue.length, bytes: queue.length })) {
      pace.taken(queue.length);
      for (const at of queue.splice(0)) waited.push(ms - at);
    }
    await timer.pass(1);
  }
  return waited;
}

const never = async (): Promise<void> => new Promise(() => undefined);

/** A replica with a timer of the test, whose windows are open. */
async function openPaced() {
  const clock = createVirtualClock(START_MS);
  const timer = createTimer(clock);
  const replica = await Replica.open({
    store: createMemoryStore(),
    space,
    signer: us.signer,
    verifier,
    clock,
    random: createSeededRandom(1),
    logger: silentLogger,
    wait: timer.wait,
  });
  replica.gather({ normalMs: 0, lowMs: 0, briefMs: WINDOW_MS });
  return { replica, timer, batches: applied(replica) };
}

describe("the pace of writes", () => {
  test("no write waits longer than a window, whenever it comes, and each is taken", async () => {
    const arrivals = fc
      .array(fc.nat(25), { maxLength: 30 })
      .map((gaps) => gaps.reduce<number[]>((all, gap) => [...all, (all.at(-1) ?? 0) + gap], []));
    await fc.assert(
      fc.asyncProperty(arrivals, async (times) => {
        const waited = await waits(times);
        expect(waited).toHaveLength(times.length);
        expect(Math.max(0, ...waited)).toBeLessThanOrEqual(WINDOW_MS);
      }),
      { numRuns: 20 },
    );
  });

  test("a write that comes a window or more after the last one does not wait", async () => {
    const waited = await waits([0, 10, 20, 31, 45]);
    expect(waited).toStrictEqual([0, 0, 0, 0, 0]);
  });

  test("writes that come in quick succession are taken once in a window", async () => {
    const waited = await waits(Array.from({ length: 40 }, (_, i) => i));
    expect(waited.filter((ms) => ms === 0).length).toBeLessThanOrEqual(5);
  });

  test("where each write waits for the one before it, hardly any window is opened", () => {
    const clock = createVirtualClock(START_MS);
    let opened = 0;
    const pace = new WritePace(
      clock,
      async () => {
        opened++;
        return Promise.resolve();
      },
      () => undefined,
    );
    pace.open(WINDOW_MS);
    for (let i = 0; i < 10_000; i++) {
      clock.advance(1);
      // A window in which nothing comes, and which ends.
      if (!pace.isTurn({ length: 1, bytes: 100 })) pace.hurry();
      expect(pace.isTurn({ length: 1, bytes: 100 })).toBe(true);
      pace.taken(1);
    }
    expect(opened).toBeLessThan(50);
    expect(opened).toBeGreaterThan(30);
  });

  test("enough bytes for a batch do not wait, nor does anything while windows are closed, without a timer, or with a clock that was set back", () => {
    const clock = createVirtualClock(START_MS);
    const some = { length: 1, bytes: 100 };
    const paced = (wait?: typeof never, windowMs = WINDOW_MS): WritePace => {
      const pace = new WritePace(clock, wait, () => undefined);
      pace.open(windowMs);
      pace.taken(1);
      return pace;
    };
    expect(paced(never).isTurn(some)).toBe(false);
    expect(paced(never).isTurn({ length: 1, bytes: 20_000 })).toBe(true);
    expect(paced(never, 0).isTurn(some)).toBe(true);
    expect(paced(undefined).isTurn(some)).toBe(true);
    const pace = paced(never);
    clock.advance(-1_000);
    expect(pace.isTurn(some)).toBe(true);
  });
});

describe("a replica with a timer", () => {
  test("puts writes that follow each other closely into one batch, and acknowledges them with it", async () => {
    const { replica, timer, batches } = await openPaced();
    const receipts: Promise<unknown>[] = [];
    for (let i = 0; i < 8; i++) {
      receipts.push(replica.put(DOC, [{ key: `k${String(i)}`, value: i }]));
      await timer.pass(1);
    }
    // The first one alone; the others wait.
    expect(batches).toHaveLength(1);
    await timer.pass(WINDOW_MS);
    await Promise.all(receipts);
    expect(batches).toHaveLength(2);
    await replica.close();
  });

  test("takes what waits at once when something urgent comes, and when it is closed", async () => {
    const { replica, timer, batches } = await openPaced();
    const put = async (key: string, priority: "high" | "normal"): Promise<unknown> =>
      replica.put(DOC, [{ key, value: 1 }], { priority });
    await put("a", "normal");
    const waiting = put("b", "normal");
    await timer.pass(1);
    expect(batches).toHaveLength(1);
    await put("c", "high");
    await waiting;
    expect(batches).toHaveLength(3);
    await timer.pass(1);
    const last = put("d", "normal");
    await replica.close();
    await last;
    expect(batches).toHaveLength(4);
  });
});
