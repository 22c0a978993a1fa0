// SPDX-License-Identifier: Apache-2.0
/** Goal: what is here and waits for time, an act or room is not asked for again, and what was let go of is. */
import { LIMITS } from "@ctxmesh/model";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { HELD_FOR_MS, HeldPositions } from "../src/held-positions.ts";
import { head } from "./kit.ts";

test("knows of a run of positions that were held one after another, in any order, and of no others", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.nat(20),
      fc.boolean(),
      (from, more, backwards) => {
        const held = new HeldPositions();
        const seqs = Array.from({ length: more + 1 }, (_, i) => from + i);
        for (const seq of backwards ? seqs.toReversed() : seqs) held.held(head(1, seq), from, 0);
        for (let seq = 0; seq < 60; seq++) {
          expect(held.has(head(1, seq), 1)).toBe(seq >= from && seq <= from + more);
          expect(held.has(head(2, seq), 1)).toBe(false);
        }
      },
    ),
  );
});

test("forgets after some minutes, unless the batch comes again and is still here", () => {
  const held = new HeldPositions();
  held.held(head(1, 5), 5, 0);
  expect(held.has(head(1, 5), HELD_FOR_MS - 1)).toBe(true);
  expect(held.has(head(1, 5), HELD_FOR_MS)).toBe(false);
  held.again(head(1, 6), HELD_FOR_MS);
  expect(held.has(head(1, 5), HELD_FOR_MS)).toBe(false);
  held.again(head(1, 5), HELD_FOR_MS);
  expect(held.has(head(1, 5), 2 * HELD_FOR_MS - 1)).toBe(true);
  // A clock that was set back.
  expect(held.has(head(1, 5), -1)).toBe(false);
});

test("keeps the lowest run, which is what is asked for next, until its chain's head is past it", () => {
  const held = new HeldPositions();
  held.held(head(1, 5), 5, 0);
  held.held(head(1, 9), 5, 0);
  expect([5, 9].map((seq) => held.has(head(1, seq), 1))).toEqual([true, false]);
  held.held(head(1, 9), 6, 0);
  expect([5, 9].map((seq) => held.has(head(1, seq), 1))).toEqual([false, true]);
});

test("remembers a bounded number of chains, and makes room of those that are forgotten anyway", () => {
  const held = new HeldPositions();
  for (let n = 1; n <= LIMITS.heldBatches; n++) held.held(head(n, 1), 1, 0);
  const late = head(LIMITS.heldBatches + 1, 1);
  held.held(late, 1, 1);
  expect(held.has(late, 1)).toBe(false);
  held.held(late, 1, HELD_FOR_MS);
  expect(held.has(late, HELD_FOR_MS)).toBe(true);
});
