// SPDX-License-Identifier: Apache-2.0
/** Goal: what a report is made of agrees with naive models: quantiles, windows, what is missing, what is superseded. */
import { parseDeviceKey, parseIncarnationId } from "@ctxmesh/model";
import type { DeviceKey } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Dice } from "../src/index.ts";
import { Samples } from "../src/report/stats.ts";
import { KeyStatements, WrittenChains } from "../src/scenario/chains.ts";
import { mergeWindows, shareDown, windowsOf } from "../src/scenario/windows.ts";

const deviceOf = (i: number): DeviceKey => parseDeviceKey(String(i).padStart(64, "0"));
const INCARNATION = parseIncarnationId("0".repeat(32));
const NOBODY: ReadonlySet<DeviceKey> = new Set();

const isIn = (
  all: readonly { readonly fromMs: number; readonly toMs: number }[],
  ms: number,
): boolean => all.some(({ fromMs, toMs }) => fromMs <= ms && ms < toMs);

describe("samples", () => {
  const weighted = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 1, max: 5 })),
    {
      minLength: 1,
      maxLength: 200,
    },
  );

  test("have the quantiles of a list with each value as often as it weighs", () => {
    fc.assert(
      fc.property(weighted, fc.constantFrom(0.01, 0.5, 0.95, 1), (pairs, share) => {
        const samples = new Samples();
        for (const [value, weight] of pairs) samples.add(value, weight);
        const list = pairs
          .flatMap(([value, weight]) => Array.from({ length: weight }, () => value))
          .toSorted((a, b) => a - b);
        expect(samples.quantiles([share])).toEqual([list[Math.ceil(share * list.length) - 1]]);
      }),
    );
  });

  test("without any have no figures", () => {
    expect(new Samples().spread()).toEqual({ count: 0 });
  });
});

describe("windows", () => {
  const windows = fc.array(
    fc.tuple(fc.nat({ max: 90 }), fc.integer({ min: 1, max: 30 })).map(([fromMs, length]) => ({
      fromMs,
      toMs: fromMs + length,
    })),
  );
  const END = 100;

  test("merged cover the same moments, are in order and don't touch", () => {
    fc.assert(
      fc.property(windows, (given) => {
        const merged = mergeWindows(given, END);
        for (let ms = 0; ms < END; ms++) expect(isIn(merged, ms)).toBe(isIn(given, ms));
        for (const [i, { fromMs }] of merged.entries()) {
          expect(fromMs).toBeGreaterThan(merged[i - 1]?.toMs ?? -1);
        }
      }),
    );
  });

  test("take the share of each part that a count of its moments takes", () => {
    fc.assert(
      fc.property(windows, fc.constantFrom(1, 4, 10, 100), (given, parts) => {
        const merged = mergeWindows(given, END);
        const counted = Array.from({ length: parts }, (_, part) => {
          const width = END / parts;
          const moments = Array.from({ length: width }, (_unused, i) => part * width + i);
          return moments.filter((ms) => isIn(given, ms)).length / width;
        });
        const shares = shareDown(merged, END, parts);
        for (const [i, share] of shares.entries()) expect(share).toBeCloseTo(counted[i] ?? 0, 9);
      }),
    );
  });

  test("of a rule that comes again begin a period apart, and before its end", () => {
    const again = { everyMs: 10_000, untilMs: 60_000, staggered: true };
    const found = windowsOf([{ fromMs: 5_000, forMs: 3_000, again }], new Dice("x"), 3_600_000);
    const starts = found.map(({ fromMs }) => fromMs);
    expect(starts.length).toBeGreaterThanOrEqual(5);
    expect(starts[0]).toBeGreaterThanOrEqual(5_000);
    expect(starts.at(-1)).toBeLessThan(60_000);
    for (const [i, start] of starts.entries())
      expect(start - (starts[0] ?? 0)).toBeCloseTo(i * 10_000, 6);
    for (const { fromMs, toMs } of found) expect(toMs - fromMs).toBeCloseTo(3_000, 6);
  });
});

describe("what was written", () => {
  /** Batches of three devices in the order of time, and how far a node has come with each. */
  const history = fc.tuple(
    fc.array(fc.tuple(fc.nat({ max: 2 }), fc.integer({ min: 1, max: 3 })), { maxLength: 40 }),
    fc.array(fc.nat({ max: 20 }), { minLength: 3, maxLength: 3 }),
    fc.subarray([0, 1, 2]),
  );

  test("is missing at a node as far as the node has not come", () => {
    fc.assert(
      fc.property(history, ([batches, heads, revoked]) => {
        const chains = new WrittenChains();
        const seqs = [0, 0, 0];
        let expected = 0;
        for (const [atMs, [device, facts]] of batches.entries()) {
          const seq = (seqs[device] ?? 0) + 1;
          seqs[device] = seq;
          const birth = { atMs, facts, seq, writer: device, arrived: new Uint8Array(1) };
          chains.add(deviceOf(device), INCARNATION, birth);
          if (!revoked.includes(device) && seq > (heads[device] ?? 0)) expected += facts;
        }
        const node = { seqOf: (device: DeviceKey) => heads[Number(device)] ?? 0 };
        expect(chains.missing(node, new Set(revoked.map(deviceOf)))).toBe(expected);
      }),
    );
  });

  test("supersedes what a node has from the first statement on that is newer than all it has", () => {
    fc.assert(
      fc.property(history, ([batches, heads, revoked]) => {
        const statements = new KeyStatements();
        const seqs = [0, 0, 0];
        const all = batches.map(([device], atMs) => {
          const seq = (seqs[device] ?? 0) + 1;
          seqs[device] = seq;
          statements.add(deviceOf(device), INCARNATION, seq, atMs);
          return { device, atMs, isHere: seq <= (heads[device] ?? 0) };
        });
        const newest = all.findLastIndex(({ isHere }) => isHere);
        const first = all.find(({ device }, i) => i > newest && !revoked.includes(device));
        const node = { seqOf: (device: DeviceKey) => heads[Number(device)] ?? 0 };
        expect(statements.supersededMs(node, new Set(revoked.map(deviceOf)))).toBe(first?.atMs);
      }),
    );
  });

  test("is missing nowhere when a node has come further than was told", () => {
    const chains = new WrittenChains();
    chains.add(deviceOf(0), INCARNATION, {
      atMs: 0,
      facts: 2,
      seq: 3,
      writer: 0,
      arrived: new Uint8Array(1),
    });
    expect(chains.missing({ seqOf: () => 9 }, NOBODY)).toBe(0);
    expect(chains.missing({ seqOf: () => 2 }, NOBODY)).toBe(2);
  });
});
