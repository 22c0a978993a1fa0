// SPDX-License-Identifier: Apache-2.0
/** The figures of the `facts` benchmark from its samples. */
import { aimed } from "./figure.ts";
import type { Figure } from "./figure.ts";
import { median } from "./stats.ts";
import type { DiffResult, ReadResult, SizeResult, SliceResult } from "./workers/facts.ts";

/** Facts per frame or transaction. */
export const FRAME_SIZES = [1, 100] as const;

/** What one engine did. */
export interface Measured {
  /** Of each round, in the order of {@link FRAME_SIZES}. */
  readonly slices: readonly (readonly SliceResult[])[];
  readonly loadMs: number;
  readonly plain: ReadResult;
  readonly contested: ReadResult;
  readonly diff: DiffResult;
}

/** By engine. */
export type Samples = ReadonlyMap<string, Measured>;

/** What overwrites left behind. */
export interface Overwritten {
  /** How many were made. */
  readonly count: number;
  readonly after: SizeResult;
  readonly fresh: SizeResult;
}

interface Spec {
  readonly name: string;
  readonly unit: string;
  readonly better: Figure["better"];
  readonly of: (measured: Measured) => number;
  /** In times of Y.Map, or with `unit` absolute. */
  readonly target?: { readonly times: number } | { readonly unit: number };
}

const FIRST_PEER = "Y.Map";
const SET_TIMES = 3;
const APPLY_TIMES = 4;
const LOAD_MS = 150;
const READ_US = 2;
const CHECK_BYTES = 50;
const DIFF_MS = 1;
const DIFF_TIMES = 1.2;
const GROWTH_TIMES = 2;

const rate = (name: string, times: number, of: (slice: SliceResult) => number): readonly Spec[] =>
  FRAME_SIZES.map((size, i) => ({
    name: `${name}, frames of ${String(size)}`,
    unit: "facts/s",
    better: "higher",
    of: ({ slices }) =>
      median(slices.map((round) => (round[i] === undefined ? Number.NaN : of(round[i])))),
    target: { times },
  }));

const lower = (
  name: string,
  unit: string,
  of: (measured: Measured) => number,
  most?: number,
): Spec => ({
  name,
  unit,
  better: "lower",
  of,
  ...(most === undefined ? {} : { target: { unit: most } }),
});

const SPECS: readonly Spec[] = [
  ...rate("set", SET_TIMES, ({ set }) => set),
  ...rate("apply", APPLY_TIMES, ({ apply }) => apply),
  lower("load", "ms", ({ loadMs }) => loadMs, LOAD_MS),
  lower("read", "us", ({ plain }) => plain.again, READ_US),
  lower("read, contested", "us", ({ contested }) => contested.again, READ_US),
  lower("first read of a key after a change", "us", ({ plain }) => plain.first),
  lower("first read after a change, contested", "us", ({ contested }) => contested.first),
  lower("in-sync check", "bytes", ({ diff }) => diff.checkBytes, CHECK_BYTES),
  lower("diff when in sync", "bytes", ({ diff }) => diff.inSyncBytes),
  lower("diff of 100 missing", "ms", ({ diff }) => diff.ms, DIFF_MS),
  lower("diff of 100 missing", "bytes", ({ diff }) => diff.bytes),
];

function targetOf({ target }: Spec, peer: string | undefined, baseline: number | null) {
  if (target === undefined || (peer !== undefined && peer !== FIRST_PEER)) return null;
  if ("unit" in target) return target.unit;
  return baseline === null ? null : baseline * target.times;
}

/** Everything about documents of many facts, beside each other engine. Targets stand at Y.Map's. */
export function factsFigures(ours: string, samples: Samples): readonly Figure[] {
  const peers = [...samples.keys()].filter((name) => name !== ours);
  const valueOf = (engine: string, of: Spec["of"]): number => {
    const measured = samples.get(engine);
    return measured === undefined ? Number.NaN : of(measured);
  };
  const figures = SPECS.flatMap((spec) => {
    const value = valueOf(ours, spec.of);
    return (peers.length === 0 ? [undefined] : peers).map((peer) => {
      const baseline = peer === undefined ? null : valueOf(peer, spec.of);
      const name = peer === undefined ? spec.name : `${spec.name}, to ${peer}`;
      const target = targetOf(spec, peer, baseline);
      return aimed(name, { value, baseline }, spec.unit, spec.better, target);
    });
  });
  const own = valueOf(ours, ({ diff }) => diff.ownBytes);
  const pair = { value: valueOf(ours, ({ diff }) => diff.bytes), baseline: own };
  const name = "diff of 100 missing, to the frame they came in";
  return [...figures, aimed(name, pair, "bytes", "lower", own * DIFF_TIMES)];
}

const thousands = (count: number): string => count.toLocaleString("en-US");

/** What overwrites left behind, beside a fresh document of the same engine. */
export function sizeFigures(
  ours: string,
  overwritten: ReadonlyMap<string, Overwritten>,
): readonly Figure[] {
  return [...overwritten].flatMap(([engine, { count, after, fresh }]) => {
    const name = `after ${thousands(count)} overwrites, to fresh`;
    const figure = (part: string, of: (size: SizeResult) => number): Figure => {
      const baseline = of(fresh);
      const target = engine === ours ? baseline * GROWTH_TIMES : null;
      return aimed(
        `${engine} ${part} ${name}`,
        { value: of(after), baseline },
        "bytes",
        "lower",
        target,
      );
    };
    return [
      figure("heap", ({ heapBytes }) => heapBytes),
      figure("encoded", ({ encodedBytes }) => encodedBytes),
    ];
  });
}
