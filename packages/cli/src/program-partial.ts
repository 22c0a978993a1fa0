// SPDX-License-Identifier: Apache-2.0
import { Option } from "commander";
import type { Command } from "commander";
import type { FetchOptions } from "./commands/fetch.ts";
import type { MissingOptions } from "./commands/missing.ts";
import { clientCommand, collect, examples } from "./program-parts.ts";

/** `--subscribe` of an agent. */
export const subscribeOption = (): Option =>
  new Option(
    "--subscribe <rule>",
    "keep only doc:PREFIX, key:PATTERN, model:NAME, age:7d; may be repeated",
  ).argParser(collect);

/** `ctxmesh missing` and `ctxmesh fetch`. */
export function addPartialCommands(program: Command): void {
  clientCommand(
    program,
    "missing [doc]",
    "list what this node leaves out, and of a document by whom and when it was written",
  )
    .option("--proof <file>", "save the signed headers, which prove what there is")
    .addHelpText(
      "after",
      examples("ctxmesh missing", "ctxmesh missing line-3/press-1 --proof missing.json") +
        "\n\nA node with subscribe in its configuration keeps every signed header, and the content that it wants.",
    )
    .action(async (doc: string | undefined, options: MissingOptions) =>
      (await import("./commands/missing.ts")).runMissing(doc, options),
    );
  clientCommand(
    program,
    "fetch <doc>",
    "get what this node leaves out of a document from its peers",
  )
    .option("--key <pattern>", "only what has such a key: * within a segment, ** across segments")
    .addHelpText(
      "after",
      examples("ctxmesh fetch line-3/press-1", "ctxmesh fetch line-3/press-1 --key 'temp/**'") +
        "\n\nExit code 1 when nobody who is connected has some of it.",
    )
    .action(async (doc: string, options: FetchOptions) =>
      (await import("./commands/fetch.ts")).runFetch(doc, options),
    );
}
