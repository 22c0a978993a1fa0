// SPDX-License-Identifier: Apache-2.0
import type { Command } from "commander";
import type { LinksOptions } from "./commands/links.ts";
import { clientCommand, examples } from "./program-parts.ts";

/** `ctxmesh links`. */
export function addLinksCommand(program: Command): void {
  clientCommand(program, "links", "show how busy the links to the peers are")
    .option("-w, --watch", "print it every two seconds until interrupted")
    .addHelpText(
      "after",
      examples("ctxmesh links", "ctxmesh links --socket hub/hub.sock --watch") +
        "\n\nQUEUED is what waits to be sent, LATER about what the peer has yet to pull since it found no room.\nA budget comes from links in the configuration, or --link-budget.",
    )
    .action(async (options: LinksOptions) =>
      (await import("./commands/links.ts")).runLinks(options),
    );
}
