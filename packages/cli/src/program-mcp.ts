// SPDX-License-Identifier: Apache-2.0
import { Option } from "commander";
import type { Command } from "commander";
import type { McpCommandOptions } from "./commands/mcp.ts";
import { examples, wholeNumber } from "./program-parts.ts";

/** The highest TCP port. */
const MAX_PORT = 65_535;

/** `ctxmesh mcp`. */
export function addMcpCommand(program: Command): void {
  program
    .command("mcp")
    .description("serve an agent's facts, and a knowledge graph, to MCP clients")
    .option("-s, --socket <path>", "Unix socket of the daemon")
    .option("-d, --document <doc>", "the document of the knowledge graph", "memory")
    .addOption(
      new Option(
        "--http <port>",
        "serve http://127.0.0.1:PORT/mcp instead of stdin and stdout; 0 for any free port",
      ).argParser(wholeNumber("--http", 0, MAX_PORT)),
    )
    .option(
      "--token-file <file>",
      "file with the bearer token that HTTP clients send; made when there is none",
    )
    .addHelpText(
      "after",
      examples(
        "ctxmesh mcp --socket agent-1/agent.sock",
        "ctxmesh mcp --document team/memory",
        "ctxmesh mcp --http 8765 --token-file mcp.token",
      ) +
        '\n\nFor a client: {"mcpServers": {"memory": {"command": "ctxmesh", "args": ["mcp", "--socket", "/PATH/agent.sock"]}}}\nWhich daemon: --socket, else the variable CTXMESH_SOCKET, else in a folder made by "ctxmesh init" its\nfirst agent. It need not run yet. Only the protocol is on stdout, the log is on stderr.',
    )
    .action(async (options: McpCommandOptions) =>
      (await import("./commands/mcp.ts")).runMcp(options),
    );
}
