// SPDX-License-Identifier: Apache-2.0
import type { Command } from "commander";
import type { LeafAddOptions } from "./commands/leaf.ts";
import { examples, jsonOption } from "./program-parts.ts";

/** `ctxmesh leaf`. */
export function addLeafCommands(program: Command): void {
  const leaf = program
    .command("leaf")
    .description("small devices that connect to an agent")
    .addHelpText(
      "after",
      examples("ctxmesh leaf add 3fa9c21b... --config agent-1.yaml > leaf.conf") +
        "\n\ndocs/OPERATIONS.md has a section on leaves.",
    );
  leaf
    .command("add <device>")
    .description("print what a leaf has to know of its agent: its configuration")
    .requiredOption("-c, --config <file>", "the agent's configuration, with leaves in it")
    .option("--address <host:port>", "where the leaf reaches the agent (default: leaves.listen)")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh leaf add 3fa9c21b... --config agent-1.yaml > leaf.conf",
        "ctxmesh leaf add 3fa9c21b... --config agent-1.yaml --address 192.0.2.7:7420 --json",
      ) +
        "\n\nThe device is the whole key that ctxmesh-leaf init printed, 64 hex digits. The psk is a secret of this\nleaf and this agent: umask 077 keeps the file to yourself. It lets nobody in by itself: the leaf needs\na grant as an agent does, ctxmesh space grant <device> --role write.",
    )
    .action(async (device: string, options: LeafAddOptions) =>
      (await import("./commands/leaf.ts")).addLeaf(device, options),
    );
}
