// SPDX-License-Identifier: Apache-2.0
/** Goal: one direction of a link keeps order, loses nothing in the end, and takes the time that its settings say. */
import { LinkDirection, PERFECT_LINK, SEGMENT_BYTES, createSeededRandom } from "@ctxmesh/testing";
import type { LinkSettings, Segment } from "@ctxmesh/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

/** A virtual end of all waiting. */
const LATE = 1e9;

const settings: fc.Arbitrary<LinkSettings> = fc.record({
  delayMs: fc.nat(500),
  jitterMs: fc.nat(100),
  bytesPerSecond: fc.constantFrom(Number.POSITIVE_INFINITY, 1_000, 32_000, 1_000_000),
  queueBytes: fc.integer({ min: 1_400, max: 100_000 }),
  loss: fc.constantFrom(0, 0.02, 0.3),
  blocked: fc.constant(false),
});

/** What three connections send, after pauses. */
const sends: fc.Arbitrary<readonly { flow: number; size: number; afterMs: number }[]> = fc.array(
  fc.record({ flow: fc.nat(2), size: fc.integer({ min: 1, max: 9_000 }), afterMs: fc.nat(300) }),
  { maxLength: 30 },
);

const direction = (changes: Partial<LinkSettings>, seed = 1): LinkDirection =>
  new LinkDirection({ ...PERFECT_LINK, ...changes }, createSeededRandom(seed));

/** Moves a clock from event to event until a time; all that arrived, with the times. */
function runTo(link: LinkDirection, until: number): { at: number; segment: Segment }[] {
  const arrived: { at: number; segment: Segment }[] = [];
  for (let at = link.nextAt(); at !== undefined && at <= until; at = link.nextAt()) {
    for (const segment of link.arrivals(at)) arrived.push({ at, segment });
  }
  return arrived;
}

/** All bytes of a connection, as one. */
const joined = (segments: readonly Segment[], flow: number): Buffer =>
  Buffer.concat(segments.filter((one) => one.flow === flow).map(({ bytes }) => bytes));

/** Sends through a link; what was pushed and what arrived. */
function play(
  link: LinkDirection,
  plan: readonly { flow: number; size: number; afterMs: number }[],
) {
  const pushed: { at: number; segment: Segment }[] = [];
  const arrived: { at: number; segment: Segment }[] = [];
  let now = 0;
  for (const [i, { flow, size, afterMs }] of plan.entries()) {
    arrived.push(...runTo(link, now + afterMs));
    now += afterMs;
    const bytes = Buffer.alloc(size, i);
    pushed.push({ at: now, segment: { flow, kind: "data", bytes } });
    link.push(flow, bytes, now);
  }
  arrived.push(...runTo(link, LATE));
  return { pushed, arrived };
}

