// SPDX-License-Identifier: Apache-2.0
/** The command line of modules. */
import { Option } from "commander";
import type { Command } from "commander";
import type {
  ModuleAddOptions,
  ModuleCheckOptions,
  ModuleOptions,
} from "./commands/policy-module.ts";
import { examples, jsonOption } from "./program-parts.ts";

const WHERE_HELP = `
Which space: that of a running daemon (--socket, else the variable CTXMESH_SOCKET, else agent-1/agent.sock
or agent.sock here); or with --space that of a file.`;

const INPUT_HELP = `

An input, in YAML or JSON; of a candidate everything may be left out, and a delete has no value:
  doc: line-2/press-7
  key: temperature
  candidates:
    - { value: 71.5, confidence: 0.9, clock: 1767225600000, source: { model: probe }, tags: [calibrated] }
    - { value: 70 }

Exit codes: 0 it could be added and said something, 1 it was cut off, 3 it is wrong.`;

const onSpace = (module: Command, definition: string, description: string): Command =>
  module
    .command(definition)
    .description(description)
    .option("-s, --socket <path>", "Unix socket of a daemon of the space")
    .addOption(new Option("--space <file>", "a space file instead").conflicts("socket"))
    .addHelpText("after", WHERE_HELP);

function addCheck(module: Command): void {
  module
    .command("check <file>")
    .description("say whether a module could be added, and what it says of an input")
    .option("-i, --input <file>", "what it is told")
    .option("--admit", "ask whether it admits that, where it can do both")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh policy module check median.wasm",
        "ctxmesh policy module check median.wasm --input input.yaml --json",
      ) + INPUT_HELP,
    )
    .action(async (file: string, options: ModuleCheckOptions) =>
      (await import("./commands/policy-module.ts")).checkModule(file, options),
    );
}

/** `ctxmesh policy module`. */
export function addModuleCommands(policy: Command): void {
  const module = policy
    .command("module")
    .description("programs in WebAssembly that decide for a space")
    .addHelpText(
      "after",
      examples(
        "ctxmesh policy module check median.wasm --input input.yaml",
        "ctxmesh policy module add median.wasm --key creator/creator.jwk",
        "ctxmesh policy module ls",
      ) + "\n\ndocs/POLICY.md tells how to make one, and what becomes of one that fails.",
    );
  onSpace(module, "add <file>", "sign a module, for a running mesh or into a space file")
    .option(
      "-k, --key <file>",
      "the key of a creator, or of a device with the role manage",
      "creator/creator.jwk",
    )
    .option("--name <text>", "what people call it (default: the name of the file)")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh policy module add median.wasm --key creator/creator.jwk",
        "ctxmesh policy module add median.wasm --space space.json --key creator/creator.jwk",
      ) +
        "\n\nIt decides nothing until a policy names it (resolver: module, module: wasm:...), or a schema\ndoes (admit: wasm:...).",
    )
    .action(async (file: string, options: ModuleAddOptions) =>
      (await import("./commands/policy-module.ts")).runModuleAdd(file, options),
    );
  onSpace(module, "ls", "list the modules of a space")
    .addOption(jsonOption())
    .addHelpText("after", examples("ctxmesh policy module ls", "ctxmesh policy module ls --json"))
    .action(async (options: ModuleOptions) =>
      (await import("./commands/policy-module.ts")).runModuleLs(options),
    );
  addCheck(module);
}
