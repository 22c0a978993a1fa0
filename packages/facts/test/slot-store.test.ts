// SPDX-License-Identifier: Apache-2.0
import { decodeFrame, encodeFrame, encodeState } from "@ctxmesh/facts";
import type { ChainFrame, FactRecord, FactStore } from "@ctxmesh/facts";
import { HLC_EPOCH_MS, hlcFromMs } from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { deviceOf, incarnationOf, shuffled } from "./arbitraries.ts";
import {
  ENGINES,
  KEYS,
  framesArbitrary,
  livesArbitrary,
  modelSlots,
  modelState,
  stateOf,
  storeOf,
} from "./store-model.ts";

const chain = { writer: deviceOf(1), incarnation: incarnationOf(1) };
const put = (store: FactStore, record: FactRecord): readonly string[] =>
  store.applyFrame(chain, { from: record.seq - 1, to: record.seq, records: [record] });

/** Frames in any order, some of them twice. */
const delivery = framesArbitrary.chain((frames) =>
  fc
    .subarray(frames)
    .chain((again) => fc.tuple(fc.constant(frames), shuffled([...frames, ...again]))),
);

const recordsOf = (frames: readonly ChainFrame[]): number =>
  frames.reduce((sum, { frame }) => sum + frame.records.length, 0);

const absorb = (store: FactStore, frames: readonly ChainFrame[]): void => {
  for (const { chain: id, frame } of frames) store.applyFrame(id, frame);
};

const at = (key: string, seq: number, hlc: number): FactRecord => ({ key, seq, hlc: hlc as Hlc });

