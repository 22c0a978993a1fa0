// SPDX-License-Identifier: Apache-2.0
import process from "node:process";
import { parseArgs } from "node:util";

/** The options of `./scripts/mesh-lab`. */
export interface ShowOptions {
  /** How long nothing passes between the LANs. */
  readonly seconds: number;
  /** Whether to leave namespaces alone even where there can be some. */
  readonly loopback: boolean;
  readonly json: boolean;
}

const DEFAULT_SECONDS = 15;
const MIN_SECONDS = 5;
const MAX_SECONDS = 600;
const EXIT_INPUT = 3;

const HELP = `Usage: ./scripts/mesh-lab [--seconds N] [--loopback] [--json]

Six agents, as processes, in two LANs that a link of 256 kbit/s joins; no hub. While all of them write, the LANs are
parted without a word, go on by themselves, and are joined again: then all six must have the same digest and every fact,
and nothing applied twice. The key exchange between two of them is recorded from the wire, and named.

As root on Linux, each agent has a network namespace of its own (ip, nft, tc, tcpdump). Elsewhere the agents are on loopback
and an emulated link joins the two groups. Nothing is left behind, also when it is interrupted.

  --seconds N  how long the LANs are parted (default ${String(DEFAULT_SECONDS)}, ${String(MIN_SECONDS)} to ${String(MAX_SECONDS)})
  --loopback   on loopback, even where there could be namespaces
  --json       end with one JSON object on standard output; the rest goes to standard error

Exit 0 only if all of that held; else 1. 3: wrong options.
`;

function fail(problem: string): never {
  process.stderr.write(`mesh-lab: ${problem}; see ./scripts/mesh-lab --help\n`);
  process.exit(EXIT_INPUT);
}

/** Parses the command line; ends the process for `--help` (0) and mistakes (3). */
export function parseOptions(args: readonly string[]): ShowOptions {
  let values: { seconds?: string; loopback?: boolean; json?: boolean; help?: boolean };
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        seconds: { type: "string" },
        loopback: { type: "boolean" },
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
  return { seconds, loopback: values.loopback === true, json: values.json === true };
}
