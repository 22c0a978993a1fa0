// SPDX-License-Identifier: Apache-2.0
import type { Slot } from "@ctxmesh/facts";
import type { Hlc } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { ChainLog } from "../src/chain-log.ts";
import { sharedChain } from "../src/chain-names.ts";
import { deviceOf, incarnationOf, shuffled } from "./arbitraries.ts";

const idOf = (n: number) => ({ writer: deviceOf(n), incarnation: incarnationOf(1) });
const slotOf = (n: number, key: string, seq: number): Slot => ({
  ...idOf(n),
  key,
  seq,
  hlc: seq as Hlc,
  valueJson: "1",
});

describe("what a chain is known to cover", () => {
  test("is the union of the intervals, with the part from 0 and the rest apart", () => {
    const interval = fc
      .tuple(fc.nat(20), fc.nat(5))
      .map(([from, length]) => [from, from + length] as const);
    fc.assert(
      fc.property(fc.array(interval), (intervals) => {
        const log = new ChainLog(sharedChain(idOf(1)));
        const covered = new Set<number>();
        for (const [from, to] of intervals) {
          log.cover(from, to);
          for (let seq = from + 1; seq <= to; seq++) covered.add(seq);
        }
        let known = 0;
        while (covered.has(known + 1)) known++;
        expect(log.known).toBe(known);
        const beyond = log.islands.flatMap(({ from, to }) =>
          Array.from({ length: to - from }, (_, i) => from + 1 + i),
        );
        expect(beyond).toEqual([...covered].filter((seq) => seq > known).toSorted((a, b) => a - b));
        for (const [i, { from }] of log.islands.entries()) {
          expect(from).toBeGreaterThan(log.islands[i - 1]?.to ?? known);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

test("the live slots above a seq come in ascending order, whatever the order they came in and went", () => {
  const seqs = fc.uniqueArray(fc.integer({ min: 1, max: 80 }), { maxLength: 80 });
  const cases = seqs.chain((order) =>
    fc.tuple(fc.constant(order), fc.subarray(order).chain(shuffled), fc.nat(80)),
  );
  fc.assert(
    fc.property(cases, ([order, gone, after]) => {
      const log = new ChainLog(sharedChain(idOf(1)));
      const slots = new Map(order.map((seq) => [seq, slotOf(1, "k", seq)]));
      for (const slot of slots.values()) log.add(slot);
      for (const seq of gone) log.remove(slots.get(seq) ?? slotOf(1, "k", seq));
      const expected = order
        .filter((seq) => seq > after && !gone.includes(seq))
        .toSorted((a, b) => a - b);
      expect(log.newerThan(after).map(({ seq }) => seq)).toEqual(expected);
      expect(log.live).toBe(order.length - gone.length);
    }),
  );
});

test("slots that come in falling order are put in no place until somebody asks for them", () => {
  const log = new ChainLog(sharedChain(idOf(1)));
  const moves = [vi.spyOn(Array.prototype, "splice"), vi.spyOn(Array.prototype, "toSorted")];
  for (let seq = 1_000; seq > 0; seq--) log.add(slotOf(1, "k", seq));
  for (let seq = 1; seq <= 500; seq++) log.remove(slotOf(1, "k", seq));
  const counts = moves.map(({ mock }) => mock.calls.length);
  vi.restoreAllMocks();
  expect(counts).toEqual([0, 0]);
});

test("a frame behind thousands of gaps looks at a few of them", () => {
  const log = new ChainLog(sharedChain(idOf(1)));
  for (let i = 1; i <= 4_096; i++) log.cover(4 * i, 4 * i + 1);
  const looks = vi.fn<() => void>();
  for (const island of log.islands) {
    const { from } = island;
    Object.defineProperty(island, "from", { get: () => (looks(), from) });
  }
  log.cover(4 * 2_048 + 2, 4 * 2_048 + 3);
  expect(looks.mock.calls.length).toBeLessThan(32);
  expect(log.islands).toHaveLength(4_097);
});

/** How many places a log holds, live or not: the length of the list that it looks through. */
function placesOf(log: ChainLog): number {
  const slice = vi.spyOn(Array.prototype, "slice");
  log.newerThan(0);
  const [list] = slice.mock.contexts as unknown[][];
  slice.mockRestore();
  return list?.length ?? 0;
}

test("after 200,000 overwrites of 100 keys by 10 writers the logs hold at most twice the live slots, and 32", () => {
  const logs = Array.from({ length: 10 }, (_, n) => new ChainLog(sharedChain(idOf(n))));
  const current = new Map<string, Slot>();
  for (let i = 0; i < 200_000; i++) {
    const n = i % 10;
    const slot = slotOf(n, `k${String((i * 31 + Math.floor(i / 100)) % 100)}`, i + 1);
    const place = `${slot.writer}${slot.key}`;
    const replaced = current.get(place);
    logs[n]?.add(slot);
    current.set(place, slot);
    if (replaced !== undefined) logs[n]?.remove(replaced);
  }
  expect(current.size).toBe(1000);
  for (const log of logs) {
    expect(log.live).toBe(100);
    expect(placesOf(log)).toBeGreaterThanOrEqual(log.live);
    expect(placesOf(log)).toBeLessThanOrEqual(2 * log.live + 32);
  }
});
