// SPDX-License-Identifier: Apache-2.0
import type { Command } from "commander";
import type { TopOptions } from "./commands/top.ts";
import { clientCommand, examples } from "./program-parts.ts";

/** `ctxmesh top`. */
export function addTopCommand(program: Command): void {
  clientCommand(program, "top", "show peers, lag, queues and contested facts, live")
    .option("--once", "print one frame and end")
    .addHelpText(
      "after",
      examples("ctxmesh top", "ctxmesh top --socket hub/hub.sock --once") +
        "\n\nq ends it. QUEUED is what waits to be sent, LATER about what the peer has yet to pull since it found\nno room. Contested facts are those of the first 10,000 of the space.",
    )
    .action(async (options: TopOptions) => (await import("./commands/top.ts")).runTop(options));
}
