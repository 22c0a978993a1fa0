// SPDX-License-Identifier: Apache-2.0
/** Inputs shared out to threads, each with a bounded heap and somebody who watches that it goes on. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Result, Violation } from "./run.ts";
import type { Work } from "./worker.ts";

/** What each thread may have on its heap, in bytes. */
export const MOST_HEAP = 268_435_456;
const MEGABYTE = 1_048_576;
const YOUNG_MB = 32;
const MOST_WORKERS = 2;
/** An input that takes so long is a hang: the thread is ended. */
const HANG_MS = 30_000;
const LOOK_MS = 250;

interface Watched {
  readonly worker: Worker;
  readonly progress: Int32Array;
  seen: number;
  sinceMs: number;
}

const nothing = (violation?: Violation): Result => ({
  inputs: 0,
  outcomes: {},
  maxMs: 0,
  slowest: 0,
  heapBytes: 0,
  violation,
});

/** What the thread ends with; a thread that fails ends with a violation at the input that it played. */
async function resultOf({ worker, progress }: Watched): Promise<Result> {
  const { promise, resolve } = Promise.withResolvers<Result>();
  const fail = (problem: string): void => {
    resolve(nothing({ input: Atomics.load(progress, 0), problem, hex: "" }));
  };
  worker.once("message", resolve);
  worker.once("error", (error) => {
    fail(error instanceof Error ? error.message : String(error));
  });
  worker.once("exit", () => {
    fail("the thread was ended: an input hangs");
  });
  return promise;
}

function start(work: Omit<Work, "progress">): Watched {
  const progress = new SharedArrayBuffer(8);
  const worker = new Worker(new URL("worker.ts", import.meta.url), {
    workerData: { ...work, progress } satisfies Work,
    resourceLimits: {
      maxYoungGenerationSizeMb: YOUNG_MB,
      maxOldGenerationSizeMb: MOST_HEAP / MEGABYTE - YOUNG_MB,
    },
  });
  return { worker, progress: new Int32Array(progress), seen: -1, sinceMs: performance.now() };
}

/** Ends a thread that stays at one input. */
function look(watched: Watched): void {
  const input = Atomics.load(watched.progress, 0);
  const now = performance.now();
  if (input !== watched.seen) Object.assign(watched, { seen: input, sinceMs: now });
  else if (now - watched.sinceMs > HANG_MS) void watched.worker.terminate();
}

function join(a: Result, b: Result): Result {
  const outcomes: Record<string, number> = { ...a.outcomes };
  for (const [name, count] of Object.entries(b.outcomes)) {
    outcomes[name] = (outcomes[name] ?? 0) + count;
  }
  const slower = a.maxMs >= b.maxMs ? a : b;
  return {
    inputs: a.inputs + b.inputs,
    outcomes,
    maxMs: slower.maxMs,
    slowest: slower.slowest,
    heapBytes: Math.max(a.heapBytes, b.heapBytes),
    violation: a.violation ?? b.violation,
  };
}

/** Runs `inputs` inputs of a seed; the result does not depend on the number of threads. */
export async function runInWorkers(
  seed: number,
  inputs: number,
  onProgress: (done: number) => void,
): Promise<Result> {
  const parts = Math.min(MOST_WORKERS, availableParallelism());
  const all = Array.from({ length: parts }, (_, part) => start({ seed, inputs, part, parts }));
  const timer = setInterval(() => {
    for (const watched of all) look(watched);
    onProgress(all.reduce((sum, { progress }) => sum + Atomics.load(progress, 1), 0));
  }, LOOK_MS);
  try {
    const joined = (await Promise.all(all.map(resultOf))).reduce(join, nothing());
    if (joined.violation !== undefined || joined.heapBytes <= MOST_HEAP) return joined;
    const problem = `there are ${String(joined.heapBytes)} bytes on a heap`;
    return { ...joined, violation: { input: joined.slowest, problem, hex: "" } };
  } finally {
    clearInterval(timer);
  }
}
