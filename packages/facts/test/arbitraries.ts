// SPDX-License-Identifier: Apache-2.0
/** Random frames and slots for properties. */
import type { FactFrame, FactRecord, Slot } from "@ctxmesh/facts";
import { hlcFromMs, parseDeviceKey, parseIncarnationId } from "@ctxmesh/model";
import type { DeviceKey, FactSource, Hlc, IncarnationId } from "@ctxmesh/model";
import * as fc from "fast-check";

/** A time that all random slots lie near. */
export const AROUND_MS = 1_800_000_000_000;

export const deviceOf = (n: number): DeviceKey => parseDeviceKey(n.toString(16).padStart(64, "0"));
export const incarnationOf = (n: number): IncarnationId =>
  parseIncarnationId(n.toString(16).padStart(32, "0"));

const text = fc.string({ unit: "binary", minLength: 1, maxLength: 20 });
const valueJson = fc.json({ maxDepth: 2 });
const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined });

/** A source with the absent parts left out. */
const source: fc.Arbitrary<FactSource> = fc.record(
  { model: text, version: text, instance: text },
  { requiredKeys: ["model"], noNullPrototype: true },
);

/** What a record says besides its place in the frame; absent members are left out. */
const content: fc.Arbitrary<Omit<FactRecord, "seq" | "hlc">> = fc.record(
  {
    // eslint-disable-next-line no-control-regex -- a key has none
    key: text.filter((key) => !/[\u0000-\u001F\u007F]/u.test(key)),
    valueJson,
    confidence: fc.double({ min: 0, max: 1, noNaN: true }).map((confidence) => confidence + 0),
    source,
    ttlMs: fc.maxSafeNat(),
    tags: fc.array(fc.string({ unit: "binary", maxLength: 20 }), { minLength: 1, maxLength: 16 }),
    basis: fc.array(text, { minLength: 1, maxLength: 16 }),
  },
  { requiredKeys: ["key"], noNullPrototype: true },
);

const delta = fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 2 ** 40 }));

/** Any frame that a writer could make. */
export const frameArbitrary: fc.Arbitrary<FactFrame> = fc
  .record({
    from: fc.nat(2 ** 30),
    behind: delta.map((d) => d - 1),
    steps: fc.array(fc.record({ content, seqDelta: delta, hlcDelta: delta }), {
      minLength: 1,
      maxLength: 8,
    }),
  })
  .map(({ from, behind, steps }) => {
    let seq = from;
    let hlc = 0;
    const records = steps.map(({ content: said, seqDelta, hlcDelta }) => {
      seq += seqDelta;
      hlc += hlcDelta;
      return { ...said, seq, hlc: hlc as Hlc };
    });
    return { from, to: seq + behind, records };
  });

/** A slot of one of a few writers, at a time and of a confidence that often collide with others'. */
export const slotArbitrary: fc.Arbitrary<Slot> = fc
  .record({
    writer: fc.integer({ min: 1, max: 8 }),
    incarnation: fc.integer({ min: 1, max: 3 }),
    seq: fc.integer({ min: 1, max: 5 }),
    ms: fc.integer({ min: 0, max: 5 }),
    valueJson: optional(fc.constantFrom("1", "2", '"x"')),
    confidence: optional(fc.constantFrom(0, 0.5, 0.9, 1)),
    ttlMs: optional(fc.integer({ min: 0, max: 6 })),
  })
  .map(({ writer, incarnation, ms, ...rest }) => ({
    ...rest,
    writer: deviceOf(writer),
    incarnation: incarnationOf(incarnation),
    hlc: hlcFromMs(AROUND_MS + ms),
    source: undefined,
    tags: undefined,
    basis: undefined,
  }));

/** The candidates of one key: at most one slot per writer. */
export const slotsArbitrary: fc.Arbitrary<Slot[]> = fc.uniqueArray(slotArbitrary, {
  maxLength: 8,
  selector: ({ writer }) => writer,
});

/** Any order of an array's items. */
export const shuffled = <T>(items: readonly T[]): fc.Arbitrary<T[]> =>
  fc.shuffledSubarray([...items], { minLength: items.length });
