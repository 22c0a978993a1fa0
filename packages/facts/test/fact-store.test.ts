// SPDX-License-Identifier: Apache-2.0
import { FactStore, decodeFrame, encodeFrame, isNewer, resolve } from "@ctxmesh/facts";
import type { FactRecord, Slot } from "@ctxmesh/facts";
import { hlcFromMs } from "@ctxmesh/model";
import type { DeviceKey, Hlc, IncarnationId } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AROUND_MS, deviceOf, incarnationOf, shuffled } from "./arbitraries.ts";

interface Write {
  readonly writer: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly record: FactRecord;
}

const KEYS = ["a", "ab", "abc", "b", "é", "__proto__"] as const;

/** Writes of a few devices; one incarnation never uses an HLC twice, as its clock rises. */
const writesArbitrary: fc.Arbitrary<Write[]> = fc
  .array(
    fc.record({
      writer: fc.integer({ min: 1, max: 4 }),
      incarnation: fc.integer({ min: 1, max: 2 }),
      key: fc.constantFrom(...KEYS),
      tick: fc.integer({ min: 0, max: 30 }),
      value: fc.option(fc.integer({ min: 0, max: 3 })),
      confidence: fc.option(fc.constantFrom(0, 0.5, 1), { nil: undefined }),
      ttlMs: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
    }),
    { maxLength: 40 },
  )
  .map((drafts) => {
    const used = new Set<string>();
    return drafts.flatMap(({ writer, incarnation, key, tick, value, confidence, ttlMs }, i) => {
      const place = `${String(writer)}/${String(incarnation)}/${String(tick)}`;
      if (used.has(place)) return [];
      used.add(place);
      const record: FactRecord = {
        key,
        seq: i + 1,
        hlc: (hlcFromMs(AROUND_MS) + tick * 1000) as Hlc,
        ...(value === null ? {} : { valueJson: String(value) }),
        ...(confidence === undefined ? {} : { confidence }),
        ...(ttlMs === undefined ? {} : { ttlMs }),
      };
      return [{ writer: deviceOf(writer), incarnation: incarnationOf(incarnation), record }];
    });
  });

const storeOf = (writes: readonly Write[]): FactStore => {
  const store = new FactStore();
  for (const { writer, incarnation, record } of writes) store.apply(writer, incarnation, record);
  return store;
};

const byWriter = (slots: readonly Slot[]): Slot[] =>
  slots.toSorted((a, b) => (a.writer < b.writer ? -1 : 1));

const stateOf = (store: FactStore): unknown =>
  [...store.keys()].map((key) => [key, byWriter(store.slots(key))]);

/** The plainest model: keep every write, and ask for the newest of each writer when read. */
function modelSlots(writes: readonly Write[], key: string): Slot[] {
  const slots = writes
    .filter(({ record }) => record.key === key)
    .map(({ writer, incarnation, record }): Slot => {
      const { seq, hlc, valueJson, confidence, source, ttlMs, tags, basis } = record;
      return { writer, incarnation, seq, hlc, valueJson, confidence, source, ttlMs, tags, basis };
    });
  return slots.filter(
    (slot) => !slots.some((other) => other.writer === slot.writer && isNewer(other, slot)),
  );
}

