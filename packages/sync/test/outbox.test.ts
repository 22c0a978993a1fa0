// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: over a slow link what is urgent goes first, what can wait gets its share all the same, no order that matters is broken, and nothing
 * grows without a bound.
 * Method: an outbox over a wire that takes what it is given, or when it is told to; time is a number.
 */
import { LIMITS, parseDeviceKey, parseIncarnationId } from "@ctxmesh/model";
import type { LinkClass } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LINK_CLASSES, LINK_SHARES } from "../src/link-class.ts";
import type { Queued } from "../src/link-class.ts";
import { Assembly } from "../src/link-parts.ts";
import { Outbox } from "../src/outbox.ts";

const TICK_MS = 50;
const KBIT_256 = 32_000;

/** A message that says its class and number, of so many bytes. */
const messageOf = (name: LinkClass, number: number, size: number): Uint8Array => {
  const bytes = new Uint8Array(Math.max(8, size));
  bytes[0] = LINK_CLASSES.indexOf(name);
  new DataView(bytes.buffer).setUint32(1, number);
  return bytes;
};

interface Arrival {
  readonly class: LinkClass;
  readonly number: number;
  readonly size: number;
  readonly atMs: number;
}

class Wire {
  nowMs = 1_000_000;
  readonly arrived: Arrival[] = [];
  bytes = 0;
  readonly outbox: Outbox;
  readonly #assembly = new Assembly();
  /** Sends that the channel has not taken. */
  readonly untaken: (() => void)[] = [];

  constructor(budget?: number, takes = true) {
    this.outbox = new Outbox({
      budget,
      now: () => this.nowMs,
      failed: (error) => {
        throw error;
      },
      send: async (bytes) => {
        this.#arrive(bytes);
        if (!takes) await new Promise<void>((resolve) => this.untaken.push(resolve));
      },
    });
  }

  #arrive(bytes: Uint8Array): void {
    this.bytes += bytes.length;
    const whole = this.#assembly.take(bytes);
    if (whole === undefined) return;
    const name = LINK_CLASSES[whole[0] ?? 0] ?? "control";
    const number = new DataView(whole.buffer, whole.byteOffset).getUint32(1);
    this.arrived.push({ class: name, number, size: whole.length, atMs: this.nowMs });
  }

  post(name: LinkClass, number: number, size: number): void {
    this.outbox.post(messageOf(name, number, size), { class: name });
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      this.nowMs += TICK_MS;
      this.outbox.pump();
      await settled();
    }
  }
}