describe.each(ENGINES)("in the engine %s,", (_name, engine) => {
  test("the gaps of a chain are counted until they are filled or the chain is forgotten", () => {
    const store = engine();
    const gapsAfter = (...seqs: readonly number[]): number => {
      for (const seq of seqs) put(store, { key: "k", seq, hlc: seq as Hlc, valueJson: "1" });
      return store.gaps;
    };
    expect(gapsAfter(3, 5, 7, 9)).toBe(4);
    expect(gapsAfter(4)).toBe(3);
    expect(gapsAfter(1, 2, 6, 8)).toBe(0);
    expect(gapsAfter(13, 15)).toBe(2);
    const next = { ...chain, incarnation: incarnationOf(2) };
    const record = { key: "k", seq: 1, hlc: 99 as Hlc, valueJson: "1" };
    store.applyFrame(next, { from: 0, to: 1, records: [record] });
    expect(store.gaps).toBe(0);
  });

  test("something expires between two times exactly when the ttl of a statement that counts then ends there", () => {
    const ttl = fc.option(fc.integer({ min: 1, max: 40 }), { nil: undefined });
    const writes = fc.array(fc.tuple(fc.constantFrom("a", "b", "c"), ttl), { maxLength: 12 });
    fc.assert(
      fc.property(writes, fc.nat(60), fc.nat(60), (all, one, other) => {
        const store = engine();
        const [from, to] = [Math.min(one, other), Math.max(one, other)];
        const ends = new Map<string, number>();
        for (const [i, [key, ttlMs]] of all.entries()) {
          const hlc = hlcFromMs(HLC_EPOCH_MS + i + 1);
          const more = ttlMs === undefined ? {} : { ttlMs };
          put(store, { key, seq: i + 1, hlc, valueJson: "1", ...more });
          ends.set(key, ttlMs === undefined ? Infinity : i + 1 + ttlMs);
        }
        const expected = [...ends.values()].some((end) => from < end && end <= to);
        expect(store.expires(HLC_EPOCH_MS + from, HLC_EPOCH_MS + to)).toBe(expected);
      }),
    );
  });

  describe("merging", () => {
    test("keeps exactly the newest statement of each writer and ruling on each writer, in any order and repetition", () => {
      fc.assert(
        fc.property(delivery, ([frames, delivered]) => {
          const [once, other] = [storeOf(frames, engine), storeOf(delivered, engine)];
          expect(stateOf(other)).toEqual(modelState(frames));
          const slots = modelSlots(frames);
          expect(other.slotCount).toBe(slots.length);
          expect(other.keyCount).toBe(new Set(slots.map(({ key }) => key)).size);
          expect(other.bytes).toBe(once.bytes);
        }),
        { numRuns: 500 },
      );
    });

    test("names the keys whose slots changed, and none when a frame comes again", () => {
      fc.assert(
        fc.property(delivery, ([, delivered]) => {
          const store = engine();
          for (const { chain: id, frame } of delivered) {
            const before = new Map(KEYS.map((key) => [key, JSON.stringify(store.slots(key))]));
            const changed = new Set(store.applyFrame(id, frame));
            const expected = KEYS.filter(
              (key) => JSON.stringify(store.slots(key)) !== before.get(key),
            );
            expect([...changed].toSorted()).toEqual(expected.toSorted());
            expect(store.applyFrame(id, frame)).toEqual([]);
          }
        }),
      );
    });

    test("the newest clock wins, and of one clock the higher writer's incarnation, whatever the seqs", () => {
      const store = engine();
      const other = { ...chain, incarnation: incarnationOf(2) };
      const record = { key: "k", seq: 1, hlc: 5 as Hlc, valueJson: "1" };
      store.applyFrame(other, { from: 0, to: 1, records: [{ ...record, valueJson: "2" }] });
      expect(put(store, { ...record, seq: 9 })).toEqual([]);
      expect(store.slots("k").statements).toMatchObject([{ valueJson: "2" }]);
      expect(put(store, { ...record, seq: 10, hlc: 6 as Hlc })).toEqual(["k"]);
    });

    test("counts the bytes of live slots alone, so that overwriting does not add up", () => {
      const store = engine();
      const write = (n: number, valueJson: string): readonly string[] =>
        put(store, { key: "k", seq: n, hlc: n as Hlc, valueJson });
      write(1, "1");
      const fresh = store.bytes;
      for (let n = 2; n < 1000; n++) write(n, String(n % 10));
      expect(store.bytes).toBe(fresh);
      write(1000, '"123456789"');
      expect(store.bytes).toBe(fresh + 10);
    });

    const texts = {
      source: { model: "m".repeat(100), version: "v".repeat(100), instance: "i".repeat(100) },
      tags: Array<string>(16).fill("t".repeat(128)),
      basis: Array<string>(16).fill("b".repeat(128)),
    };
    test.each<[string, FactRecord]>([
      ["a statement", { key: "k", seq: 1, hlc: 1 as Hlc, valueJson: "1", ...texts }],
      [
        "a retraction",
        {
          key: "k",
          seq: 1,
          hlc: 1 as Hlc,
          retract: { writer: deviceOf(2), upTo: 1 as Hlc, reason: "r".repeat(512) },
        },
      ],
    ])("counts every text of %s", (_, record) => {
      const store = engine();
      put(store, record);
      const encoded = encodeFrame({ from: 0, to: 1, records: [record] });
      expect(decodeFrame(encoded).records).toEqual([record]);
      expect(store.bytes).toBeGreaterThanOrEqual(encoded.length);
      expect(store.bytes).toBeLessThan(encoded.length + 200);
    });
  });

  /** Three parts of the same frames, in any order. */
  const parts = framesArbitrary.chain((all) => {
    const part = fc.subarray(all).chain(shuffled);
    return fc.tuple(part, part, part);
  });

  /** Two beginnings of the same frames, in order. */
  const beginnings = livesArbitrary.chain((all) =>
    fc
      .tuple(fc.nat(all.length), fc.nat(all.length))
      .map(([a, b]) => [all.slice(0, a), all.slice(0, b)] as const),
  );

  describe("summary and diff", () => {
    test("a diff against a store's summary makes it the merge of both, whatever either has missed", () => {
      fc.assert(
        fc.property(parts, ([ours, theirs]) => {
          const [mine, other] = [storeOf(ours, engine), storeOf(theirs, engine)];
          absorb(mine, other.diff(mine.summary()));
          expect(stateOf(mine)).toEqual(modelState([...ours, ...theirs]));
        }),
        { numRuns: 1000 },
      );
    });

    test("three stores that exchange diffs in any order end with all that any of them had", () => {
      const meetings = fc.array(fc.tuple(fc.nat(2), fc.nat(2)), { maxLength: 8 });
      fc.assert(
        fc.property(parts, meetings, (frames, met) => {
          const stores = frames.map((part) => storeOf(part, engine));
          // After these, 0 and 1 have met everybody, directly or not.
          const round = [
            [0, 1],
            [1, 2],
            [2, 0],
            [0, 1],
          ] as const;
          for (const [i, j] of [...met, ...round]) {
            const [from, to] = [stores[i], stores[j]];
            if (from !== undefined && to !== undefined) absorb(to, from.diff(to.summary()));
          }
          const expected = modelState(frames.flat());
          for (const store of stores.slice(0, 2)) expect(stateOf(store)).toEqual(expected);
        }),
        { numRuns: 500 },
      );
    });

    test("a diff sends live slots only, and each once", () => {
      fc.assert(
        fc.property(parts, ([ours, theirs]) => {
          const [mine, other] = [storeOf(ours, engine), storeOf(theirs, engine)];
          const frames = other.diff(mine.summary());
          const sent = frames.flatMap(({ chain: id, frame }) =>
            frame.records.map((record) => `${id.writer}${id.incarnation}${String(record.seq)}`),
          );
          expect(new Set(sent).size).toBe(sent.length);
          const live = new Set(
            modelSlots(theirs).map(
              (slot) => `${slot.writer}${slot.incarnation}${String(slot.seq)}`,
            ),
          );
          expect(sent.filter((name) => !live.has(name))).toEqual([]);
        }),
      );
    });

    test("a frame's interval holds its records, and claims nothing that the sender has not seen", () => {
      fc.assert(
        fc.property(parts, ([ours, theirs]) => {
          const [mine, other] = [storeOf(ours, engine), storeOf(theirs, engine)];
          const seen = (writer: string, incarnation: string, seq: number): boolean =>
            theirs.some(
              ({ chain: id, frame }) =>
                id.writer === writer &&
                id.incarnation === incarnation &&
                frame.from < seq &&
                seq <= frame.to,
            );
          for (const { chain: id, frame } of other.diff(mine.summary())) {
            expect(frame.records.every(({ seq }) => seq > frame.from && seq <= frame.to)).toBe(
              true,
            );
            for (let seq = frame.from + 1; seq <= frame.to; seq++) {
              expect(seen(id.writer, id.incarnation, seq)).toBe(true);
            }
          }
        }),
      );
    });

    test("where nothing was missed, one exchange is enough, and between equal stores nothing is sent", () => {
      fc.assert(
        fc.property(beginnings, ([ours, theirs]) => {
          const [mine, other] = [storeOf(ours, engine), storeOf(theirs, engine)];
          absorb(mine, other.diff(mine.summary()));
          absorb(other, mine.diff(other.summary()));
          expect(stateOf(mine)).toEqual(stateOf(other));
          expect(mine.diff(other.summary())).toEqual([]);
          expect(other.diff(mine.summary())).toEqual([]);
        }),
        { numRuns: 500 },
      );
    });

    test("between equal stores with gaps, only what lies beyond a gap is sent again", () => {
      fc.assert(
        fc.property(parts, ([ours, theirs]) => {
          const [mine, other] = [storeOf(ours, engine), storeOf(theirs, engine)];
          for (let round = 0; round < 3; round++) {
            absorb(mine, other.diff(mine.summary()));
            absorb(other, mine.diff(other.summary()));
          }
          const known = other.summary();
          for (const { chain: id, frame } of mine.diff(known)) {
            expect(frame.from).toBeGreaterThan(known.get(id.writer + id.incarnation) ?? 0);
          }
        }),
        { numRuns: 500 },
      );
    });

    test("a frame that brings nothing newer leaves no trace of its chain", () => {
      const store = engine();
      const late = { ...chain, incarnation: incarnationOf(2) };
      put(store, at("a", 1, 5));
      const before = encodeState(store);
      expect(store.applyFrame(late, { from: 0, to: 1, records: [at("a", 1, 1)] })).toEqual([]);
      expect(store.summary().size).toBe(1);
      expect(encodeState(store)).toEqual(before);
    });

    test("a chain without slots is forgotten, and is whole again when it comes back with its beginning", () => {
      const store = engine();
      const next = { ...chain, incarnation: incarnationOf(2) };
      put(store, at("a", 1, 1));
      store.applyFrame(next, { from: 0, to: 1, records: [at("a", 1, 5)] });
      expect([...store.summary()]).toEqual([[next.writer + next.incarnation, 1]]);
      put(store, at("b", 2, 2));
      expect(store.summary().get(chain.writer + chain.incarnation)).toBe(0);
      expect(recordsOf(store.diff(store.summary()))).toBe(1);
      put(store, at("a", 1, 1));
      expect(store.summary().get(chain.writer + chain.incarnation)).toBe(2);
      expect(store.diff(store.summary())).toEqual([]);
    });
  });

  function keep(names: readonly string[]): FactStore {
    const store = engine();
    for (const [i, name] of names.entries()) put(store, at(name, i + 1, i + 1));
    return store;
  }

  describe("keys", () => {
    const key = fc.string({ unit: fc.constantFrom("a", "b", "\uFFFF", "\u{1F980}"), maxLength: 4 });
    test("come in code-unit order, with the prefix and after the given key", () => {
      const given = key.filter((text) => text !== "");
      fc.assert(
        fc.property(
          fc.array(given),
          key,
          fc.option(key, { nil: undefined }),
          (names, prefix, after) => {
            const expected = [...new Set(names)]
              .toSorted((a, b) => (a < b ? -1 : 1))
              .filter((name) => name.startsWith(prefix) && (after === undefined || name > after));
            const range = { prefix, ...(after === undefined ? {} : { after }) };
            expect([...keep(names).keys(range)]).toEqual(expected);
          },
        ),
        { numRuns: 1000 },
      );
    });

    test("added while a scan is under way do not disturb it, and the next scan has them", () => {
      const store = keep(["b", "d"]);
      const seen: string[] = [];
      for (const name of store.keys()) {
        seen.push(name);
        put(store, { key: "a", seq: 3, hlc: 3 as Hlc });
        put(store, { key: "c", seq: 4, hlc: 4 as Hlc });
      }
      expect(seen).toEqual(["b", "d"]);
      expect([...store.keys()]).toEqual(["a", "b", "c", "d"]);
    });

    test("nobody wrote have no slots", () => {
      expect(engine().slots("k")).toEqual({ statements: [], retractions: [] });
    });

    test("of a source or a tag are those with a statement that has it, whenever the index was built", () => {
      fc.assert(
        fc.property(delivery, fc.nat(6), ([, delivered], built) => {
          const store = engine();
          for (const [i, { chain: id, frame }] of delivered.entries()) {
            if (i === built) store.keysByTag("none");
            store.applyFrame(id, frame);
          }
          const slots = modelSlots(delivered);
          const keysOf = (has: (slot: (typeof slots)[number]) => boolean): string[] =>
            [...new Set(slots.filter(has).map((slot) => slot.key))].toSorted((a, b) =>
              a < b ? -1 : 1,
            );
          for (const model of ["m", "n"]) {
            expect([...store.keysBySource(model)]).toEqual(
              keysOf((s) => s.source?.model === model),
            );
          }
          for (const tag of ["x", "y"]) {
            expect([...store.keysByTag(tag)]).toEqual(
              keysOf((s) => s.tags?.includes(tag) === true),
            );
          }
        }),
        { numRuns: 1000 },
      );
    });
  });
});
