// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: replicas mean what was written, whatever is lost, repeated, reordered and restarted.
 * Method: random histories on real replicas (signatures stubbed, see scripts/oracle/stubs.ts), each compared
 * after every delivery with a model that keeps everything. That the model would see a defect is shown
 * by planting some.
 */
import { HlcClock, Resolvers, SlotStore, isNewer } from "@ctxmesh/facts";
import type { KeySlots, Resolver, Shown, Slot } from "@ctxmesh/facts";
import { afterEach, describe, expect, test, vi } from "vitest";
import { makeHistory } from "../scripts/oracle/history.ts";
import { problemOf, runHistories } from "../scripts/oracle/run.ts";
import type { Report } from "../scripts/oracle/run.ts";

const MINUTES = 60_000;

/** Every resolver is put through this before it is used. */
function plantResolver(change: (resolver: Resolver) => Partial<Resolver>): void {
  const resolverFor = Object.getOwnPropertyDescriptor(Resolvers.prototype, "for")
    ?.value as Resolvers["for"];
  vi.spyOn(Resolvers.prototype, "for").mockImplementation(function (this: Resolvers, key) {
    const resolver = resolverFor.call(this, key);
    return { ...resolver, ...change(resolver) };
  });
}

/** What every resolver shows is put through this. */
const plantShown = (change: (shown: Shown, slots: readonly Slot[]) => Partial<Shown>): void => {
  plantResolver((resolver) => ({
    show(slots) {
      const shown = resolver.show(slots);
      return shown === undefined ? undefined : { ...shown, ...change(shown, slots) };
    },
  }));
};

/** The slots of every key are put through this when they are read. */
function plantSlots(change: (slots: KeySlots) => Partial<KeySlots>): void {
  const slotsOf = Object.getOwnPropertyDescriptor(SlotStore.prototype, "slots")
    ?.value as SlotStore["slots"];
  vi.spyOn(SlotStore.prototype, "slots").mockImplementation(function (this: SlotStore, key) {
    const slots = slotsOf.call(this, key);
    return {
      ...slots,
      statements: slots.statements,
      retractions: slots.retractions,
      ...change(slots),
    };
  });
}

function plantApply(change: (apply: SlotStore["applyFrame"]) => SlotStore["applyFrame"]): void {
  const apply = Object.getOwnPropertyDescriptor(SlotStore.prototype, "applyFrame")
    ?.value as SlotStore["applyFrame"];
  vi.spyOn(SlotStore.prototype, "applyFrame").mockImplementation(function (
    this: SlotStore,
    chain,
    frame,
  ) {
    return change((id, delta) => apply.call(this, id, delta))(chain, frame);
  });
}

/** The order in which a store came to know the writers of a key. */
function sumByArrival(): void {
  const places = new WeakMap<Slot, number>();
  plantSlots(({ statements }) => {
    for (const [i, slot] of statements.entries()) places.set(slot, i);
    return {};
  });
  plantResolver((resolver) => ({
    show(slots) {
      const shown = resolver.show(slots);
      if (shown === undefined || resolver.name !== "sum") return shown;
      const inOrder = slots.toSorted((a, b) => (places.get(a) ?? 0) - (places.get(b) ?? 0));
      const numbers = inOrder.map(({ valueJson = "0" }) => JSON.parse(valueJson) as unknown);
      const sum = numbers.reduce<number>((a, b) => (typeof b === "number" ? a + b : a), 0);
      return { ...shown, valueJson: JSON.stringify(sum) };
    },
  }));
}

const DEFECTS: Readonly<Record<string, () => void>> = {
  "a resolver that prefers the older one": () => {
    plantShown((shown, slots) => {
      const [oldest] = slots.toSorted((a, b) => (isNewer(a, b) ? 1 : -1));
      return shown.merged || oldest === undefined
        ? {}
        : { winner: oldest, valueJson: oldest.valueJson };
    });
  },
  "a resolver that never sees a contest": () => {
    plantShown(() => ({ contested: false }));
  },
  "a dominance that forgets expiry": () => {
    plantResolver(({ name, dominates }) => ({
      dominates: (a, b) =>
        dominates(a, b) || (name === "latest" && isNewer(a, b) && a.confidence === b.confidence),
    }));
  },
  "a dominance that nothing has": () => {
    plantResolver(() => ({ dominates: () => false }));
  },
  "a sum by arrival order": sumByArrival,
  "a store that ignores retractions": () => {
    plantSlots(() => ({ retractions: [] }));
  },
  "a retraction that also rules out what comes later": () => {
    plantSlots(({ retractions }) => ({
      retractions: retractions.map((slot) => ({
        ...slot,
        ...(slot.retract === undefined
          ? {}
          : { retract: { ...slot.retract, upTo: Number.MAX_SAFE_INTEGER as Slot["hlc"] } }),
      })),
    }));
  },
  "a store that keeps one ruling per key": () => {
    plantSlots(({ retractions }) => ({ retractions: retractions.slice(0, 1) }));
  },
  "a ttl that is a millisecond too long": () => {
    plantSlots(({ statements }) => ({
      statements: statements.map((slot) =>
        slot.ttlMs === undefined ? slot : { ...slot, ttlMs: slot.ttlMs + 1 },
      ),
    }));
  },
  "an answer that is never renewed": () => {
    plantApply((apply) => (chain, frame) => {
      apply(chain, frame);
      return [];
    });
  },
  "a frame whose third record is lost": () => {
    plantApply(
      (apply) => (chain, frame) =>
        apply(chain, { ...frame, records: frame.records.filter((_, i) => i !== 2) }),
    );
  },
  "a clock that does not learn": () => {
    vi.spyOn(HlcClock.prototype, "observe").mockImplementation(() => undefined);
  },
  "a tag index that forgets": () => {
    vi.spyOn(SlotStore.prototype, "keysByTag").mockImplementation(() => []);
  },
};

describe("within 300 histories the oracle finds", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test.each(Object.entries(DEFECTS))(
    "%s",
    async (_, plant) => {
      plant();
      const { failure } = await runHistories(300, 1);
      expect(failure).toBeDefined();
      const { minimal, seed = 0 } = failure ?? {};
      expect(minimal?.problem).toContain("must be");
      expect(minimal?.history.steps.length).toBeLessThanOrEqual(8);
      // The seed brings the same failure again, and without the defect there is none.
      expect(await problemOf(makeHistory(seed))).toBe(failure?.problem);
      vi.restoreAllMocks();
      expect(await problemOf(makeHistory(seed))).toBeUndefined();
    },
    2 * MINUTES,
  );
});

test("a seed gives one history for ever, and the next another one", () => {
  expect(makeHistory(7)).toEqual(makeHistory(7));
  expect(makeHistory(8)).not.toEqual(makeHistory(7));
});

test(
  "3,000 random histories agree with the model after every delivery",
  async () => {
    const { failure, ...work }: Report = await runHistories(3_000, 1_000_000);
    expect(failure).toBeUndefined();
    expect(work.histories).toBe(3_000);
    expect(work.restarts).toBeGreaterThan(600);
    expect(work.comparisons).toBeGreaterThan(60_000);
  },
  10 * MINUTES,
);
