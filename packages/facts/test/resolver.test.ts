// SPDX-License-Identifier: Apache-2.0
import { dominates, isExpired, isNewer, resolve } from "@ctxmesh/facts";
import type { Slot } from "@ctxmesh/facts";
import { hlcFromMs } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  AROUND_MS,
  deviceOf,
  incarnationOf,
  shuffled,
  slotArbitrary,
  slotsArbitrary,
} from "./arbitraries.ts";

const asOf = fc.integer({ min: AROUND_MS - 1, max: AROUND_MS + 12 });
const samePlace = (a: Slot, b: Slot): boolean =>
  a.hlc === b.hlc && a.writer === b.writer && a.incarnation === b.incarnation;

describe("isNewer is a total order of the candidates of a key", () => {
  test("of two different places exactly one is newer, of one place none", () => {
    fc.assert(
      fc.property(slotArbitrary, slotArbitrary, (a, b) => {
        expect(Number(isNewer(a, b)) + Number(isNewer(b, a))).toBe(samePlace(a, b) ? 0 : 1);
        expect(isNewer(a, a)).toBe(false);
      }),
    );
  });

  test("it is transitive", () => {
    fc.assert(
      fc.property(slotArbitrary, slotArbitrary, slotArbitrary, (a, b, c) => {
        expect(!isNewer(a, b) || !isNewer(b, c) || isNewer(a, c)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("dominates is a strict partial order", () => {
  test("nothing dominates itself, and no two dominate each other", () => {
    fc.assert(
      fc.property(slotArbitrary, slotArbitrary, (a, b) => {
        expect(dominates(a, a)).toBe(false);
        expect(dominates(a, b) && dominates(b, a)).toBe(false);
      }),
    );
  });

  test("it is transitive, and never against the order of time", () => {
    fc.assert(
      fc.property(slotArbitrary, slotArbitrary, slotArbitrary, (a, b, c) => {
        expect(!dominates(a, b) || !dominates(b, c) || dominates(a, c)).toBe(true);
        expect(!dominates(a, b) || isNewer(a, b)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("resolve", () => {
  test("does not depend on the order of the candidates", () => {
    const orders = slotsArbitrary.chain((slots) => fc.tuple(fc.constant(slots), shuffled(slots)));
    fc.assert(
      fc.property(orders, asOf, ([slots, other], ms) => {
        expect(resolve(other, ms)).toEqual(resolve(slots, ms));
      }),
    );
  });

  test("of its own undominated candidates is itself", () => {
    fc.assert(
      fc.property(slotsArbitrary, asOf, (slots, ms) => {
        const resolution = resolve(slots, ms);
        expect(resolve(resolution?.undominated ?? [], ms)).toEqual(resolution);
      }),
    );
  });

  test("does not change when any dominated live candidates, or any expired ones, are dropped", () => {
    const dropping = fc.array(fc.boolean(), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(slotsArbitrary, asOf, dropping, (slots, ms, drop) => {
        const live = slots.filter((slot) => !isExpired(slot, ms));
        const droppable = (slot: Slot): boolean =>
          isExpired(slot, ms) || live.some((other) => dominates(other, slot));
        const kept = slots.filter((slot, i) => !(drop[i] === true && droppable(slot)));
        expect(resolve(kept, ms)).toEqual(resolve(slots, ms));
      }),
      { numRuns: 1000 },
    );
  });

  test("agrees with the plain definition", () => {
    fc.assert(
      fc.property(slotsArbitrary, asOf, (slots, ms) => {
        const live = slots.filter((slot) => !isExpired(slot, ms));
        const undominated = live.filter((slot) => !live.some((other) => dominates(other, slot)));
        const newest = live.filter((slot) => !live.some((other) => isNewer(other, slot)));
        const resolution = resolve(slots, ms);
        expect(resolution?.winner).toBe(newest[0]);
        expect(new Set(resolution?.undominated)).toEqual(new Set(undominated));
        const writers = resolution?.undominated.map(({ writer }) => writer) ?? [];
        expect(writers).toEqual(writers.toSorted());
        const values = new Set(undominated.map(({ valueJson }) => valueJson));
        expect(resolution?.contested ?? false).toBe(values.size > 1);
      }),
      { numRuns: 1000 },
    );
  });

  test("leaves its input as it is", () => {
    fc.assert(
      fc.property(slotsArbitrary, asOf, (slots, ms) => {
        const before = [...slots];
        resolve(Object.freeze(slots), ms);
        expect(slots).toEqual(before);
      }),
    );
  });
});

const slot = (members: Partial<Slot>): Slot => ({
  writer: deviceOf(1),
  incarnation: incarnationOf(1),
  seq: 1,
  hlc: hlcFromMs(AROUND_MS),
  valueJson: "1",
  confidence: undefined,
  source: undefined,
  ttlMs: undefined,
  tags: undefined,
  basis: undefined,
  ...members,
});

describe("by example", () => {
  const later = hlcFromMs(AROUND_MS + 1);

  test("of plain writes the last one wins, uncontested", () => {
    const newer = slot({ writer: deviceOf(2), hlc: later, valueJson: "2" });
    expect(resolve([slot({}), newer], AROUND_MS)).toEqual({
      winner: newer,
      undominated: [newer],
      contested: false,
    });
  });

  test("a newer but less sure candidate shows, contested by the surer one", () => {
    const sure = slot({ confidence: 0.9 });
    const newer = slot({ writer: deviceOf(2), hlc: later, valueJson: "2", confidence: 0.5 });
    expect(resolve([newer, sure], AROUND_MS)).toEqual({
      winner: newer,
      undominated: [sure, newer],
      contested: true,
    });
  });

  test("candidates that say the same are not contested", () => {
    const newer = slot({ writer: deviceOf(2), hlc: later, confidence: 0.5 });
    expect(resolve([newer, slot({})], AROUND_MS)?.contested).toBe(false);
  });

  test("an absent confidence is that of a certain candidate", () => {
    const certain = slot({ writer: deviceOf(2), hlc: later, confidence: 1 });
    expect(dominates(certain, slot({}))).toBe(true);
    expect(dominates(slot({ writer: deviceOf(2), hlc: later }), slot({ confidence: 1 }))).toBe(
      true,
    );
  });

  test("a delete wins like a value, and is contested by a surer value", () => {
    const gone = slot({ writer: deviceOf(2), hlc: later, valueJson: undefined });
    expect(resolve([slot({}), gone], AROUND_MS)).toMatchObject({ winner: gone, contested: false });
    const unsure = { ...gone, confidence: 0.1 };
    expect(resolve([slot({}), unsure], AROUND_MS)).toMatchObject({ contested: true });
  });

  test("a candidate counts until its last millisecond, and not from its end on", () => {
    const brief = slot({ ttlMs: 10 });
    expect(resolve([brief], AROUND_MS + 9)?.winner).toBe(brief);
    expect(resolve([brief], AROUND_MS + 10)).toBeUndefined();
    expect(resolve([slot({ ttlMs: Number.MAX_SAFE_INTEGER })], AROUND_MS * 2)).toBeDefined();
  });
});