/** Lets what was taken be noticed. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const message = fc.record({
  class: fc.constantFrom(...LINK_CLASSES),
  size: fc.oneof(fc.integer({ min: 8, max: 500 }), fc.integer({ min: 8, max: 60_000 })),
  waitMs: fc.nat({ max: 3 }).map((ticks) => ticks * TICK_MS),
});

test("everything arrives once and whole, in order within its class, and not faster than the budget", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(message, { maxLength: 30 }),
      fc.option(fc.integer({ min: 2_000, max: 500_000 }), { nil: undefined }),
      async (messages, budget) => {
        const wire = new Wire(budget);
        const beganMs = wire.nowMs;
        for (const [number, { class: name, size, waitMs }] of messages.entries()) {
          wire.post(name, number, size);
          if (waitMs > 0) await wire.pass(waitMs);
        }
        for (let rounds = 0; wire.outbox.bytes > 0 && rounds < 100; rounds++) {
          await wire.pass(10_000);
          if (budget === undefined) continue;
          // A quarter of a second is saved up, and one part is paid for afterwards.
          const most = (budget * (wire.nowMs - beganMs + 500)) / 1_000 + 1_100;
          expect(wire.bytes).toBeLessThanOrEqual(most);
        }
        for (const name of LINK_CLASSES) {
          const sent = messages.flatMap(({ class: of, size }, number) =>
            of === name ? [{ number, size: Math.max(8, size) }] : [],
          );
          const arrived = wire.arrived.filter(({ class: of }) => of === name);
          expect(arrived.map(({ number, size }) => ({ number, size }))).toEqual(sent);
        }
        expect(wire.outbox.waitingBytes).toBe(0);
        expect(wire.outbox.owedBytes).toBe(0);
      },
    ),
    { numRuns: 100 },
  );
});

describe("at 256 kbit/s with a full link", () => {
  test("an urgent message is there in less than a second, whatever its moment, while low ones take all the rest", async () => {
    const wire = new Wire(KBIT_256);
    const postedMs: number[] = [];
    let number = 0;
    for (let round = 0; round < 1_200; round++) {
      while (wire.outbox.hasRoom("low", 6_000)) wire.post("low", number++, 6_000);
      if (round % 7 === 0) {
        postedMs.push(wire.nowMs);
        wire.post("high", postedMs.length - 1, 400);
      }
      await wire.pass(TICK_MS);
    }
    const waits = wire.arrived
      .filter(({ class: of }) => of === "high")
      .map(({ number: n, atMs }) => atMs - (postedMs[n] ?? 0));
    expect(waits.length).toBeGreaterThan(160);
    expect(Math.max(...waits)).toBeLessThan(1_000);
    const budget = (KBIT_256 * 1_200 * TICK_MS) / 1_000;
    expect(wire.bytes).toBeGreaterThan(0.9 * budget);
  });

  test("what can wait gets its share however much is urgent", async () => {
    const wire = new Wire(KBIT_256);
    const posted = new Map<LinkClass, number>();
    for (let round = 0; round < 2_400; round++) {
      for (const name of LINK_CLASSES) {
        while (wire.outbox.report()[name].bytes < 20_000) {
          posted.set(name, (posted.get(name) ?? 0) + 1);
          wire.post(name, posted.get(name) ?? 0, 900);
        }
      }
      await wire.pass(TICK_MS);
    }
    const shareOf = (name: LinkClass): number =>
      wire.arrived.reduce((sum, { class: of, size }) => sum + (of === name ? size : 0), 0) /
      wire.bytes;
    expect(shareOf("high")).toBeGreaterThan(0.98 / 4);
    expect(shareOf("normal")).toBeGreaterThan(0.98 / 8);
    expect(shareOf("low")).toBeGreaterThan(0.98 / 16);
    expect(shareOf("control")).toBeGreaterThan(0.4);
    expect(Object.values(LINK_SHARES).every((share) => share > 0)).toBe(true);
  });
});

test("nothing stands at the head of its class for more than ten seconds while others are sent", async () => {
  // So slow that the share of a low message would take a minute.
  const wire = new Wire(100);
  let number = 0;
  // What is saved up goes first.
  wire.post("control", number++, 50);
  wire.post("low", 0, 900);
  for (let round = 0; round < 1_200; round++) {
    while (wire.outbox.report().control.bytes < 2_000) wire.post("control", number++, 50);
    await wire.pass(TICK_MS);
  }
  const low = wire.arrived.find(({ class: of }) => of === "low");
  expect(low).toBeDefined();
  expect((low?.atMs ?? 0) - 1_000_000).toBeLessThanOrEqual(LIMITS.linkStarvationMs + 2_000);
});

test("no more is handed to a channel than it may be ahead, so an urgent message waits for no more than that", async () => {
  const wire = new Wire(undefined, false);
  for (let i = 0; i < 200; i++) wire.post("low", i, 1_000);
  expect(wire.bytes).toBeLessThan(LIMITS.linkAheadBytes + 1_000);
  wire.post("high", 0, 400);
  while (!wire.arrived.some(({ class: of }) => of === "high")) {
    const taken = wire.untaken.shift();
    expect(taken).toBeDefined();
    taken?.();
    await settled();
  }
  expect(wire.bytes).toBeLessThan(LIMITS.linkAheadBytes + 3_000);
});

describe("a queue", () => {
  const replica = parseDeviceKey("11".repeat(32));
  const incarnation = parseIncarnationId("22".repeat(16));
  const push = (seq: number): Queued => ({
    class: "low",
    push: { replica, incarnation, seq, lane: "low" },
  });

  test("has room for two seconds of the budget in each class, and always for one message", () => {
    const wire = new Wire(KBIT_256);
    let number = 0;
    while (wire.outbox.hasRoom("low", 1_000)) wire.post("low", number++, 1_000);
    expect(wire.outbox.report().low.bytes).toBeGreaterThan(2 * KBIT_256 - 2_000);
    expect(wire.outbox.report().low.bytes).toBeLessThanOrEqual(2 * KBIT_256);
    expect(wire.outbox.hasRoom("high", 1_000)).toBe(true);
    expect(wire.outbox.hasRoom("normal", 200_000)).toBe(true);
  });

  test("puts an answer in the place of the pushes that it holds", async () => {
    const wire = new Wire(1_000, true);
    // What is saved up goes first.
    wire.post("control", 0, 400);
    for (let seq = 1; seq <= 5; seq++) wire.outbox.post(messageOf("low", seq, 500), push(seq));
    wire.outbox.postInstead(messageOf("low", 99, 900), { class: "low" }, [
      { replica, incarnation, seq: 4 },
    ]);
    expect(wire.outbox.report().low.messages).toBe(2);
    await wire.pass(20_000);
    expect(wire.arrived.map(({ number }) => number)).toEqual([0, 99, 5]);
    expect(wire.outbox.bytes).toBe(0);
  });

  test("is given up when it is closed, and who waited for it goes on", async () => {
    const wire = new Wire(1_000);
    for (let i = 0; i < 10; i++) wire.post("normal", i, 500);
    const flushed = wire.outbox.flushed();
    wire.outbox.close();
    await flushed;
    const { bytes } = wire;
    await wire.pass(60_000);
    expect(wire.bytes).toBe(bytes);
  });

  test("is sent at once when its budget is lifted", async () => {
    const wire = new Wire(1_000);
    for (let i = 0; i < 10; i++) wire.post("normal", i, 5_000);
    wire.outbox.lift();
    await wire.outbox.flushed();
    expect(wire.arrived).toHaveLength(10);
  });
});
