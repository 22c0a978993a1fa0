// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the percentiles are those of the newest samples.
 * Method: against a model that keeps every sample.
 */
import { LatencyWindow } from "@ctxmesh/service";
import * as fc from "fast-check";
import { expect, test } from "vitest";

const WINDOW = 8_192;

function modelOf(samples: readonly number[]) {
  const sorted = samples
    .slice(-WINDOW)
    .map((ms) => Math.max(0, ms))
    .toSorted((a, b) => a - b);
  /** Nearest rank: the smallest sample that at least this share of all does not exceed. */
  const at = (share: number): number =>
    sorted.find((_, i) => (i + 1) / sorted.length >= share) ?? 0;
  return { count: samples.length, p50Ms: at(0.5), p95Ms: at(0.95), maxMs: sorted.at(-1) ?? 0 };
}

function summaryOf(samples: readonly number[]) {
  const window = new LatencyWindow();
  for (const ms of samples) window.add(ms);
  return window.summary();
}

test("an empty window is all zeros", () => {
  expect(summaryOf([])).toEqual({ count: 0, p50Ms: 0, p95Ms: 0, maxMs: 0 });
});

test("few samples, negative ones among them, are summarized as the model does", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -5, max: 1_000 }), { maxLength: 60 }), (samples) => {
      expect(summaryOf(samples)).toEqual(modelOf(samples));
    }),
    { numRuns: 500 },
  );
});

test("past the window's size the oldest samples no longer count, but are counted", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: WINDOW - 2, max: 2 * WINDOW + 2 }),
      fc.integer({ min: 1, max: 9_973 }),
      (length, stride) => {
        const samples = Array.from({ length }, (_, i) => (i * stride) % 10_007);
        expect(summaryOf(samples)).toEqual(modelOf(samples));
      },
    ),
    { numRuns: 10 },
  );
});
