// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";

/** The demo's options. */
export interface DemoOptions {
  /** How long facts are written. */
  readonly seconds: number;
  /** CSV files, one per agent; undefined: the telemetry of this machine. */
  readonly csvFiles: readonly string[] | undefined;
  /** Where to leave everything; undefined: nowhere. */
  readonly keep: string | undefined;
  readonly json: boolean;
}

/** Agents in the demo. */
export const AGENTS = 3;
const DEFAULT_SECONDS = 20;
const MIN_SECONDS = 6;
const MAX_SECONDS = 600;
const EXIT_INPUT = 3;

const HELP = `Usage: ./scripts/demo [--seconds N] [--data DIR] [--keep DIR] [--json]

Runs the main job on real input: one hub and three agents, as processes on loopback. Each agent
writes its own facts and all three write the same keys; the hub is killed in the middle and comes
back; the merged context is sealed, and the seal is verified offline from one file.

  --seconds N  how long facts are written (default ${String(DEFAULT_SECONDS)}, ${String(MIN_SECONDS)} to ${String(MAX_SECONDS)})
  --data DIR   replay the first three CSV files of DIR (header: timestamp,value), one per agent;
               without it each agent writes the telemetry of this machine
  --keep DIR   leave keys, stores, logs and the bundle in DIR (must be empty or new)
  --json       end with one JSON object on standard output; the rest goes to standard error

Exit 0 only if every step held; else 1. 3: wrong options or data.

Examples:
  ./scripts/demo
  ./scripts/demo --seconds 10 --json
  ./scripts/demo --data ../telemetry --keep /tmp/mesh
`;

function fail(problem: string): never {
  process.stderr.write(`demo: ${problem}; see ./scripts/demo --help\n`);
  process.exit(EXIT_INPUT);
}

function csvFilesOf(folder: string): readonly string[] {
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => name.endsWith(".csv"));
  } catch {
    return fail(`--data: ${folder} can't be read`);
  }
  if (names.length < AGENTS) fail(`--data: ${folder} holds fewer than ${String(AGENTS)} CSV files`);
  return names
    .toSorted()
    .slice(0, AGENTS)
    .map((name) => join(resolve(folder), name));
}

function emptyFolder(folder: string): string {
  const path = resolve(folder);
  try {
    if (readdirSync(path).length > 0) fail(`--keep: ${path} is not empty`);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) {
      fail(`--keep: ${path} is not a folder`);
    }
  }
  return path;
}

/** Parses the command line; ends the process for `--help` (0) and mistakes (3). */
export function parseOptions(args: readonly string[]): DemoOptions {
  let values: { seconds?: string; data?: string; keep?: string; json?: boolean; help?: boolean };
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        seconds: { type: "string" },
        data: { type: "string" },
        keep: { type: "string" },
        json: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    }));
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
  if (values.help === true) {
    process.stdout.write(HELP);
    process.exit(0);
  }
  const seconds = Number(values.seconds ?? DEFAULT_SECONDS);
  if (!Number.isInteger(seconds) || seconds < MIN_SECONDS || seconds > MAX_SECONDS) {
    fail(`--seconds must be a whole number from ${String(MIN_SECONDS)} to ${String(MAX_SECONDS)}`);
  }
  return {
    seconds,
    csvFiles: values.data === undefined ? undefined : csvFilesOf(values.data),
    keep: values.keep === undefined ? undefined : emptyFolder(values.keep),
    json: values.json === true,
  };
}
