// SPDX-License-Identifier: Apache-2.0
import { counting, expiryMs, isExpired, isNewer, resolve, undominatedOf } from "@ctxmesh/facts";
import type { Resolver, Slot } from "@ctxmesh/facts";
import { hlcFromMs } from "@ctxmesh/model";
import type { Hlc, JsonValue } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  AROUND_MS,
  EVERY_RESOLVER,
  deviceOf,
  incarnationOf,
  resolverOf,
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

const live = (slots: readonly Slot[], ms: number): readonly Slot[] => counting(slots, [], ms);

describe.each(EVERY_RESOLVER)("%s", (_, resolver) => {
  test("dominance is a strict partial order along time, and only over what expires no later", () => {
    fc.assert(
      fc.property(slotArbitrary, slotArbitrary, slotArbitrary, (a, b, c) => {
        const { dominates } = resolver;
        expect(dominates(a, a)).toBe(false);
        expect(dominates(a, b) && dominates(b, a)).toBe(false);
        expect(!dominates(a, b) || !dominates(b, c) || dominates(a, c)).toBe(true);
        expect(!dominates(a, b) || (isNewer(a, b) && expiryMs(a) >= expiryMs(b))).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  test("the answer does not depend on the order of the candidates", () => {
    const orders = slotsArbitrary.chain((slots) => fc.tuple(fc.constant(slots), shuffled(slots)));
    fc.assert(
      fc.property(orders, asOf, ([slots, other], ms) => {
        expect(resolve(resolver, live(other, ms))).toEqual(resolve(resolver, live(slots, ms)));
      }),
    );
  });

  test("the undominated are those that no other one dominates, in writer order", () => {
    fc.assert(
      fc.property(slotsArbitrary, (slots) => {
        const expected = slots.filter((slot) => !slots.some((o) => resolver.dominates(o, slot)));
        const byWriter = expected.toSorted((a, b) => (a.writer < b.writer ? -1 : 1));
        expect(undominatedOf(resolver, slots)).toEqual(byWriter);
      }),
      { numRuns: 500 },
    );
  });

  test("dropping any dominated candidates at any time, and any expired ones, changes no answer then or later", () => {
    const dropping = fc.array(fc.boolean(), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(slotsArbitrary, asOf, fc.nat(12), dropping, (slots, ms, laterBy, drop) => {
        const alive = live(slots, ms);
        const droppable = (slot: Slot): boolean =>
          isExpired(slot, ms) || alive.some((other) => resolver.dominates(other, slot));
        const kept = slots.filter((slot, i) => !(drop[i] === true && droppable(slot)));
        for (const at of [ms, ms + laterBy]) {
          expect(resolve(resolver, live(kept, at))).toEqual(resolve(resolver, live(slots, at)));
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("what shows is JSON or nothing, and the winner is one of the undominated", () => {
    fc.assert(
      fc.property(slotsArbitrary, (slots) => {
        const shown = resolve(resolver, Object.freeze(slots));
        if (shown === undefined) return;
        expect(shown.undominated).toContain(shown.winner);
        expect(shown.valueJson === undefined).toBe(shown.winner.valueJson === undefined);
        const { valueJson = "null" } = shown;
        expect(JSON.stringify(JSON.parse(valueJson))).toBe(valueJson);
      }),
    );
  });

  test("of one candidate it shows that one, uncontested", () => {
    fc.assert(
      fc.property(slotArbitrary, (only) => {
        const shown = resolve(resolver, [only]);
        expect(shown?.winner ?? only).toBe(only);
        expect(shown?.contested ?? false).toBe(false);
      }),
    );
  });
});

const slot = (members: Partial<Slot> = {}): Slot => ({
  key: "k",
  writer: deviceOf(1),
  incarnation: incarnationOf(1),
  seq: 1,
  hlc: hlcFromMs(AROUND_MS),
  valueJson: "1",
  ...members,
});
const tombstone = (members: Partial<Slot> = {}): Slot => {
  const { valueJson: _, ...rest } = slot(members);
  return rest;
};
/** Slots of writers 1, 2, ... each a millisecond after the one before. */
const row = (...values: readonly (JsonValue | Partial<Slot>)[]): Slot[] =>
  values.map((value, i) =>
    slot({
      writer: deviceOf(i + 1),
      hlc: hlcFromMs(AROUND_MS + i),
      ...(typeof value === "object" && value !== null && !Array.isArray(value)
        ? (value as Partial<Slot>)
        : { valueJson: JSON.stringify(value) }),
    }),
  );
const shows = (resolver: Resolver, slots: readonly Slot[]): unknown => {
  const json = resolve(resolver, slots)?.valueJson;
  return json === undefined ? undefined : (JSON.parse(json) as unknown);
};

const later = hlcFromMs(AROUND_MS + 1);

describe("latest", () => {
  const latest = resolverOf({ resolver: "latest" });

  test("of plain writes the last one wins, uncontested", () => {
    const newer = slot({ writer: deviceOf(2), hlc: later, valueJson: "2" });
    expect(resolve(latest, [slot(), newer])).toEqual({
      valueJson: "2",
      winner: newer,
      undominated: [newer],
      contested: false,
      merged: false,
    });
  });

  test("a newer but less sure candidate shows, contested by the surer one", () => {
    const sure = slot({ confidence: 0.9 });
    const newer = slot({ writer: deviceOf(2), hlc: later, valueJson: "2", confidence: 0.5 });
    expect(resolve(latest, [newer, sure])).toMatchObject({
      winner: newer,
      undominated: [sure, newer],
      contested: true,
    });
  });

  test("candidates that say the same are not contested", () => {
    const newer = slot({ writer: deviceOf(2), hlc: later, confidence: 0.5 });
    expect(resolve(latest, [newer, slot()])?.contested).toBe(false);
  });

  test("an absent confidence is that of a certain candidate", () => {
    const certain = slot({ writer: deviceOf(2), hlc: later, confidence: 1 });
    const plain = slot({ writer: deviceOf(2), hlc: later });
    expect(latest.dominates(certain, slot())).toBe(true);
    expect(latest.dominates(plain, slot({ confidence: 1 }))).toBe(true);
  });

  test("a delete wins like a value, and is contested by a surer value", () => {
    const gone = tombstone({ writer: deviceOf(2), hlc: later });
    expect(resolve(latest, [slot(), gone])).toMatchObject({ winner: gone, contested: false });
    const unsure = { ...gone, confidence: 0.1 };
    expect(resolve(latest, [slot(), unsure])).toMatchObject({ contested: true });
  });

  test("a short-lived candidate hides an older one only while it lives", () => {
    const brief = slot({ writer: deviceOf(2), hlc: later, ttlMs: 5, valueJson: "2" });
    const both = [slot(), brief];
    expect(shows(latest, live(both, AROUND_MS + 5))).toBe(2);
    expect(shows(latest, live(both, AROUND_MS + 6))).toBe(1);
  });
});

describe("confidence", () => {
  const plain = resolverOf({ resolver: "confidence" });
  const fading = resolverOf({ resolver: "confidence", halfLifeMs: 10 });

  test("shows the surest, and the newest of equally sure ones", () => {
    expect(
      shows(plain, row({ valueJson: "1", confidence: 0.9 }, { valueJson: "2", confidence: 0.5 })),
    ).toBe(1);
    expect(
      shows(plain, row({ valueJson: "1", confidence: 0.5 }, { valueJson: "2", confidence: 0.5 })),
    ).toBe(2);
  });

  test("with a half-life counts c * 2^(-age / h), and so answers the same at every time", () => {
    const confidence = fc.constantFrom(0, 0.1, 0.25, 0.5, 0.7, 1);
    const pair = fc.record({ old: confidence, fresh: confidence, between: fc.nat(50) });
    fc.assert(
      fc.property(pair, fc.nat(100), ({ old, fresh, between }, age) => {
        const a = slot({ confidence: old, valueJson: '"old"' });
        const hlc = (hlcFromMs(AROUND_MS + between) + 1) as Hlc;
        const b = slot({ writer: deviceOf(2), hlc, confidence: fresh, valueJson: '"new"' });
        const weighed = [old * 2 ** (-(age + between) / 10), fresh * 2 ** (-age / 10)] as const;
        // Where both round to about the same, either may be called the surer one.
        fc.pre(old === fresh || Math.abs(weighed[0] - weighed[1]) > 1e-12);
        expect(shows(fading, [a, b])).toBe(weighed[0] > weighed[1] ? "old" : "new");
      }),
      { numRuns: 1000 },
    );
  });

  test("with a half-life, exactly one half-life later half the confidence is as good, and the newer wins", () => {
    for (const halfLifeMs of [1, 7, 1000, 86_400_000]) {
      const resolver = resolverOf({ resolver: "confidence", halfLifeMs });
      const old = slot({ confidence: 1, valueJson: "1" });
      const at = (ms: number): Slot =>
        slot({
          writer: deviceOf(2),
          hlc: hlcFromMs(AROUND_MS + ms),
          confidence: 0.5,
          valueJson: "2",
        });
      expect(shows(resolver, [old, at(halfLifeMs)])).toBe(2);
      expect(shows(resolver, [old, at(halfLifeMs - 1)])).toBe(1);
    }
  });

  test("a candidate of no confidence at all never beats another one by age", () => {
    const none = slot({ writer: deviceOf(2), hlc: later, confidence: 0, valueJson: "2" });
    expect(shows(fading, [slot({ confidence: Number.MIN_VALUE }), none])).toBe(1);
    expect(shows(fading, [slot({ confidence: 0 }), none])).toBe(2);
  });
});

const by = (model: string, valueJson: string): Partial<Slot> => ({ source: { model }, valueJson });

test("priority shows the best source of the list, then the newest; a source not named comes last", () => {
  const resolver = resolverOf({ resolver: "priority", sources: ["good", "fair"] });
  expect(shows(resolver, row(by("good", "1"), by("fair", "2"), by("x", "3"), 4))).toBe(1);
  expect(shows(resolver, row(by("fair", "1"), by("x", "2"), by("fair", "3"), 4))).toBe(3);
  expect(shows(resolver, row(by("x", "1"), 2))).toBe(2);
});

describe("max and min", () => {
  const [max, min] = [resolverOf({ resolver: "max" }), resolverOf({ resolver: "min" })];

  test("show the largest and the smallest number; what is no number loses to any", () => {
    const slots = row(3, -1, 7, "text", 2, null);
    expect([shows(max, slots), shows(min, slots)]).toEqual([7, -1]);
    expect([shows(max, row("a", -1e308)), shows(min, row("a", 1e308))]).toEqual([-1e308, 1e308]);
    expect([shows(max, row("a", "b")), shows(min, row("a", "b"))]).toEqual(["b", "b"]);
  });

  test("0 and -0 are the same number, and of the same numbers the newest wins", () => {
    const slots = [
      slot({ valueJson: "0" }),
      slot({ writer: deviceOf(2), hlc: later, valueJson: "-0" }),
    ];
    expect(resolve(max, slots)?.winner).toBe(slots[1]);
    expect(resolve(min, slots)?.winner).toBe(slots[1]);
  });

  test("a delete takes away its writer's own number only", () => {
    const slots = [...row(3), tombstone({ writer: deviceOf(2), hlc: later })];
    expect([shows(max, slots), shows(min, slots)]).toEqual([3, 3]);
    expect(resolve(max, slots.slice(1))).toBeUndefined();
  });
});

describe("sum, union and all", () => {
  const sum = resolverOf({ resolver: "sum" });
  const union = resolverOf({ resolver: "union" });
  const all = resolverOf({ resolver: "all" });

  test("sum adds every writer's number, the same in any order", () => {
    const numbers = fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), {
      minLength: 1,
      maxLength: 8,
    });
    const both = numbers.chain((list) => fc.tuple(fc.constant(list), shuffled(list)));
    fc.assert(
      fc.property(both, ([list, other]) => {
        const total = shows(sum, row(...list));
        expect(shows(sum, row(...other))).toBe(total);
        expect(Number.isFinite(total)).toBe(true);
      }),
    );
    expect(shows(sum, row(1, 2, 3.5, "x", [4], null))).toBe(6.5);
    expect(shows(sum, row("x"))).toBe(0);
  });

  test("a sum beyond the range of numbers stays at its end", () => {
    expect(shows(sum, row(1e308, 1e308))).toBe(Number.MAX_VALUE);
    expect(shows(sum, row(-1e308, -1e308, -1e308))).toBe(-Number.MAX_VALUE);
    expect(shows(sum, row(1e308, -1e308, 1e308))).toBe(1e308);
    expect(Object.is(shows(sum, [slot({ valueJson: "-0" })]), 0)).toBe(true);
  });

  test("union shows each value once, arrays as their elements, in the order of their texts", () => {
    expect(shows(union, row(["b", "a"], "a", 2, [[1]], { valueJson: '{"x":1}' }))).toEqual([
      "a",
      "b",
      2,
      [1],
      { x: 1 },
    ]);
    expect(shows(union, row([]))).toEqual([]);
  });

  test("all shows every value, newest first, and is contested where they differ", () => {
    expect(resolve(all, row(1, "x", 1))).toMatchObject({
      valueJson: '[1,"x",1]',
      contested: true,
      merged: true,
    });
    expect(resolve(all, row(1, 1))?.contested).toBe(false);
  });

  test.each([
    ["sum", sum, 1],
    ["union", union, [1]],
    ["all", all, [1]],
  ])("a delete takes its writer's value out of %s, and out of nothing else", (_, resolver, one) => {
    const slots = [...row(1), tombstone({ writer: deviceOf(2), hlc: later })];
    expect(shows(resolver, slots)).toEqual(one);
    expect(resolve(resolver, slots.slice(1))).toBeUndefined();
  });
});

describe("counting", () => {
  test("a candidate counts until its last millisecond, and not from its end on", () => {
    const brief = slot({ ttlMs: 10 });
    expect(live([brief], AROUND_MS + 9)).toEqual([brief]);
    expect(live([brief], AROUND_MS + 10)).toEqual([]);
    expect(live([slot({ ttlMs: Number.MAX_SAFE_INTEGER })], AROUND_MS * 2)).toHaveLength(1);
  });

  test("a retraction rules out its writer's statements up to its time, of any ruler, and no others", () => {
    const ruling = fc.record({
      ruler: fc.nat(3),
      writer: fc.integer({ min: 1, max: 8 }),
      ms: fc.nat(6),
    });
    fc.assert(
      fc.property(
        slotsArbitrary,
        fc.array(ruling, { maxLength: 5 }),
        asOf,
        (slots, rulings, ms) => {
          const retractions = rulings.map(({ ruler, writer, ms: upTo }) =>
            tombstone({
              writer: deviceOf(100 + ruler),
              retract: { writer: deviceOf(writer), upTo: hlcFromMs(AROUND_MS + upTo), reason: "r" },
            }),
          );
          const expected = live(slots, ms).filter(({ writer, hlc }) =>
            rulings.every(
              (r) => deviceOf(r.writer) !== writer || hlc > hlcFromMs(AROUND_MS + r.ms),
            ),
          );
          expect(counting(slots, retractions, ms)).toEqual(expected);
        },
      ),
      { numRuns: 500 },
    );
  });
});

test("a key of 20,000 writers resolves, under every resolver", () => {
  const many = Array.from({ length: 20_000 }, (_, i) =>
    slot({
      writer: deviceOf(i + 1),
      hlc: hlcFromMs(AROUND_MS + ((i * 7919) % 20_000)),
      valueJson: String(i % 100),
      confidence: (i % 10) / 10,
    }),
  );
  for (const [, resolver] of EVERY_RESOLVER) {
    expect(resolve(resolver, many)?.undominated.length).toBeGreaterThan(0);
  }
});
