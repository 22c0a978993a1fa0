// SPDX-License-Identifier: Apache-2.0
/** `npm run sim`: see {@link HELP}. */
import { createWriteStream } from "node:fs";
import process from "node:process";
import { finished } from "node:stream/promises";
import { toMeshError } from "@ctxmesh/model";
import type { Minimised } from "@ctxmesh/simulator";
import { HELP, parseOptions } from "./command-line.ts";
import type { Options } from "./command-line.ts";
import { runSeeds } from "./pool.ts";
import { Tally, describe } from "./tally.ts";
import { minimiseSeed, runSeed } from "./simulate.ts";
import type { SeedOptions, SeedResult } from "./simulate.ts";

const PROGRESS_MS = 200;

/** Runs one seed here, its trace going to a file. */
async function runTraced(seed: SeedOptions, path: string): Promise<SeedResult> {
  const file = createWriteStream(path);
  const result = await runSeed(seed, (lines) => file.write(lines));
  file.end();
  await finished(file);
  return result;
}

/** What is left of the plan of a seed that failed. */
async function reduce(
  { seeds, mostRuns }: Options,
  { seed, violation }: SeedResult,
): Promise<Minimised | undefined> {
  const options = seeds.find((one) => one.seed === seed);
  if (options === undefined || violation === undefined || mostRuns === 0) return undefined;
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[Kminimising seed ${String(seed)}`);
  return minimiseSeed(options, violation, mostRuns);
}

async function run(options: Options): Promise<number> {
  const { seeds, workers, json, trace } = options;
  const tally = new Tally(seeds.length);
  const interrupted = new AbortController();
  const interrupt = (): void => {
    interrupted.abort();
  };
  process.once("SIGINT", interrupt);
  const timer = setInterval(() => {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${tally.progress()}`);
  }, PROGRESS_MS);
  try {
    const [first] = seeds;
    if (trace !== undefined && first !== undefined) tally.add(await runTraced(first, trace));
    else {
      const onResult = (result: SeedResult): void => {
        tally.add(result);
      };
      await runSeeds({ seeds, workers, onResult, signal: interrupted.signal });
    }
  } finally {
    clearInterval(timer);
    process.removeListener("SIGINT", interrupt);
  }
  tally.stop();
  const { failed } = tally;
  const minimised = failed === undefined ? undefined : await reduce(options, failed);
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
  process.stdout.write(describe(tally, options, minimised, json));
  if (failed !== undefined) return 1;
  return interrupted.signal.aborted ? 130 : 0;
}

async function main(args: readonly string[]): Promise<number> {
  const options = parseOptions(args);
  if (!options.help) return run(options);
  process.stdout.write(HELP);
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const { code, message, remedy } = toMeshError(error);
  process.stderr.write(`${code}: ${message}${remedy === undefined ? "" : `\n${remedy}`}\n`);
  process.exitCode = code === "USAGE" ? 3 : 1;
}
