// SPDX-License-Identifier: Apache-2.0
/**
 * Foreign batches: rich content checked and applied beside plain Yjs on the same updates, what signatures
 * cost per fact, and what it costs to turn away each attack of test/attacks.
 */
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import type { Bench, BenchOptions, Figure } from "./figure.ts";
import type { ReceiveMessage, ReceivePart } from "./workers/receive.ts";

const QUICK = { edits: 1_600, rounds: 3, signatures: 200, runs: 2 };
const FULL = { edits: 6_400, rounds: 7, signatures: 2_000, runs: 5 };
/** So large that nothing is collected while an attack is turned away, and all that it takes is seen. */
const YOUNG_MB = 384;
const OLD_MB = 1_024;

/** Measures one part in a thread of its own, so that no part meets code that another has trained. */
async function measure(
  data: ReceivePart,
  { signal, progress }: BenchOptions,
): Promise<readonly Figure[]> {
  const { promise, resolve, reject } = Promise.withResolvers<readonly Figure[]>();
  const worker = new Worker(new URL("workers/receive.ts", import.meta.url), {
    workerData: data,
    ...(data.part === "attacks"
      ? { resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB, maxOldGenerationSizeMb: OLD_MB } }
      : {}),
  });
  const abort = (): void => {
    reject(signal.reason as Error);
  };
  signal.addEventListener("abort", abort);
  worker.on("message", (message: ReceiveMessage) => {
    if ("figures" in message) resolve(message.figures);
    else progress(message.progress);
  });
  worker.on("error", reject);
  try {
    return await promise;
  } finally {
    signal.removeEventListener("abort", abort);
    await worker.terminate();
  }
}

/** `npm run bench -- receive`. */
export const receiveBench: Bench = {
  summary:
    "foreign batches: rich content to plain Yjs, signatures per fact, the cost of each attack",
  async run(options) {
    const effort = options.quick ? QUICK : FULL;
    setFlagsFromString("--expose-gc");
    const figures: Figure[] = [];
    for (const part of ["rich", "signatures", "attacks"] as const) {
      options.progress(part);
      figures.push(...(await measure({ ...effort, part }, options)));
    }
    return {
      figures,
      notes: [
        "Processor time of one thread, so that what others do on the machine is not in it.",
        `Rich: ${String(effort.edits)} edits of one text by four people, one transaction each; a store in memory; medians of ${String(effort.rounds)} rounds, in turn with plain Yjs.`,
        `Refused: the dearest batch of each attack, worst of ${String(effort.runs)} runs; MB are all bytes that it takes, garbage included.`,
      ],
    };
  },
};
