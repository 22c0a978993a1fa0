// SPDX-License-Identifier: Apache-2.0
/** Agents without a hub, over libp2p on loopback: what it takes for facts to spread, beside what a user would take instead. */
import type { Bench, BenchOptions, Report } from "./figure.ts";
import { benchFolder } from "./files.ts";
import { installWorker } from "./installed.ts";
import type { CrowdOptions } from "./mesh-crowd.ts";
import { measureCatchUp } from "./mesh-catch-up.ts";
import { measureLinks } from "./mesh-links.ts";
import { measurePairs } from "./mesh-pair.ts";
import { measureTen } from "./mesh-ten.ts";
import { privateLoopback } from "./network.ts";

const PARTS: readonly ((bench: BenchOptions, options: CrowdOptions) => Promise<Report>)[] = [
  measurePairs,
  measureTen,
  measureCatchUp,
  measureLinks,
];

async function run(bench: BenchOptions): Promise<Report> {
  await using folder = await benchFolder();
  await using network = await privateLoopback();
  bench.progress("bundling the agent");
  const program = await installWorker("agent", folder.path);
  const options: CrowdOptions = { network, folder: folder.path, program, signal: bench.signal };
  const reports: Report[] = [];
  for (const part of PARTS) reports.push(await part(bench, options));
  return {
    figures: reports.flatMap(({ figures }) => figures),
    notes: [
      "From the moment each write was due (open loop) to the readers' callbacks.",
      "The agents sign each batch, sync it to disk at the writer, check and verify it and sync it to disk again at each reader, before its callback runs. What they are compared with does none of that.",
      ...reports.flatMap(({ notes }) => notes),
      ...network.notes,
      ...folder.notes,
    ],
  };
}

/** `mesh`: agents among themselves. */
export const meshBench: Bench = {
  summary:
    "agents without a hub: spreading facts, cost, catching up; against gossipsub, Yjs and a relay",
  run,
};