describe("merging", () => {
  test("keeps exactly the newest write of each writer and key", () => {
    fc.assert(
      fc.property(writesArbitrary, (writes) => {
        const store = storeOf(writes);
        for (const key of KEYS) {
          const expected = modelSlots(writes, key);
          expect(byWriter(store.slots(key))).toEqual(byWriter(expected));
          expect(resolve(store.slots(key), AROUND_MS + 4)).toEqual(
            resolve(expected, AROUND_MS + 4),
          );
        }
        expect(store.keyCount).toBe(new Set(writes.map(({ record }) => record.key)).size);
      }),
    );
  });

  test("does not depend on order, and duplicates change nothing", () => {
    const delivery = writesArbitrary.chain((writes) =>
      fc
        .subarray(writes)
        .chain((again) => fc.tuple(fc.constant(writes), shuffled([...writes, ...again]))),
    );
    fc.assert(
      fc.property(delivery, ([writes, delivered]) => {
        const [once, shuffledStore] = [storeOf(writes), storeOf(delivered)];
        expect(stateOf(shuffledStore)).toEqual(stateOf(once));
        expect(shuffledStore.bytes).toBe(once.bytes);
      }),
    );
  });

  test("says that a write counts exactly when it becomes its writer's slot", () => {
    fc.assert(
      fc.property(writesArbitrary, (writes) => {
        const store = new FactStore();
        for (const { writer, incarnation, record } of writes) {
          const counted = store.apply(writer, incarnation, record);
          const slot = store.slots(record.key).find((other) => other.writer === writer);
          expect(counted).toBe(slot?.incarnation === incarnation && slot.hlc === record.hlc);
          expect(store.apply(writer, incarnation, record)).toBe(false);
        }
      }),
    );
  });

  test("counts the bytes of live slots alone, so that overwriting does not add up", () => {
    const store = new FactStore();
    const write = (n: number, valueJson: string): boolean =>
      store.apply(deviceOf(1), incarnationOf(1), { key: "k", seq: n, hlc: n as Hlc, valueJson });
    write(1, "1");
    const fresh = store.bytes;
    for (let n = 2; n < 1000; n++) write(n, String(n % 10));
    expect(store.bytes).toBe(fresh);
    write(1000, '"123456789"');
    expect(store.bytes).toBe(fresh + 10);
  });

  test("counts every text of a slot", () => {
    const store = new FactStore();
    const texts = {
      source: { model: "m".repeat(100), version: "v".repeat(100), instance: "i".repeat(100) },
      tags: Array<string>(16).fill("t".repeat(128)),
      basis: Array<string>(16).fill("b".repeat(128)),
    };
    const record = { key: "k", seq: 1, hlc: 1 as Hlc, valueJson: "1", ...texts };
    store.apply(deviceOf(1), incarnationOf(1), record);
    const encoded = encodeFrame({ from: 0, to: 1, records: [record] });
    expect(decodeFrame(encoded).records).toEqual([record]);
    expect(store.bytes).toBeGreaterThanOrEqual(encoded.length);
    expect(store.bytes).toBeLessThan(encoded.length + 200);
  });
});

describe("keys", () => {
  const key = fc.string({ unit: fc.constantFrom("a", "b", "\uFFFF", "\u{1F980}"), maxLength: 4 });

  test("come in code-unit order, with the prefix and after the given key", () => {
    fc.assert(
      fc.property(fc.array(key), key, fc.option(key, { nil: undefined }), (keys, prefix, after) => {
        const store = storeOf(
          keys.map((name, i) => ({
            writer: deviceOf(1),
            incarnation: incarnationOf(1),
            record: { key: name, seq: i + 1, hlc: (i + 1) as Hlc },
          })),
        );
        const expected = [...new Set(keys)]
          .toSorted((a, b) => (a < b ? -1 : 1))
          .filter((name) => name.startsWith(prefix) && (after === undefined || name > after));
        expect([...store.keys(prefix, after)]).toEqual(expected);
      }),
      { numRuns: 1000 },
    );
  });

  test("added while a scan is under way do not disturb it, and the next scan has them", () => {
    const store = new FactStore();
    const add = (name: string, n: number): boolean =>
      store.apply(deviceOf(1), incarnationOf(1), { key: name, seq: n, hlc: n as Hlc });
    add("b", 1);
    add("d", 2);
    const seen: string[] = [];
    for (const name of store.keys()) {
      seen.push(name);
      add("a", 3);
      add("c", 4);
    }
    expect(seen).toEqual(["b", "d"]);
    expect([...store.keys()]).toEqual(["a", "b", "c", "d"]);
  });

  test("nobody wrote have no slots", () => {
    expect(new FactStore().slots("k")).toEqual([]);
  });
});
