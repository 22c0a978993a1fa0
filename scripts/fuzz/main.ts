// SPDX-License-Identifier: Apache-2.0
/** `npm run fuzz`: see {@link HELP}. */
import process from "node:process";
import { parseArgs } from "node:util";
import { MeshError, toMeshError } from "@ctxmesh/model";
import { ROUND, runInputs } from "./run.ts";
import type { Result } from "./run.ts";
import { runInWorkers } from "./workers.ts";

const HELP = `Usage: npm run fuzz -- [options]

Gives mutated bytes to a replica, to a rich document and to every parser of foreign bytes: batches (single
bytes, items of their CBOR, members of the header, bodies, facts and Yjs updates inside, hashed and signed
again so that later checks are reached), sync messages, and membership records.

After every input: nothing was thrown; what was not accepted changed no content and no frontier; what was
accepted gives a second replica the same content, and a third one in another order. An input may take 250 ms
of a processor, a thread 256 MB of heap. One round in 16 has real signatures, the others quick ones.

Options:
  --inputs N  how many (default: 200000)
  --seed S    which (default: 1)
  --only N    plays input N again, with those before it that it builds on, and prints it
  --json      one JSON object: {inputs, seed, outcomes, maxMs, slowest, heapBytes, seconds, violation?}
  --help      this text

Exit codes: 0 no rule was broken, 1 one was (seed, number and bytes of the input are printed), 3 wrong
command line.
`;

const MOST_INPUTS = 1_000_000_000;

const usage = (problem: string): MeshError =>
  new MeshError("USAGE", problem, { remedy: "npm run fuzz -- --help" });

function parseCommandLine(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        inputs: { type: "string", default: "200000" },
        seed: { type: "string", default: "1" },
        only: { type: "string" },
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
  if (!/^\d+$/u.test(text) || number < least || number > MOST_INPUTS) {
    throw usage(`--${name} must be a whole number from ${String(least)} to ${String(MOST_INPUTS)}`);
  }
  return number;
}

function describe(seed: number, { violation, ...result }: Result, seconds: number): string {
  const outcomes = Object.entries(result.outcomes)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([outcome, count]) => `  ${String(count).padStart(8)}  ${outcome}\n`)
    .join("");
  const measured =
    `${String(result.inputs)} inputs in ${seconds.toFixed(1)} s; the slowest is ${String(result.slowest)} with ` +
    `${result.maxMs.toFixed(1)} ms of a processor; ${(result.heapBytes / 1e6).toFixed(0)} MB of heap at most\n`;
  if (violation === undefined) return `${outcomes}${measured}No rule was broken.\n`;
  const { input, problem, hex } = violation;
  return (
    `${outcomes}${measured}Input ${String(input)} of seed ${String(seed)}: ${problem}\n${hex}\n` +
    `again with: npm run fuzz -- --seed ${String(seed)} --only ${String(input)}\n`
  );
}

/** Plays one input again, from the beginning of its round. */
async function playOnly(seed: number, only: number): Promise<Result> {
  const from = only - (only % ROUND);
  return runInputs({
    seed,
    from,
    to: only + 1,
    part: 0,
    parts: 1,
    onInput(input, bytes) {
      if (input === only) {
        process.stderr.write(`${Buffer.from(bytes).toString("hex")}\n`);
      }
    },
  });
}

function progressOf(inputs: number): (done: number) => void {
  return (done) => {
    if (process.stderr.isTTY) process.stderr.write(`\r${String(done)} of ${String(inputs)} inputs`);
  };
}

async function main(args: readonly string[]): Promise<number> {
  const options = parseCommandLine(args);
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const seed = numberOf("seed", options.seed, 0);
  const inputs = numberOf("inputs", options.inputs, 1);
  const only = options.only === undefined ? undefined : numberOf("only", options.only, 0);
  const started = performance.now();
  const result =
    only === undefined
      ? await runInWorkers(seed, inputs, progressOf(inputs))
      : await playOnly(seed, only);
  const seconds = (performance.now() - started) / 1000;
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ ...result, seed, seconds })}\n`
      : describe(seed, result, seconds),
  );
  return result.violation === undefined ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const { code, message, remedy } = toMeshError(error);
  process.stderr.write(`${code}: ${message}${remedy === undefined ? "" : `\n${remedy}`}\n`);
  process.exitCode = code === "USAGE" ? 3 : 1;
}
