// SPDX-License-Identifier: Apache-2.0
/** Goal: a map by chain is immutable for whoever holds any version of it, and a change of it costs what it changes. */
import * as fc from "fast-check";
import { expect, test, vi } from "vitest";
import { entriesOf, entryOf, noChains, withEntries } from "../src/chain-map.ts";
import type { ChainMap } from "../src/chain-map.ts";

/** Which version is changed, and how. */
const change = fc.record({
  of: fc.nat(),
  entries: fc.array(fc.tuple(fc.constantFrom("a", "b", "c", "d", "e"), fc.nat(9)), {
    maxLength: 4,
  }),
  /** The version that is read next. */
  reads: fc.nat(),
});

test("every version has its own entries, whichever are changed and read, and in whatever order", () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const versions: ChainMap<number>[] = [noChains];
      const models: ReadonlyMap<string, number>[] = [new Map()];
      const compare = (i: number): void => {
        const [map, model] = [versions[i] ?? noChains, models[i] ?? new Map<string, number>()];
        expect(new Map(entriesOf(map))).toEqual(model);
        expect(map.size).toBe(model.size);
        for (const chain of ["a", "e", "z"]) expect(entryOf(map, chain)).toBe(model.get(chain));
      };
      for (const { of, entries, reads } of changes) {
        const i = of % versions.length;
        versions.push(withEntries(versions[i] ?? noChains, entries));
        models.push(new Map([...(models[i] ?? []), ...entries]));
        compare(reads % versions.length);
      }
      for (const i of versions.keys()) compare(i);
      expect([...entriesOf(noChains)]).toEqual([]);
    }),
  );
});

const name = (n: number): string => String(n).padStart(96, "0");

test("a change of some chains sets no others, however many there are", () => {
  let map = withEntries<number>(
    noChains,
    Array.from({ length: 65_536 }, (_, n) => [name(n), 0] as const),
  );
  const set = vi.spyOn(Map.prototype, "set");
  for (let round = 1; round <= 10; round++) {
    map = withEntries(
      map,
      Array.from({ length: 65 }, (_, n) => [name(n), round] as const),
    );
  }
  const sets = set.mock.calls.length;
  set.mockRestore();
  expect(sets).toBeLessThanOrEqual(10 * 2 * 65);
  expect(entryOf(map, name(64))).toBe(10);
});
