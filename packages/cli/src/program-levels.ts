// SPDX-License-Identifier: Apache-2.0
/** The options of reads and writes that say how sure they are to be. */
import { Option } from "commander";
import type { Command } from "commander";

/** `--consistency` and `--max-staleness` of a read. */
export const addLevelOptions = (command: Command, conflicts: readonly string[] = []): Command =>
  command
    .addOption(
      new Option("--consistency <level>", "how sure the answer is to be")
        .choices(["eventual", "bounded", "strong"])
        .conflicts([...conflicts]),
    )
    .addOption(
      new Option(
        "--max-staleness <duration>",
        "bounded: know everything that a hub had so long ago: 500ms, 5s",
      ).conflicts([...conflicts]),
    );

/** `--if-version` and `--consistency` of a write. */
export const addConditionOptions = (command: Command): Command =>
  command
    .option("--if-version <version>", "only while this is the key's version; none: nothing visible")
    .addOption(
      new Option("--consistency <level>", "with --if-version: who decides").choices([
        "eventual",
        "strong",
      ]),
    );

/** What {@link addLevelOptions} add to a help text. */
export const LEVEL_HELP = `

--consistency eventual answers with what is here. bounded asks a hub unless this node can show that it
is fresh enough, and ends with STALE (exit code 4) when it can't. strong is the hub's answer, from the
log that all hubs share; without a hub it fails at once.`;

/** What {@link addConditionOptions} add to a help text. */
export const CONDITION_HELP = `

--if-version ends with VERSION_CONFLICT (exit code 1), and writes nothing, when the version is another
one: get --json prints it. With --consistency strong the hub decides, so that of all who expect the same
version one succeeds.`;
