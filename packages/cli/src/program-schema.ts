// SPDX-License-Identifier: Apache-2.0
/** The command line of schemas. */
import { Option } from "commander";
import type { Command } from "commander";
import type {
  SchemaOptions,
  SchemaPublishOptions,
  SchemaShowOptions,
  SchemaTypesOptions,
} from "./commands/schema.ts";
import { examples, jsonOption } from "./program-parts.ts";

const WHERE_HELP = `
Which space: that of a running daemon (--socket, else the variable CTXMESH_SOCKET, else agent-1/agent.sock
or agent.sock here); or with --space that of a file.`;

const FILE_HELP = `

A file, in YAML or JSON:
  prefix: telemetry/
  version: 1.0.0
  schema:
    type: object
    required: [value]
    properties: { value: { type: number } }
docs/SCHEMAS.md has its other members.`;

/** A command on a space. */
const onSpace = (schema: Command, definition: string, description: string): Command =>
  schema
    .command(definition)
    .description(description)
    .option("-s, --socket <path>", "Unix socket of a daemon of the space")
    .addOption(new Option("--space <file>", "a space file instead").conflicts("socket"))
    .addHelpText("after", WHERE_HELP);

function addPublish(schema: Command): void {
  onSpace(
    schema,
    "publish <file>",
    "sign a version of a schema, for a running mesh or into a space file",
  )
    .option(
      "-k, --key <file>",
      "the key of a creator, or of a device with the role manage",
      "creator/creator.jwk",
    )
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh schema publish telemetry.yaml --key creator/creator.jwk",
        "ctxmesh schema publish telemetry.yaml --space space.json --key creator/creator.jwk",
      ) + FILE_HELP,
    )
    .action(async (file: string, options: SchemaPublishOptions) =>
      (await import("./commands/schema.ts")).runSchemaPublish(file, options),
    );
  onSpace(schema, "check <file>", "say whether a file could be published, and if not, why")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh schema check telemetry.yaml",
        "ctxmesh schema check telemetry.yaml --space space.json --json",
      ) +
        "\n\nExit codes: 0 it could, 2 it is not compatible with what is published, 3 it is wrong.",
    )
    .action(async (file: string, options: SchemaOptions) =>
      (await import("./commands/schema.ts")).runSchemaCheck(file, options),
    );
}

/** `ctxmesh schema`. */
export function addSchemaCommands(program: Command): void {
  const schema = program
    .command("schema")
    .description("which values the keys of a space may have")
    .addHelpText(
      "after",
      examples(
        "ctxmesh schema publish telemetry.yaml --key creator/creator.jwk",
        "ctxmesh schema check telemetry.yaml",
        "ctxmesh schema ls",
        "ctxmesh schema types --out facts.ts",
      ) + FILE_HELP,
    );
  addPublish(schema);
  onSpace(schema, "ls", "the published versions")
    .addOption(jsonOption())
    .addHelpText("after", examples("ctxmesh schema ls", "ctxmesh schema ls --space space.json"))
    .action(async (options: SchemaOptions) =>
      (await import("./commands/schema.ts")).runSchemaLs(options),
    );
  onSpace(schema, "show <prefix>", "print a version as a file that publish takes")
    .option("--docs <pattern>", "of which documents, as it was published", "**")
    .option("--schema-version <x.y.z>", "another than the current one")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh schema show telemetry/ > telemetry.yaml",
        "ctxmesh schema show telemetry/ --docs 'line-*/**' --schema-version 1.0.0",
      ),
    )
    .action(async (prefix: string, options: SchemaShowOptions) =>
      (await import("./commands/schema.ts")).runSchemaShow(prefix, options),
    );
  onSpace(schema, "types", "print TypeScript types of the current schemas")
    .option("-o, --out <file>", "write them into a file")
    .addHelpText(
      "after",
      examples("ctxmesh schema types > facts.ts", "ctxmesh schema types --out facts.ts"),
    )
    .action(async (options: SchemaTypesOptions) =>
      (await import("./commands/schema.ts")).runSchemaTypes(options),
    );
}
