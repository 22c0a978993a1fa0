// SPDX-License-Identifier: Apache-2.0
/** Goal: who wants much waits for itself, and nobody gets more than its share. */
import { LIMITS } from "@ctxmesh/model";
import { createVirtualClock, waitFor } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Tenants } from "../src/tenants.ts";

const QUANTUM = 16_384;
const bound = { timeoutMs: 10_000, what: "the turns" };

let clock: ReturnType<typeof createVirtualClock>;
let tenants: Tenants;
beforeEach(() => {
  clock = createVirtualClock(1_000);
  tenants = new Tenants(clock);
});
afterEach(() => tenants.close());

/** Who had a turn, in order, with what it cost. */
type Turns = (readonly [tenant: string, bytes: number])[];

function ask(turns: Turns, tenant: string, sizes: readonly number[]): Promise<unknown> {
  return Promise.all(
    sizes.map(async (bytes) => {
      await tenants.turn(tenant, bytes);
      turns.push([tenant, bytes]);
    }),
  );
}

test("while two wait, neither is ahead by more than a turn and a message", async () => {
  const sizes = fc.array(fc.integer({ min: 512, max: 60_000 }), { minLength: 1, maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(sizes, sizes, async (a, b) => {
      tenants = new Tenants(clock);
      const turns: Turns = [];
      await Promise.all([ask(turns, "a", a), ask(turns, "b", b)]);
      const served = { a: 0, b: 0 };
      const left = { a: a.length, b: b.length };
      for (const [tenant, bytes] of turns) {
        served[tenant as "a" | "b"] += bytes;
        left[tenant as "a" | "b"] -= 1;
        if (left.a === 0 || left.b === 0) break;
        expect(Math.abs(served.a - served.b)).toBeLessThanOrEqual(2 * (QUANTUM + 60_000));
      }
      for (const [name, expected] of [
        ["a", a],
        ["b", b],
      ] as const) {
        expect(turns.filter(([tenant]) => tenant === name).map(([, bytes]) => bytes)).toEqual(
          expected,
        );
      }
    }),
    { numRuns: 100 },
  );
});

test("one that sends a hundred times as much does not delay another by more than a share", async () => {
  const turns: Turns = [];
  const all = ask(
    turns,
    "large",
    Array.from({ length: 1_000 }, () => 8_192),
  );
  const small = ask(
    turns,
    "small",
    Array.from({ length: 10 }, () => 8_192),
  );
  await Promise.all([all, small]);
  const last = turns.findLastIndex(([tenant]) => tenant === "small");
  expect(last).toBeLessThanOrEqual(24);
});

/**
 * How long each message of one tenant takes from its coming to the end of the work for it, in virtual milliseconds, while another one has `crowd` connections
 * that send all the time, each message `size` bytes.
 */
async function timesBeside(crowd: number, size: number): Promise<number[]> {
  const [messages, everyMs, workMs] = [200, 7, 1];
  tenants = new Tenants(clock);
  const over = new AbortController();
  const send = async (name: string, bytes: number): Promise<void> => {
    await tenants.turn(name, bytes);
    clock.advance(workMs);
  };
  const others = Array.from({ length: crowd }, async () => {
    while (!over.signal.aborted) await send("large", size);
  });
  const times: number[] = [];
  let [asked, dueMs] = [0, clock.now()];
  while (times.length < messages) {
    // What has come while others were worked for is read from its socket when that pass is over.
    while (asked < messages && dueMs <= clock.now()) {
      const cameMs = dueMs;
      void send("small", 1).then(() => times.push(clock.now() - cameMs));
      asked += 1;
      dueMs += everyMs;
    }
    const before = clock.now();
    await new Promise(setImmediate);
    if (clock.now() === before) clock.advance(workMs);
  }
  over.abort();
  tenants.close();
  await Promise.allSettled(others);
  return times.toSorted((a, b) => a - b);
}

test.each([
  ["as fast as it is let", 8_192],
  ["far more than its rate", 65_536],
])(
  "whenever a message comes, it waits for a few of another tenant at most that sends %s",
  async (_, size) => {
    const [alone, beside] = [await timesBeside(0, size), await timesBeside(100, size)];
    expect(alone.at(-1)).toBe(1);
    // A pass that is under way, and one turn of the other.
    expect(beside.at(-1)).toBeLessThanOrEqual(8);
  },
);

test("past what it may send at once a tenant has its rate, and others do not wait for it", async () => {
  const turns: Turns = [];
  const size = 1_048_576;
  const count = LIMITS.tenantBurstBytes / size;
  const first = ask(
    turns,
    "a",
    Array.from({ length: count }, () => size),
  );
  await first;
  const second = ask(turns, "a", [size, size]);
  await ask(turns, "b", [size]);
  expect(turns.map(([tenant]) => tenant).slice(count)).toEqual(["b"]);
  clock.advance((size / LIMITS.tenantBytesPerSecond) * 1_000);
  await waitFor(() => turns.length === count + 2, bound);
  clock.advance((size / LIMITS.tenantBytesPerSecond) * 1_000);
  await second;
  expect(turns).toHaveLength(count + 3);
});

test("more than may wait is refused, and a stop refuses what waits", async () => {
  const waiting: Promise<void>[] = [];
  for (let i = 0; i < LIMITS.tenantQueuedBytes / 1_048_576; i++) {
    waiting.push(tenants.turn("a", 1_048_576));
  }
  await expect(tenants.turn("a", 1)).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  const other = tenants.turn("b", 1);
  tenants.close();
  for (const one of [...waiting, other, tenants.turn("b", 1)]) {
    await expect(one).rejects.toMatchObject({ code: "CLOSED" });
  }
});

test("connections are counted for each tenant until they end", () => {
  const ends = Array.from({ length: LIMITS.tenantConnections }, () => tenants.connect("a"));
  expect(() => tenants.connect("a")).toThrow(
    expect.objectContaining({ code: "LIMIT_EXCEEDED" }) as Error,
  );
  tenants.connect("b")();
  const [end] = ends;
  end?.();
  end?.();
  tenants.connect("a");
  expect(() => tenants.connect("a")).toThrow(/tenantConnections/u);
});

test("while nobody waits, messages go through before the event loop goes round, up to a turn's worth", async () => {
  const turns: Turns = [];
  const all = ask(turns, "a", Array<number>(40).fill(1_024));
  await Promise.resolve();
  await Promise.resolve();
  expect(turns).toHaveLength(QUANTUM / 1_024);
  await Promise.all([all, ask(turns, "b", [1_024])]);
  expect(turns.filter(([tenant]) => tenant === "a")).toHaveLength(40);
});

test("who has used up its bucket waits, however few others there are", async () => {
  const turns: Turns = [];
  const size = QUANTUM / 2;
  const count = LIMITS.tenantBurstBytes / size;
  await ask(turns, "a", Array<number>(count).fill(size));
  const late = ask(turns, "a", [size]);
  await new Promise((resolve) => setImmediate(resolve));
  expect(turns).toHaveLength(count);
  clock.advance(1_000);
  await late;
});
