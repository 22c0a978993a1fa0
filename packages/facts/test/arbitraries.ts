// SPDX-License-Identifier: Apache-2.0
/** Random frames, slots and resolvers for properties. */
import { Resolvers } from "@ctxmesh/facts";
import type { FactFrame, FactRecord, Resolver, ResolverSpec, Slot } from "@ctxmesh/facts";
import { hlcFromMs, parseDeviceKey, parseIncarnationId, toHex } from "@ctxmesh/model";
import type { DeviceKey, FactSource, Hlc, IncarnationId } from "@ctxmesh/model";
import * as fc from "fast-check";

/** A time that all random slots lie near. */
export const AROUND_MS = 1_800_000_000_000;

export const deviceOf = (n: number): DeviceKey => parseDeviceKey(n.toString(16).padStart(64, "0"));
export const incarnationOf = (n: number): IncarnationId =>
  parseIncarnationId(n.toString(16).padStart(32, "0"));

const text = fc.string({ unit: "binary", minLength: 1, maxLength: 20 });
const valueJson = fc.json({ maxDepth: 2 });

/** A source with the absent parts left out. */
const source: fc.Arbitrary<FactSource> = fc.record(
  { model: text, version: text, instance: text },
  { requiredKeys: ["model"], noNullPrototype: true },
);

// eslint-disable-next-line no-control-regex -- a key has none
const key = text.filter((name) => !/[\u0000-\u001F\u007F]/u.test(name));

const hexOf = (bytes: number): fc.Arbitrary<string> =>
  fc
    .uint8Array({ minLength: bytes, maxLength: bytes })
    .filter((id) => id.some((byte) => byte !== 0))
    .map(toHex);

const traceparent = fc
  .tuple(hexOf(16), hexOf(8), fc.integer({ min: 0, max: 255 }))
  .map(([trace, parent, flags]) => `00-${trace}-${parent}-${toHex(Uint8Array.of(flags))}`);

/** What a record says besides its place in the frame; absent members are left out. */
const statement: fc.Arbitrary<Omit<FactRecord, "seq" | "hlc">> = fc.record(
  {
    key,
    valueJson,
    confidence: fc.double({ min: 0, max: 1, noNaN: true }).map((confidence) => confidence + 0),
    source,
    ttlMs: fc.maxSafeNat(),
    tags: fc.array(fc.string({ unit: "binary", maxLength: 20 }), { minLength: 1, maxLength: 16 }),
    basis: fc.array(text, { minLength: 1, maxLength: 16 }),
    correlation: text,
    traceparent,
    targets: fc.array(text, { minLength: 1, maxLength: 16 }),
  },
  { requiredKeys: ["key"], noNullPrototype: true },
);

const retraction: fc.Arbitrary<Omit<FactRecord, "seq" | "hlc">> = fc.record(
  {
    key,
    retract: fc.record(
      {
        writer: fc.nat(2 ** 30).map(deviceOf),
        upTo: fc.maxSafeNat().map((hlc) => hlc as Hlc),
        reason: text,
      },
      { noNullPrototype: true },
    ),
  },
  { noNullPrototype: true },
);

const content = fc.oneof({ weight: 5, arbitrary: statement }, { weight: 1, arbitrary: retraction });

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

/** Values on which resolvers differ: numbers that round, overflow or tie, and what is no number. */
const comparable = fc.constantFrom(
  "0",
  "1",
  "2",
  "0.1",
  "0.2",
  "1e+308",
  "-1e+308",
  "10000000000000000",
  '"x"',
  "null",
  "[1,2]",
  '["x"]',
  '{"score":0.5}',
  '{"score":2}',
);

/** A slot of one of a few writers, at a time and of a confidence that often collide with others'. */
export const slotArbitrary: fc.Arbitrary<Slot> = fc
  .record(
    {
      writer: fc.integer({ min: 1, max: 8 }),
      incarnation: fc.integer({ min: 1, max: 3 }),
      seq: fc.integer({ min: 1, max: 5 }),
      ms: fc.integer({ min: 0, max: 5 }),
      valueJson: comparable,
      confidence: fc.constantFrom(0, 0.25, 0.5, 0.9, 1),
      ttlMs: fc.integer({ min: 0, max: 6 }),
      source: fc.constantFrom({ model: "good" }, { model: "fair", version: "2" }, { model: "x" }),
    },
    { requiredKeys: ["writer", "incarnation", "seq", "ms"], noNullPrototype: true },
  )
  .map(({ writer, incarnation, ms, ...rest }) => ({
    ...rest,
    key: "k",
    writer: deviceOf(writer),
    incarnation: incarnationOf(incarnation),
    hlc: hlcFromMs(AROUND_MS + ms),
  }));

/** The candidates of one key: at most one slot per writer. */
export const slotsArbitrary: fc.Arbitrary<Slot[]> = fc.uniqueArray(slotArbitrary, {
  maxLength: 8,
  selector: ({ writer }) => writer,
});

/** Any order of an array's items. */
export const shuffled = <T>(items: readonly T[]): fc.Arbitrary<T[]> =>
  fc.shuffledSubarray([...items], { minLength: items.length });

/** Every resolver of a policy, the ones with members more than once. */
export const RESOLVER_SPECS: readonly ResolverSpec[] = [
  { resolver: "latest" },
  { resolver: "confidence" },
  { resolver: "confidence", halfLifeMs: 1 },
  { resolver: "confidence", halfLifeMs: 3 },
  { resolver: "confidence", halfLifeMs: Number.MAX_SAFE_INTEGER },
  { resolver: "priority", sources: ["good", "fair"] },
  { resolver: "priority", sources: [] },
  { resolver: "max" },
  { resolver: "min" },
  { resolver: "sum" },
  { resolver: "union" },
  { resolver: "all" },
  { resolver: "expression", name: "score", expression: "double(value.score) * confidence" },
  { resolver: "expression", name: "fails", expression: "value.score.deeper" },
  { resolver: "expression", name: "constant", expression: "true" },
  { resolver: "expression", name: "source", expression: 'source.model == "good" ? 2 : 1' },
  // One that is not there.
  { resolver: "module", module: `wasm:${"0".repeat(64)}` },
];

/** The resolver that a policy makes of a spec. */
export const resolverOf = (spec: ResolverSpec): Resolver =>
  new Resolvers({ epoch: 1, rules: [{ ...spec, prefix: "" }] }).for("k");

/** Each spec with a name for the test report. */
export const EVERY_RESOLVER: readonly (readonly [string, Resolver])[] = RESOLVER_SPECS.map(
  (spec) => [JSON.stringify(spec), resolverOf(spec)] as const,
);
