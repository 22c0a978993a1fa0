// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { expect, test } from "vitest";
import { ScanView, compareKeys } from "../src/scan-view.ts";
import type { Entry } from "../src/scan-view.ts";

const keys = fc.uint8Array({ minLength: 1, maxLength: 3 });

test("keys compare as IndexedDB and LevelDB compare them: by bytes, a prefix first", () => {
  fc.assert(
    fc.property(keys, keys, (a, b) => {
      expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(a, b));
    }),
  );
});

/** Entries in order, of which the first of equal keys counts. */
const entriesOf = (map: ReadonlyMap<string, number>): readonly Entry[] =>
  [...map]
    .map(([key, value]) => [Buffer.from(key, "hex"), Uint8Array.of(value)] as const)
    .toSorted(([a], [b]) => compareKeys(a, b));

test("a view read in pages is what was there when it was made, whatever is written between them", () => {
  const hexKeys = fc
    .uint8Array({ minLength: 1, maxLength: 2 })
    .map((key) => Buffer.from(key).toString("hex"));
  const writes = fc.array(fc.tuple(hexKeys, fc.option(fc.nat(255), { nil: undefined })), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(hexKeys, fc.nat(255)), { maxLength: 40 }),
      fc.array(writes, { maxLength: 12 }),
      fc.integer({ min: 1, max: 5 }),
      (before, rounds, size) => {
        const database = new Map(before);
        const expected = entriesOf(database);
        const end = Uint8Array.of(255, 255, 255);
        const view = new ScanView(new Uint8Array(), end);
        const seen: Entry[] = [];
        let from = new Uint8Array();
        for (let round = 0; ; round++) {
          for (const [key, value] of rounds[round] ?? []) {
            const bytes = Buffer.from(key, "hex");
            const old = database.get(key);
            view.keep(bytes, old === undefined ? undefined : Uint8Array.of(old));
            if (value === undefined) database.delete(key);
            else database.set(key, value);
          }
          const found = entriesOf(database)
            .filter(([key]) => compareKeys(from, key) <= 0)
            .slice(0, size);
          const last = found.length < size ? undefined : found.at(-1)?.[0];
          const to = last === undefined ? end : Uint8Array.of(...last, 0);
          seen.push(...view.page(found, from, to));
          if (last === undefined) break;
          from = to;
        }
        expect(seen.map(([key, value]) => [...key, "is", ...value])).toEqual(
          expected.map(([key, value]) => [...key, "is", ...value]),
        );
      },
    ),
  );
});
