// SPDX-License-Identifier: Apache-2.0
/** Runs a part of the inputs in a thread of its own, with a bounded heap. */
import { parentPort, workerData } from "node:worker_threads";
import { runInputs } from "./run.ts";

/** What a worker is given. */
export interface Work {
  readonly seed: number;
  readonly inputs: number;
  readonly part: number;
  readonly parts: number;
  /** Two numbers of 32 bits: the input that is played, and how many are done. */
  readonly progress: SharedArrayBuffer;
}

const { seed, inputs, part, parts, progress } = workerData as Work;
const shared = new Int32Array(progress);
let done = 0;
const result = await runInputs({
  seed,
  from: 0,
  to: inputs,
  part,
  parts,
  onInput(input) {
    Atomics.store(shared, 0, input);
    Atomics.store(shared, 1, done++);
  },
});
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port of Node has no origin
parentPort?.postMessage(result);