describe("a direction of a link", () => {
  test("brings all that was sent, each connection's in order, and nothing before its time", () => {
    fc.assert(
      fc.property(settings, sends, fc.nat(), (chosen, plan, seed) => {
        const link = direction(chosen, seed);
        const { pushed, arrived } = play(link, plan);
        const came = arrived.map(({ segment }) => segment);
        for (const flow of [0, 1, 2]) {
          const sent = pushed.map(({ segment }) => segment);
          expect(joined(came, flow).equals(joined(sent, flow))).toBe(true);
        }
        expect(came.every(({ bytes }) => bytes.length <= SEGMENT_BYTES)).toBe(true);
        const times = arrived.map(({ at }) => at);
        expect(times).toEqual(times.toSorted((a, b) => a - b));
        const earliest = (pushed[0]?.at ?? 0) + chosen.delayMs;
        expect(times.every((at) => at >= earliest)).toBe(true);
        const total = plan.reduce((sum, { size }) => sum + size, 0);
        expect(link.counters).toMatchObject({ bytes: total, queuedBytes: 0 });
        expect(link.isFull).toBe(false);
      }),
    );
  });

  test("lets no more pass in any time than its bandwidth", () => {
    fc.assert(
      fc.property(sends, fc.constantFrom(1_000, 32_000), (plan, bytesPerSecond) => {
        const { arrived } = play(direction({ bytesPerSecond, delayMs: 30 }), plan);
        for (const [i, from] of arrived.entries()) {
          let bytes = 0;
          for (const { at, segment } of arrived.slice(i + 1)) {
            bytes += segment.bytes.length;
            // A float's rounding.
            expect(bytes).toBeLessThanOrEqual(((at - from.at) * bytesPerSecond) / 1_000 + 0.01);
          }
        }
      }),
    );
  });

  test("does the same with the same seed, and something else with another", () => {
    const plan = Array.from({ length: 200 }, (_, i) => ({ flow: i % 3, size: 1_400, afterMs: 5 }));
    const run = (seed: number) =>
      play(direction({ loss: 0.1, jitterMs: 20, delayMs: 50 }, seed), plan).arrived.map(
        ({ at, segment }) => [at, segment.flow],
      );
    expect(run(7)).toEqual(run(7));
    expect(run(7)).not.toEqual(run(8));
  });

  test("stalls a connection for 200 ms or two delays at a loss, twice that at the next, and no other one", () => {
    // 2 % of 50,000 segments; each is of a connection of its own, so that none waits for another.
    const link = direction({ loss: 0.02, delayMs: 50 });
    for (let flow = 0; flow < 50_000; flow++) link.push(flow, Buffer.alloc(1), 0);
    const counts = new Map<number, number>();
    for (const { at } of runTo(link, LATE)) counts.set(at, (counts.get(at) ?? 0) + 1);
    expect([...counts.keys()]).toEqual([50, 250, 650, 1_450].slice(0, counts.size));
    expect(counts.get(250)).toBeGreaterThan(800);
    expect(counts.get(250)).toBeLessThan(1_200);
    const lost = [...counts.values()].reduce((sum, count, losses) => sum + count * losses, 0);
    expect(link.counters.lost).toBe(lost);

    const slow = direction({ loss: 0.5, delayMs: 300 }, 3);
    slow.push(1, Buffer.alloc(200 * SEGMENT_BYTES), 0);
    const times = new Set(runTo(slow, LATE).map(({ at }) => at));
    expect([...times].every((at) => (at - 300) % 600 === 0)).toBe(true);
    expect(times.size).toBeGreaterThan(1);
  });

  test("is full while its queue is, and says when to look again", () => {
    const link = direction({ bytesPerSecond: 1_400, queueBytes: 2_800 });
    link.push(1, Buffer.alloc(SEGMENT_BYTES), 0);
    expect(link.isFull).toBe(false);
    link.push(1, Buffer.alloc(2 * SEGMENT_BYTES), 0);
    expect(link.isFull).toBe(true);
    expect(link.nextAt()).toBe(1_000);
    expect(link.arrivals(1_000)).toHaveLength(1);
    expect(link.isFull).toBe(false);
  });

  test("brings nothing while it is blocked, and everything once it is not", () => {
    const link = direction({ delayMs: 100 });
    link.push(1, Buffer.from("under way"), 0);
    link.set({ blocked: true }, 50);
    link.push(1, Buffer.from(", waiting"), 60);
    link.pushStep(1, "end", 70);
    expect(link.nextAt()).toBeUndefined();
    expect(link.arrivals(LATE)).toEqual([]);
    link.set({ blocked: false }, 1_000);
    expect(link.arrivals(1_099)).toEqual([]);
    const arrived = link.arrivals(1_100);
    expect(joined(arrived, 1).toString()).toBe("under way, waiting");
    expect(arrived.at(-1)?.kind).toBe("end");
  });

  test("takes new settings for what waits already", () => {
    const link = direction({ bytesPerSecond: 1_400 });
    link.push(1, Buffer.alloc(100 * SEGMENT_BYTES), 0);
    link.set({ bytesPerSecond: Number.POSITIVE_INFINITY }, 10);
    expect(runTo(link, LATE).at(-1)?.at).toBe(1_000);
  });

  test("forgets a connection alone", () => {
    const link = direction({ bytesPerSecond: 1_000, delayMs: 10 });
    for (const flow of [1, 2, 1, 2]) link.push(flow, Buffer.from([flow]), 0);
    link.forget(1);
    expect(
      joined(
        runTo(link, LATE).map(({ segment }) => segment),
        2,
      ),
    ).toEqual(Buffer.from([2, 2]));
    expect(link.counters).toMatchObject({ bytes: 2, queuedBytes: 0 });
  });

  test.each([
    { loss: 0.6 },
    { loss: -1 },
    { delayMs: -1 },
    { bytesPerSecond: 0 },
    { queueBytes: 0 },
    { jitterMs: Number.NaN },
  ])("refuses %o", (changes) => {
    expect(() => direction(changes)).toThrow(RangeError);
    expect(() => {
      direction({}).set(changes, 0);
    }).toThrow(RangeError);
  });
});
