// SPDX-License-Identifier: Apache-2.0
/** Seeds shared out to threads; the first one that fails, or a signal, ends it. */
import { Worker } from "node:worker_threads";
import type { SeedOptions, SeedResult } from "./simulate.ts";

/** What is run, and who hears of it. */
export interface PoolOptions {
  readonly seeds: readonly SeedOptions[];
  readonly workers: number;
  readonly onResult: (result: SeedResult) => void;
  readonly signal?: AbortSignal;
}

/** Runs seeds until all are done, one fails, or the signal says so. Rejects when a thread dies. */
export async function runSeeds({ seeds, workers, onResult, signal }: PoolOptions): Promise<void> {
  const queue = [...seeds];
  let ended = signal?.aborted === true;
  const runOne = async (): Promise<void> => {
    const worker = new Worker(new URL("worker.ts", import.meta.url));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const stop = (): void => {
      ended = true;
      resolve();
    };
    const next = (): void => {
      const seed = ended ? undefined : queue.shift();
      if (seed === undefined) resolve();
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread of Node has no origin
      else worker.postMessage(seed);
    };
    worker.on("message", (result: SeedResult) => {
      // Another thread's seed has failed meanwhile.
      if (ended) {
        resolve();
        return;
      }
      onResult(result);
      if (result.violation !== undefined) ended = true;
      next();
    });
    worker.on("error", reject);
    signal?.addEventListener("abort", stop);
    next();
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", stop);
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: Math.min(workers, seeds.length) }, runOne));
}
