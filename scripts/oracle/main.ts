// SPDX-License-Identifier: Apache-2.0
/** `npm run oracle`: see {@link HELP}. */
import process from "node:process";
import { parseArgs } from "node:util";
import { MeshError, toMeshError } from "@ctxmesh/model";
import { runHistories } from "./run.ts";
import type { Report } from "./run.ts";

const HELP = `Usage: npm run oracle -- [options]

Runs random histories of a few replicas (writes, deletes, retractions, counters, expiry, restarts, lost,
repeated and reordered batches, clocks that drift, every resolver) and compares each replica after every
delivery with a plain model that keeps everything ever written.

Options:
  --histories N  how many (default: 10000)
  --seed S       of the first one; the next has S + 1 (default: 1)
  --json         one JSON object: {histories, seed, writes, deliveries, restarts, comparisons, seconds, failure?}
  --help         this text

Exit codes: 0 all agree, 1 one does not (its seed and a smallest history that fails are printed), 3 wrong
command line.
`;

const PROGRESS_EVERY = 100;

const usage = (problem: string): MeshError =>
  new MeshError("USAGE", problem, { remedy: "npm run oracle -- --help" });

function parseCommandLine(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        histories: { type: "string", default: "10000" },
        seed: { type: "string", default: "1" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    throw usage(toMeshError(error).message);
  }
}

function numberOf(name: string, text: string, least: number): number {
  const number = Number(text);
  if (!/^\d+$/u.test(text) || !Number.isSafeInteger(number) || number < least) {
    throw usage(`--${name} must be a whole number from ${String(least)}`);
  }
  return number;
}

function showProgress(done: number, of: number): void {
  if (!process.stderr.isTTY || (done % PROGRESS_EVERY !== 0 && done !== of)) return;
  process.stderr.write(`\r${String(done)} of ${String(of)} histories${done === of ? "\n" : ""}`);
}

function describe({ failure, ...work }: Report, seconds: number): string {
  if (failure === undefined) {
    return (
      `${String(work.histories)} histories agree: ${String(work.writes)} writes, ` +
      `${String(work.deliveries)} deliveries, ${String(work.restarts)} restarts, ` +
      `${String(work.comparisons)} comparisons in ${seconds.toFixed(1)} s\n`
    );
  }
  const { seed, problem, minimal } = failure;
  return (
    `history ${String(failure.index)} fails; again with: npm run oracle -- --histories 1 --seed ${String(seed)}\n\n` +
    `${problem}\n\nsmallest that fails:\n${JSON.stringify(minimal.history, undefined, 1)}\n\n${minimal.problem}\n`
  );
}

async function main(args: readonly string[]): Promise<number> {
  const options = parseCommandLine(args);
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const histories = numberOf("histories", options.histories, 1);
  const seed = numberOf("seed", options.seed, 0);
  const started = performance.now();
  const report = await runHistories(histories, seed, (done) => {
    showProgress(done, histories);
  });
  const seconds = (performance.now() - started) / 1000;
  if (report.failure !== undefined && process.stderr.isTTY) process.stderr.write("\n");
  process.stdout.write(
    options.json ? `${JSON.stringify({ ...report, seed, seconds })}\n` : describe(report, seconds),
  );
  return report.failure === undefined ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const { code, message, remedy } = toMeshError(error);
  process.stderr.write(`${code}: ${message}${remedy === undefined ? "" : `\n${remedy}`}\n`);
  process.exitCode = code === "USAGE" ? 3 : 1;
}
