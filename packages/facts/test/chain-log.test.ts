// SPDX-License-Identifier: Apache-2.0
import type { Slot } from "@ctxmesh/facts";
import type { Hlc } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ChainLog } from "../src/chain-log.ts";
import { deviceOf, incarnationOf } from "./arbitraries.ts";

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
        const log = new ChainLog(idOf(1));
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

test("the live slots above a seq come in ascending order, whatever the order they came in", () => {
  const seqs = fc.uniqueArray(fc.integer({ min: 1, max: 50 }));
  fc.assert(
    fc.property(seqs, fc.nat(50), fc.func(fc.boolean()), (order, after, isLive) => {
      const log = new ChainLog(idOf(1));
      for (const seq of order) log.add(slotOf(1, "k", seq));
      const live = (slot: Slot): boolean => isLive(slot.seq);
      const expected = order.filter((seq) => seq > after && isLive(seq)).toSorted((a, b) => a - b);
      expect(log.newerThan(after, live).map(({ seq }) => seq)).toEqual(expected);
    }),
  );
});

test("after 200,000 overwrites of 100 keys by 10 writers the logs hold at most twice the live slots, and 32", () => {
  const logs = Array.from({ length: 10 }, (_, n) => new ChainLog(idOf(n)));
  const current = new Map<string, Slot>();
  const isLive = (slot: Slot): boolean => current.get(`${slot.writer}${slot.key}`) === slot;
  for (let i = 0; i < 200_000; i++) {
    const n = (i * 7) % 10;
    const slot = slotOf(n, `k${String((i * 31) % 100)}`, i + 1);
    const place = `${slot.writer}${slot.key}`;
    const replaced = current.has(place);
    logs[n]?.add(slot);
    current.set(place, slot);
    if (replaced) logs[n]?.remove(isLive);
  }
  expect(logs.reduce((sum, { live }) => sum + live, 0)).toBe(current.size);
  for (const log of logs) {
    let held = 0;
    log.newerThan(0, () => ++held > 0);
    expect(held).toBeGreaterThanOrEqual(log.live);
    expect(held).toBeLessThanOrEqual(2 * log.live + 32);
  }
});
