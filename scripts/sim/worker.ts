// SPDX-License-Identifier: Apache-2.0
/** Runs seeds in a thread of its own, one after the other, as they come. */
import { parentPort } from "node:worker_threads";
import { runSeed } from "./simulate.ts";
import type { SeedOptions } from "./simulate.ts";

parentPort?.on("message", (options: SeedOptions) => {
  void (async () => {
    const result = await runSeed(options);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port of Node has no origin
    parentPort?.postMessage(result);
  })();
});
