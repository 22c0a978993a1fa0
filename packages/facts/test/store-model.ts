// SPDX-License-Identifier: Apache-2.0
/** Random writes of a few devices as frames, and the plainest model of a store: keep every record. */
import { FACT_ENGINES, factEngine, isNewer } from "@ctxmesh/facts";
import type { ChainFrame, ChainId, FactEngine, FactRecord, FactStore, Slot } from "@ctxmesh/facts";
import { hlcFromMs } from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import * as fc from "fast-check";
import { AROUND_MS, deviceOf, incarnationOf } from "./arbitraries.ts";

/** Every engine with its name: what holds of one holds of all. */
export const ENGINES: readonly (readonly [string, FactEngine])[] = FACT_ENGINES.map(
  (name) =>
    [name, factEngine(name, { bytes: (length) => new Uint8Array(length).fill(7) })] as const,
);

export const KEYS = ["a", "ab", "abc", "b", "é", "__proto__"] as const;

const draft = fc.record({
  writer: fc.integer({ min: 1, max: 4 }),
  incarnation: fc.integer({ min: 1, max: 3 }),
  key: fc.constantFrom(...KEYS),
  /** Milliseconds since the write before. */
  pause: fc.nat(2),
  value: fc.option(fc.integer({ min: 0, max: 3 })),
  ttlMs: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
  model: fc.option(fc.constantFrom("m", "n"), { nil: undefined }),
  tags: fc.option(fc.subarray(["x", "y"], { minLength: 1 }), { nil: undefined }),
  ruled: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined, freq: 6 }),
  /** The frame ends here. */
  ends: fc.boolean(),
});
type Draft = typeof draft extends fc.Arbitrary<infer T> ? T : never;

function contentOf({ key, value, ttlMs, model, tags, ruled }: Draft, hlc: Hlc) {
  if (ruled !== undefined)
    return { key, retract: { writer: deviceOf(ruled), upTo: hlc, reason: "r" } };
  return {
    key,
    ...(value === null ? {} : { valueJson: String(value) }),
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(model === undefined ? {} : { source: { model } }),
    ...(tags === undefined ? {} : { tags }),
  };
}

/** Cuts each chain's records into frames, in order of making. */
function framesOf(
  writes: readonly { chain: ChainId; record: FactRecord; ends: boolean }[],
): ChainFrame[] {
  const open = new Map<string, { chain: ChainId; from: number; records: FactRecord[] }>();
  const frames: ChainFrame[] = [];
  const close = (name: string): void => {
    const { chain, from, records } = open.get(name) ?? { records: [] as FactRecord[], from: 0 };
    const to = records.at(-1)?.seq ?? from;
    // A frame leaves out what it overwrites itself.
    const kept = records.filter((a, i) => !records.slice(i + 1).some((b) => sameSlot(a, b)));
    if (chain !== undefined && to > from)
      frames.push({ chain, frame: { from, to, records: kept } });
    if (chain !== undefined) open.set(name, { chain, from: to, records: [] });
  };
  for (const { chain, record, ends } of writes) {
    const name = chain.writer + chain.incarnation;
    const current = open.get(name) ?? { chain, from: 0, records: [] };
    current.records.push(record);
    open.set(name, current);
    if (ends) close(name);
  }
  return frames;
}

const sameSlot = (a: FactRecord, b: FactRecord): boolean =>
  a.key === b.key && a.retract?.writer === b.retract?.writer;

function history(drafts: readonly Draft[], oneLifeAtATime: boolean): ChainFrame[] {
  const seqs = new Map<string, number>();
  const lives = new Map<number, number>();
  let hlc = hlcFromMs(AROUND_MS);
  const writes = drafts.map((each) => {
    const life = oneLifeAtATime
      ? Math.max(each.incarnation, lives.get(each.writer) ?? 1)
      : each.incarnation;
    lives.set(each.writer, life);
    const chain = { writer: deviceOf(each.writer), incarnation: incarnationOf(life) };
    const name = chain.writer + chain.incarnation;
    const seq = (seqs.get(name) ?? 0) + 1;
    seqs.set(name, seq);
    hlc = (each.pause === 0 ? hlc + 1 : hlc + each.pause * 4096) as Hlc;
    return { chain, record: { ...contentOf(each, hlc), seq, hlc }, ends: each.ends };
  });
  // A life's last frame ends with it.
  const isLast = (i: number): boolean =>
    !writes.slice(i + 1).some(({ chain }) => sameChain(chain, writes[i]?.chain));
  return framesOf(writes.map((write, i) => ({ ...write, ends: write.ends || isLast(i) })));
}

const sameChain = (a: ChainId, b: ChainId | undefined): boolean =>
  a.writer === b?.writer && a.incarnation === b.incarnation;

const drafts = fc.array(draft, { maxLength: 40 });

/** Frames of devices whose incarnations may write at the same time, as a copied disk's would. */
export const framesArbitrary: fc.Arbitrary<ChainFrame[]> = drafts.map((each) =>
  history(each, false),
);

/** Frames of devices that live one incarnation after the other. */
export const livesArbitrary: fc.Arbitrary<ChainFrame[]> = drafts.map((each) => history(each, true));

/** A store that applied frames in the order given. */
export function storeOf(frames: readonly ChainFrame[], engine: FactEngine): FactStore {
  const store = engine();
  for (const { chain, frame } of frames) store.applyFrame(chain, frame);
  return store;
}

const bySlot = (slots: readonly Slot[]): Slot[] =>
  slots.toSorted((a, b) =>
    a.writer + (a.retract?.writer ?? "") < b.writer + (b.retract?.writer ?? "") ? -1 : 1,
  );

/** Everything that a store shows of its slots. */
export const stateOf = (store: FactStore): unknown =>
  [...store.keys()].map((key) => {
    const { statements, retractions } = store.slots(key);
    return [key, bySlot(statements), bySlot(retractions)];
  });

/** All slots that frames make, newest of each writer (and writer ruled on) per key. */
export function modelSlots(frames: readonly ChainFrame[]): Slot[] {
  const all = frames.flatMap(({ chain, frame }) =>
    frame.records.map((record): Slot => ({ ...record, ...chain })),
  );
  return all.filter(
    (slot, i) =>
      !all.some(
        (other, j) =>
          other.writer === slot.writer &&
          sameSlot(other, slot) &&
          (isNewer(other, slot) || (j < i && !isNewer(slot, other))),
      ),
  );
}

/** What {@link stateOf} has to be after frames. */
export function modelState(frames: readonly ChainFrame[]): unknown {
  const slots = modelSlots(frames);
  const keys = [...new Set(slots.map(({ key }) => key))].toSorted((a, b) => (a < b ? -1 : 1));
  return keys.map((key) => [
    key,
    bySlot(slots.filter((slot) => slot.key === key && slot.retract === undefined)),
    bySlot(slots.filter((slot) => slot.key === key && slot.retract !== undefined)),
  ]);
}
