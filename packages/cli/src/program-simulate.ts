// SPDX-License-Identifier: Apache-2.0
/** The command line of what tries a mesh out before there is one: simulate. */
import { Option } from "commander";
import type { Command } from "commander";
import type { SimulateOptions } from "./commands/simulate.ts";
import { examples, jsonOption, wholeNumber } from "./program-parts.ts";

/** The greatest seed of a scenario. */
const MAX_SEED = 999_999_999;

/** `ctxmesh simulate`. */
export function addSimulateCommand(program: Command): void {
  program
    .command("simulate [scenario]")
    .description("try a scenario out: what happens to facts when lines, machines and clocks fail")
    .addOption(
      new Option("--seed <n>", "another course of the same scenario").argParser(
        wholeNumber("--seed", 0, MAX_SEED),
      ),
    )
    .option("--html <file>", "save the report as a page with a timeline")
    .option("--example", "print a scenario to start from")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh simulate --example > shop.yaml",
        "ctxmesh simulate shop.yaml",
        "ctxmesh simulate shop.yaml --html shop.html",
        "ctxmesh simulate shop.yaml --seed 2 --json",
      ) +
        "\n\nThe real replicas, sync and seals run in virtual time, without network, disk or daemons. The same\nfile and seed have the same report. What a scenario may say is in docs/SIMULATOR.md.\n\nExit codes: 0 done, 1 an invariant was violated or nodes still differed at the end, 3 wrong input.",
    )
    .action(async (scenario: string | undefined, options: SimulateOptions) =>
      (await import("./commands/simulate.ts")).runSimulate(scenario, options),
    );
}
