// SPDX-License-Identifier: Apache-2.0
/** `npm run lab`: see {@link HELP}. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { EMULATED } from "./emulated-scenarios.ts";
import { IN_NAMESPACES } from "./namespace-scenarios.ts";
import type { Scenario, Size } from "./scenario.ts";

const SCENARIOS: readonly Scenario[] = [...EMULATED, ...IN_NAMESPACES];
const EXIT_FAILED = 1;
const EXIT_INPUT = 3;
const EXIT_INTERRUPTED = 130;
const WIDEST = Math.max(...SCENARIOS.map(({ name }) => name.length));

const HELP = `Usage: npm run lab -- [options]

Runs meshes of agents over bad networks while facts are written, one scenario after the other. After each, all agents
must have the same digest, every fact, and nothing applied twice. Prints one JSON object per scenario.

${SCENARIOS.map(({ name, what, sizes }) => `  ${name.padEnd(WIDEST)}  ${what}${sizes.includes("short") ? "" : " (only with --full)"}`).join("\n")}

Those that begin with ns- run processes in network namespaces of Linux, and skip without root, ip or nft.

Options:
  --full       partitions of 60 s, up to 30 agents: a quarter of an hour; the default takes two minutes
  --only NAME  this scenario alone
  --help       this text

Exit codes: 0 all held, 1 something did not, 3 wrong command line.
`;

function usage(problem: string): never {
  process.stderr.write(`lab: ${problem}; see npm run lab -- --help\n`);
  process.exit(EXIT_INPUT);
}

function parseOptions(): { readonly size: Size; readonly scenarios: readonly Scenario[] } {
  let values: { full?: boolean; only?: string; help?: boolean };
  try {
    ({ values } = parseArgs({
      options: {
        full: { type: "boolean" },
        only: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    }));
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error));
  }
  if (values.help === true) {
    process.stdout.write(HELP);
    process.exit(0);
  }
  const size = values.full === true ? "full" : "short";
  const { only } = values;
  const scenarios = SCENARIOS.filter(
    ({ name, sizes }) => (only === undefined || name === only) && sizes.includes(size),
  );
  if (scenarios.length === 0) return usage(`no scenario ${String(only)} in this form`);
  return { size, scenarios };
}

const print = (result: object): void => {
  process.stdout.write(`${JSON.stringify(result)}\n`);
};

/** Runs one; whether it held. */
async function show(scenario: Scenario, size: Size): Promise<boolean> {
  const skipped = await scenario.unavailable();
  if (skipped !== undefined) {
    print({ scenario: scenario.name, skipped });
    return true;
  }
  try {
    const result = await scenario.run(size);
    print(result);
    return result.problems.length === 0;
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    print({ scenario: scenario.name, problems: [problem] });
    return false;
  }
}

async function main(): Promise<void> {
  const { size, scenarios } = parseOptions();
  const folder = mkdtempSync(join(tmpdir(), "ctxmesh-lab-"));
  const remove = (): void => {
    rmSync(folder, { recursive: true, force: true });
  };
  // All stores are made in here.
  process.env["TMPDIR"] = folder;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      // Processes and namespaces go away with this process; the folder has to be the last.
      process.on("exit", remove);
      process.exit(EXIT_INTERRUPTED);
    });
  }
  let held = true;
  for (const scenario of scenarios) held = (await show(scenario, size)) && held;
  remove();
  process.exitCode = held ? 0 : EXIT_FAILED;
}

await main();
