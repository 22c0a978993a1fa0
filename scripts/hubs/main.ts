// SPDX-License-Identifier: Apache-2.0
/** `npm run hubs`: see {@link HELP}. */
import process from "node:process";
import { parseArgs } from "node:util";
import { kills } from "./kills.ts";
import { newcomer } from "./newcomer.ts";
import { pauses } from "./pauses.ts";
import { show } from "./show.ts";
import { slow } from "./slow.ts";
import { tenants } from "./tenants.ts";
import type { Trial } from "./trial.ts";

const TRIALS: readonly Trial[] = [kills, pauses, slow, tenants, newcomer, show];
const WIDEST = Math.max(...TRIALS.map(({ name }) => name.length));
const EXIT_FAILED = 1;
const EXIT_INPUT = 3;

const HELP = `Usage: npm run hubs -- <trial> [--count N]

Trials of hubs, as processes: most of three that share a PostgreSQL of their own, with three agents. Each prints one JSON
object in the end; times are reported and not judged.

${TRIALS.map(({ name, what }) => `  ${name.padEnd(WIDEST)}  ${what}`).join("\n")}

Options:
  --count N    how many: ${TRIALS.map(({ name, counts, count }) => `${counts} for ${name} (default: ${String(count)})`).join(", ")}
  --help       this text

Exit codes: 0 all held, 1 something did not, 3 wrong command line.
`;

function usage(problem: string): never {
  process.stderr.write(`hubs: ${problem}; see npm run hubs -- --help\n`);
  process.exit(EXIT_INPUT);
}

function parseOptions(): { readonly trial: Trial; readonly count: number } {
  const { values, positionals } = (() => {
    try {
      return parseArgs({
        allowPositionals: true,
        options: { count: { type: "string" }, help: { type: "boolean", short: "h" } },
      });
    } catch (error) {
      return usage(error instanceof Error ? error.message : String(error));
    }
  })();
  if (values.help === true) {
    process.stdout.write(HELP);
    process.exit(0);
  }
  const [name, ...others] = positionals;
  const trial = TRIALS.find((one) => one.name === name);
  if (trial === undefined || others.length > 0) return usage("name one trial");
  const count = Number(values.count ?? trial.count);
  if (!Number.isSafeInteger(count) || count < 1) return usage("--count is a whole number from 1");
  return { trial, count };
}

const { trial, count } = parseOptions();
const sinceMs = performance.now();
const { isSound, figures } = await trial.run(count);
const seconds = Math.round((performance.now() - sinceMs) / 1_000);
process.stdout.write(`${JSON.stringify({ trial: trial.name, ...figures, isSound, seconds })}\n`);
if (!isSound) process.exitCode = EXIT_FAILED;
