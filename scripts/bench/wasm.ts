// SPDX-License-Identifier: Apache-2.0
/**
 * The facts core in WebAssembly against the one in TypeScript, Yjs and ywasm on one recorded trace: merging, loading, and the
 * memory of a slot. Each engine has a process of its own, and they take turns.
 */
import { startChild } from "./children.ts";
import type { Child } from "./children.ts";
import { installPeers } from "./facts-install.ts";
import { VALUE_BYTES } from "./facts-trace.ts";
import { aimed, measured } from "./figure.ts";
import type { Bench, BenchOptions, Figure } from "./figure.ts";
import { median } from "./stats.ts";
import { receiverFigures } from "./wasm-agents.ts";
import type { FactsStart, RecordLoad, SizeResult, SliceResult } from "./workers/facts.ts";

const OURS = "ctxmesh-wasm";
const JS = "ctxmesh";
const YJS = "Y.Map";
const YWASM = "ywasm";
const KEYS = 20_000;
const FRAMES = [1, 100] as const;
/** Figures of the issue are of frames of this many facts. */
const FRAME = 100;
const APPLY_PER_SECOND = 1_000_000;
const TIMES: Readonly<Record<string, number>> = { [YJS]: 8, [YWASM]: 5 };
const LOAD_MS = 50;

interface Measured {
  /** Facts per CPU second, of each round, in the order of {@link FRAMES}. */
  readonly apply: readonly (readonly number[])[];
  readonly loadMs: number;
  readonly size: SizeResult;
}

/** What a document of 20,000 facts takes that came as frames. */
async function sizeOf(engine: string, signal: AbortSignal): Promise<SizeResult> {
  await using stack = new AsyncDisposableStack();
  const recorder = stack.use(startChild("facts", signal));
  const receiver = stack.use(startChild("facts", signal));
  // What ywasm receives Yjs records: the format is the same.
  const recording = engine === YWASM ? YJS : engine;
  await recorder.call("start", { engine: recording, keys: KEYS } satisfies FactsStart);
  await receiver.call("start", { engine, keys: KEYS } satisfies FactsStart);
  const load: RecordLoad = { from: 0, count: KEYS, size: FRAME, writers: 1 };
  await receiver.call("receive", await recorder.call("record", load));
  return (await receiver.call("size")) as SizeResult;
}

async function measureAll(
  engines: readonly string[],
  { quick, signal, progress }: BenchOptions,
): Promise<ReadonlyMap<string, Measured>> {
  const [rounds, ms] = quick ? [3, 100] : [9, 400];
  await using stack = new AsyncDisposableStack();
  const children: (readonly [string, Child, number[][]])[] = [];
  for (const engine of engines) {
    progress(`${engine}: ${String(KEYS)} facts`);
    const child = stack.use(startChild("facts", signal));
    await child.call("start", { engine, keys: KEYS } satisfies FactsStart);
    await child.call("fill");
    children.push([engine, child, []]);
  }
  // Round 0 warms up.
  for (let round = 0; round <= rounds; round++) {
    for (const [engine, child, apply] of children) {
      progress(`round ${String(round)} of ${String(rounds)}: ${engine}`);
      const played: number[] = [];
      for (const size of FRAMES) {
        played.push(((await child.call("slice", { size, ms })) as SliceResult).apply);
      }
      if (round > 0) apply.push(played);
    }
  }
  const samples = new Map<string, Measured>();
  for (const [engine, child, apply] of children) {
    progress(`${engine}: load, size`);
    const loadMs = (await child.call("load")) as number;
    samples.set(engine, { apply, loadMs, size: await sizeOf(engine, signal) });
  }
  return samples;
}

function applyFigures(ours: Measured, other: Measured | undefined, name: string): Figure[] {
  return FRAMES.map((size, i) => {
    const rate = ({ apply }: Measured): number =>
      median(apply.map((round) => round[i] ?? Number.NaN));
    const baseline = other === undefined ? null : rate(other);
    const times = size === FRAME ? TIMES[name] : undefined;
    const target = baseline === null || times === undefined ? null : baseline * times;
    const figure = `apply, frames of ${String(size)}, to ${name}`;
    return aimed(figure, { value: rate(ours), baseline }, "facts/s", "higher", target);
  });
}

function figuresOf(samples: ReadonlyMap<string, Measured>): readonly Figure[] {
  const ours = samples.get(OURS);
  if (ours === undefined) throw new Error("nothing was measured");
  const [most] = applyFigures(ours, undefined, "").slice(-1);
  const rate = { value: most?.value ?? 0, baseline: null };
  const figures = [
    aimed(`apply, frames of ${String(FRAME)}`, rate, "facts/s", "higher", APPLY_PER_SECOND),
  ];
  for (const [name, other] of samples) {
    if (name === OURS) continue;
    const [value, baseline] = [ours.size.heapBytes / KEYS, other.size.heapBytes / KEYS];
    figures.push(
      ...applyFigures(ours, other, name),
      aimed(
        `load of ${String(KEYS)} facts, to ${name}`,
        { value: ours.loadMs, baseline: other.loadMs },
        "ms",
        "lower",
        LOAD_MS,
      ),
      measured(`memory of a slot, to ${name}`, { value, baseline }, "bytes", "lower"),
    );
  }
  return figures;
}

async function run(options: BenchOptions) {
  const missing = await installPeers(options.signal);
  const engines = missing === undefined ? [OURS, JS, YJS, YWASM] : [OURS, JS];
  return {
    figures: [
      ...figuresOf(await measureAll(engines, options)),
      ...(await receiverFigures(options)),
    ],
    notes: [
      `${String(KEYS)} keys, values of ${String(VALUE_BYTES)} bytes of JSON, random overwrites; CPU time of the main thread, engines in turn, medians.`,
      "Apply: recorded updates checked, decoded and merged. ctxmesh takes a frame's bytes into the core; what changed comes back as keys.",
      "Memory: heap and buffers after a document came as frames, in a process of its own, by the number of keys; memory of WebAssembly grows by doubling, and all of it counts.",
      "Agents that receive: processor time of the whole process while two documents of facts in batches of 100 come at 10,000 a second, signed, compressed, and synced to disk; baseline: the engine in JavaScript. Nobody reads.",
      ...(missing === undefined
        ? []
        : [`Without the other engines, which npm could not install: ${missing}`]),
    ],
  };
}

/** `wasm`: the core in WebAssembly. */
export const wasmBench: Bench = {
  summary: "the facts core in WebAssembly, against the one in TypeScript, Yjs and ywasm",
  run,
};
