// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from "node:timers/promises";
import { EXIT } from "@ctxmesh/model";
import type { ScrubReport } from "@ctxmesh/model";
import { counted, createOutput } from "../output.ts";
import { createProgress } from "../progress.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh scrub`. */
export interface ScrubOptions {
  readonly socket?: string;
  readonly json?: boolean;
}

const POLL_MS = 500;

/** Has a running daemon check its whole store, waits for the end, and sets exit code 1 when anything is damaged or it came to no end. */
export async function runScrub(options: ScrubOptions): Promise<void> {
  const output = createOutput(options);
  const progress = createProgress();
  const begun = performance.now();
  const report = await withClient(options.socket, "agent", async (client) => {
    let now = await client.scrub();
    while (now.startedAt !== undefined) {
      const seconds = Math.round((performance.now() - begun) / 1_000);
      progress.show(`checking the store, in the background: ${String(seconds)} s`);
      await sleep(POLL_MS);
      now = (await client.status()).scrub;
    }
    return now;
  }).finally(() => {
    progress.clear();
  });
  const { last, findings } = report;
  if (findings.length > 0 || last?.failure !== undefined) process.exitCode = EXIT.failed;
  if (output.json) {
    await output.line(JSON.stringify(report));
    return;
  }
  await output.line(summaryOf(last));
  for (const finding of findings) await output.line(output.style("red", finding));
  if (findings.length > 0) {
    await output.line("restart the daemon: it heals its store, with what its peers have");
  }
}

function summaryOf(last: ScrubReport["last"]): string {
  if (last === undefined) return "the store was not checked";
  const { tables, records, damaged, failure } = last;
  const checked = `${counted(tables, "table")} and ${counted(records, "record")} checked, ${String(damaged)} damaged`;
  return failure === undefined ? checked : `${checked}; it came to no end: ${failure}`;
}
