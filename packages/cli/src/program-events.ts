// SPDX-License-Identifier: Apache-2.0
import { Option } from "commander";
import type { Command } from "commander";
import type { EventsOptions } from "./commands/events.ts";
import { clientCommand, examples, shareOf, usage } from "./program-parts.ts";

const MAX_RATE = 100_000;

function rate(text: string): number {
  const value = Number(text);
  return text.trim() !== "" && value > 0 && value <= MAX_RATE
    ? value
    : usage(`--rate must be a number of events per second, over 0 and at most ${String(MAX_RATE)}`);
}

/** `ctxmesh events`. */
export function addEventsCommand(program: Command): void {
  clientCommand(program, "events [doc]", "replay what was said, event by event (CloudEvents)")
    .option("--since <when>", "from then on: 2h (ago), 2026-01-31T14:05:00Z, or behind a position")
    .option("--until <when>", "up to then, or up to a position, included")
    .option("--key <pattern>", "only keys that match: * within a segment, ** across segments")
    .option("--source <model>", "only what this model or sensor said")
    .addOption(
      new Option("--min-confidence <0..1>", "only what is at least as sure").argParser(
        shareOf("--min-confidence"),
      ),
    )
    .addOption(
      new Option("--priority <class>", "only what was written so").choices([
        "high",
        "normal",
        "low",
      ]),
    )
    .option("--model <model>", "only what is for all models, or for this one")
    .addOption(new Option("--rate <n>", "at most so many events in a second").argParser(rate))
    .addOption(
      new Option("-f, --follow", "go on with what comes, until interrupted").conflicts("until"),
    )
    .addHelpText(
      "after",
      examples(
        "ctxmesh events line-2/press-7 --since 10m",
        "ctxmesh events --key 'alarm/**' --source thermo-1 --rate 5",
        "ctxmesh events --since 2026-01-31T14:05:00Z --until 2026-01-31T15:00:00+01:00 --json",
        "ctxmesh events --follow --model planner --json",
      ) +
        "\n\nThe order is that in which it reached this node. With --json each line is an event, whose position\nis where to go on: --since POSITION. What is not kept any more is refused (HISTORY_PRUNED).",
    )
    .action(async (doc: string | undefined, options: EventsOptions) =>
      (await import("./commands/events.ts")).runEvents(doc, options),
    );
}
