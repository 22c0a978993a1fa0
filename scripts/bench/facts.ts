// SPDX-License-Identifier: Apache-2.0
/**
 * The facts CRDT against the maps of Yjs, ywasm, Automerge and Loro on one recorded trace: local
 * writes, merging, reading, loading, reconciling, and what a million overwrites leave behind. Each engine
 * has a process of its own, and they take turns.
 */
import { startChild } from "./children.ts";
import type { Child } from "./children.ts";
import { FRAME_SIZES, factsFigures, sizeFigures } from "./facts-figures.ts";
import type { Measured, Overwritten, Samples } from "./facts-figures.ts";
import { installPeers } from "./facts-install.ts";
import { VALUE_BYTES } from "./facts-trace.ts";
import type { Bench, BenchOptions } from "./figure.ts";
import type {
  DiffResult,
  FactsStart,
  LastLoad,
  ReadResult,
  RecordLoad,
  SizeResult,
  SliceResult,
} from "./workers/facts.ts";

const OURS = "ctxmesh";
const PEERS = ["Y.Map", "ywasm", "Automerge", "Loro"];
const KEYS = 50_000;
const OVERWRITES = 1_000_000;
const OVERWRITTEN_KEYS = 1_000;
const WRITERS = 50;
const FRAME = 100;
/** Overwrites passed on at once. */
const CHUNK = 5_000;

interface Effort {
  readonly rounds: number;
  /** CPU time of one slice of local writes. */
  readonly sliceMs: number;
  /** Wall time for the overwrites of one peer; ours are always all made. */
  readonly overwriteMs: number;
}

const QUICK: Effort = { rounds: 3, sliceMs: 120, overwriteMs: 1_000 };
const FULL: Effort = { rounds: 9, sliceMs: 400, overwriteMs: 15_000 };

async function start(
  stack: AsyncDisposableStack,
  argument: FactsStart,
  signal: AbortSignal,
): Promise<Child> {
  const child = stack.use(startChild("facts", signal));
  await child.call("start", argument);
  return child;
}

async function play(child: Child, ms: number): Promise<readonly SliceResult[]> {
  const slices: SliceResult[] = [];
  for (const size of FRAME_SIZES) {
    slices.push((await child.call("slice", { size, ms })) as SliceResult);
  }
  return slices;
}

/** What documents take after overwrites, and fresh ones with what is left of them. */
async function overwrite(
  engine: string,
  { overwriteMs }: Effort,
  signal: AbortSignal,
): Promise<Overwritten> {
  const ours = engine === OURS;
  await using stack = new AsyncDisposableStack();
  // A ywasm document has one client id; Yjs records what ywasm receives.
  const recording = engine === "ywasm" ? "Y.Map" : engine;
  const part = async (name: string): Promise<Child> =>
    start(stack, { engine: name, keys: OVERWRITTEN_KEYS }, signal);
  const [recorder, receiver] = [await part(recording), await part(engine)];
  const deadline = performance.now() + overwriteMs;
  const record = async (from: number): Promise<unknown> =>
    recorder.call("record", {
      from,
      count: CHUNK,
      size: FRAME,
      writers: WRITERS,
    } satisfies RecordLoad);
  let count = 0;
  let writes = await record(0);
  for (;;) {
    count += CHUNK;
    const last = count >= OVERWRITES || (!ours && performance.now() >= deadline);
    // The next are recorded while these are received.
    const next = last ? undefined : record(count);
    await receiver.call("receive", writes);
    if (next === undefined) break;
    writes = await next;
  }
  const after = (await receiver.call("size")) as SizeResult;
  await recorder[Symbol.asyncDispose]();
  await receiver[Symbol.asyncDispose]();
  const [freshRecorder, freshReceiver] = [await part(recording), await part(engine)];
  const last: LastLoad = { count, size: FRAME, writers: WRITERS, candidates: ours };
  await freshReceiver.call("receive", await freshRecorder.call("recordLast", last));
  return { count, after, fresh: (await freshReceiver.call("size")) as SizeResult };
}

async function measureRounds(
  engines: readonly string[],
  effort: Effort,
  { signal, progress }: BenchOptions,
): Promise<Samples> {
  await using stack = new AsyncDisposableStack();
  const children: (readonly [string, Child])[] = [];
  for (const engine of engines) {
    progress(`${engine}: ${String(KEYS)} facts`);
    const child = await start(stack, { engine, keys: KEYS }, signal);
    await child.call("fill");
    children.push([engine, child]);
  }
  const slices = new Map<string, (readonly SliceResult[])[]>();
  // Round 0 warms up.
  for (let turn = 0; turn <= effort.rounds; turn++) {
    for (const [engine, child] of children) {
      progress(`round ${String(turn)} of ${String(effort.rounds)}: ${engine}`);
      const played = await play(child, effort.sliceMs);
      if (turn > 0) slices.set(engine, [...(slices.get(engine) ?? []), played]);
    }
  }
  const samples = new Map<string, Measured>();
  for (const [engine, child] of children) {
    progress(`${engine}: load, read, reconcile`);
    samples.set(engine, {
      slices: slices.get(engine) ?? [],
      loadMs: (await child.call("load")) as number,
      plain: (await child.call("read", false)) as ReadResult,
      contested: (await child.call("read", true)) as ReadResult,
      diff: (await child.call("diff")) as DiffResult,
    });
  }
  return samples;
}

async function run(options: BenchOptions) {
  const { quick, signal, progress } = options;
  const effort = quick ? QUICK : FULL;
  const missing = await installPeers(signal);
  const engines = missing === undefined ? [OURS, ...PEERS] : [OURS];
  const samples = await measureRounds(engines, effort, options);
  const overwritten = new Map<string, Overwritten>();
  for (const engine of engines) {
    progress(`${engine}: overwrites of ${String(OVERWRITTEN_KEYS)} facts`);
    overwritten.set(engine, await overwrite(engine, effort, signal));
  }
  return {
    figures: [...factsFigures(OURS, samples), ...sizeFigures(OURS, overwritten)],
    notes: [
      `${String(KEYS)} keys, values of ${String(VALUE_BYTES)} bytes of JSON, random overwrites; CPU time of the main thread, engines in turn, medians of ${String(effort.rounds)} rounds.`,
      "Set: values checked, made canonical, stamped, merged and encoded; the others store the object and encode their update. Apply: recorded updates decoded and merged.",
      "Every engine holds a value as one; in Automerge that takes a JSON text. Loro loads lazily, and its snapshot holds the history.",
      `Overwrites: frames of ${String(FRAME)} by ${String(WRITERS)} writers in turn, each document in its own process; a fresh document holds what is left of them, for ctxmesh the last write of every writer to every key, for the others one value per key.`,
      ...(missing === undefined
        ? []
        : [`Without the other engines, which npm could not install: ${missing}`]),
    ],
  };
}

/** `facts`: the facts CRDT. */
export const factsBench: Bench = {
  summary: "the facts CRDT, against the maps of Yjs, ywasm, Automerge and Loro",
  run,
};
