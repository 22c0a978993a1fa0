// SPDX-License-Identifier: Apache-2.0
/** `npm run torture`: see {@link HELP}. */
import process from "node:process";
import { parseArgs } from "node:util";
import { MeshError, toMeshError } from "@ctxmesh/model";
import { runBackups } from "./backups.ts";
import { runCorruption } from "./corruption.ts";
import type { HarnessReport } from "./harness.ts";
import { killWriters } from "./kill-loop.ts";
import { cutPower } from "./power-cut.ts";

const HELP = `Usage: npm run torture -- [options]

Does to stores what must not hurt them, and looks whether anything that was acknowledged is gone.

  A  kill -9 of a process that writes, every tenth time of the whole agent; then the store is opened, and
     everything acknowledged is there, and nothing in part
  B  power cuts: writers run under strace, and their folder is shown as it may be after a cut at any moment
     (what was synced, and of the rest a prefix, nothing, or any sectors); then as in A, and the log is a
     beginning of the one that was written, with the content that a replica in memory makes of it. It skips
     without strace
  C  damage: the files of a closed store are cut, flipped, swapped and deleted in many ways; each is noticed
     before anything wrong is read
  D  backups of a running agent that is written to; each is restored, opened, and holds what had been acknowledged
     before it began, with the content that a replica in memory makes of that

Options:
  --kills N         of harness A (default: 100)
  --states N        of harness B (default: 600)
  --backups N       of harness D (default: 20)
  --only LETTER     this harness alone
  --seed S          of all choices (default: 1)
  --recording DIR   a recording of harness B that was kept, instead of a new one
  --state N         of harness B this state alone
  --json            one JSON object: {seed, seconds, harnesses: [{harness, seconds, skipped?, figures, violations}]}
  --help            this text

Exit codes: 0 nothing was lost, 1 something was (what, and how to see it again, is printed), 3 wrong command
line.
`;

interface Options {
  readonly kills: number;
  readonly states: number;
  readonly backups: number;
  readonly only: string | undefined;
  readonly seed: number;
  readonly recording: string | undefined;
  readonly state: number | undefined;
  readonly json: boolean;
}

interface Harness {
  readonly name: string;
  readonly run: (options: Options, progress: (text: string) => void) => Promise<HarnessReport>;
}

/** Runs of each kind of damage, and keys of the store that is damaged. */
const DAMAGE = { runs: 10, keys: 3_000 };
/** By letter, in the order in which they run. */
const HARNESSES: Readonly<Record<string, Harness>> = {
  A: {
    name: "kill -9",
    run: async ({ seed, kills }, progress) => killWriters({ seed, kills, progress }),
  },
  B: {
    name: "power cut",
    run: async ({ seed, states, state, recording }, progress) =>
      cutPower({
        seed,
        states,
        progress,
        ...(state === undefined ? {} : { state }),
        ...(recording === undefined ? {} : { recording }),
      }),
  },
  C: {
    name: "damage",
    run: async ({ seed }, progress) => runCorruption({ seed, progress, ...DAMAGE }),
  },
  D: {
    name: "backups",
    run: async ({ seed, backups }, progress) => runBackups({ seed, backups, progress }),
  },
};

const MOST = 1_000_000;

const usage = (problem: string): MeshError =>
  new MeshError("USAGE", problem, { remedy: "npm run torture -- --help" });

function parseCommandLine(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        kills: { type: "string", default: "100" },
        states: { type: "string", default: "600" },
        backups: { type: "string", default: "20" },
        only: { type: "string" },
        seed: { type: "string", default: "1" },
        recording: { type: "string" },
        state: { type: "string" },
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
  if (!/^\d+$/u.test(text) || number < least || number > MOST) {
    throw usage(`--${name} must be a whole number from ${String(least)} to ${String(MOST)}`);
  }
  return number;
}

function optionsOf(values: ReturnType<typeof parseCommandLine>): Options {
  const { only, state, recording, json } = values;
  if (only !== undefined && HARNESSES[only] === undefined) {
    throw usage(`--only must be one of ${Object.keys(HARNESSES).join(", ")}`);
  }
  return {
    kills: numberOf("kills", values.kills, 1),
    states: numberOf("states", values.states, 1),
    backups: numberOf("backups", values.backups, 1),
    only,
    seed: numberOf("seed", values.seed, 0),
    recording,
    state: state === undefined ? undefined : numberOf("state", state, 0),
    json,
  };
}

interface Outcome extends HarnessReport {
  readonly harness: string;
  readonly seconds: number;
}

async function runHarness(
  letter: string,
  { name, run }: Harness,
  options: Options,
): Promise<Outcome> {
  const started = performance.now();
  const report = await run(options, (text) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${letter} ${name}: ${text}`);
  });
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
  return { harness: letter, seconds: (performance.now() - started) / 1000, ...report };
}

function describe(outcomes: readonly Outcome[]): string {
  const rows = outcomes.map(({ harness, seconds, skipped, figures }) => {
    const found =
      skipped === undefined
        ? Object.entries(figures)
            .map(([name, count]) => `${String(count)} ${name}`)
            .join(", ")
        : `SKIPPED: ${skipped}`;
    const name = (HARNESSES[harness]?.name ?? "").padEnd(12);
    return `${harness}  ${name}${seconds.toFixed(1).padStart(7)} s  ${found}\n`;
  });
  const violations = outcomes.flatMap(({ harness, violations: all }) =>
    all.map(({ problem, again }) => `${harness}: ${problem}\n   again with: ${again}\n`),
  );
  const verdict = violations.length === 0 ? "No violation.\n" : violations.join("");
  return `${rows.join("")}${verdict}`;
}

async function main(args: readonly string[]): Promise<number> {
  const values = parseCommandLine(args);
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const options = optionsOf(values);
  const outcomes: Outcome[] = [];
  for (const [letter, harness] of Object.entries(HARNESSES)) {
    if (options.only !== undefined && options.only !== letter) continue;
    outcomes.push(await runHarness(letter, harness, options));
  }
  const seconds = outcomes.reduce((sum, outcome) => sum + outcome.seconds, 0);
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ seed: options.seed, seconds, harnesses: outcomes })}\n`
      : describe(outcomes),
  );
  return outcomes.some(({ violations }) => violations.length > 0) ? 1 : 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const { code, message, remedy } = toMeshError(error);
  process.stderr.write(`${code}: ${message}${remedy === undefined ? "" : `\n${remedy}`}\n`);
  process.exitCode = code === "USAGE" ? 3 : 1;
}
