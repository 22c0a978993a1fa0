// SPDX-License-Identifier: Apache-2.0
/** The command line: names, arguments, options, help. Each action loads its module when it runs. */
import { Argument, Command, Option } from "commander";
import type { InitOptions } from "./commands/init.ts";
import type { ConfigKind } from "./config/types.ts";
import type { GetOptions } from "./commands/get.ts";
import type { HistoryCommandOptions } from "./commands/history.ts";
import type { LsOptions } from "./commands/ls.ts";
import type { PutOptions } from "./commands/put.ts";
import type { RetractOptions } from "./commands/retract.ts";
import type { SealOptions } from "./commands/seal.ts";
import type { StatusOptions } from "./commands/status.ts";
import type { WatchOptions } from "./commands/watch.ts";
import { addAuditCommands } from "./program-audit.ts";
import { addCareCommands } from "./program-care.ts";
import { addDaemons } from "./program-daemons.ts";
import { addEventsCommand } from "./program-events.ts";
import {
  CONDITION_HELP,
  LEVEL_HELP,
  addConditionOptions,
  addLevelOptions,
} from "./program-levels.ts";
import { addLeafCommands } from "./program-leaf.ts";
import { addLinksCommand } from "./program-links.ts";
import { addLogCommands } from "./program-log.ts";
import { addMcpCommand } from "./program-mcp.ts";
import { addPartialCommands } from "./program-partial.ts";
import {
  ACK_HELP,
  addAckOptions,
  clientCommand,
  collect,
  examples,
  jsonOption,
  shareOf,
  wholeNumber,
} from "./program-parts.ts";
import { addSchemaCommands } from "./program-schema.ts";
import { addSimulateCommand } from "./program-simulate.ts";
import { addEvidenceCommands, addPolicyCommands, addSpaceCommands } from "./program-space.ts";
import { addTopCommand } from "./program-top.ts";
import { addTrustCommands } from "./program-trust.ts";

function addInit(program: Command): void {
  program
    .command("init")
    .description("make keys, a space, grants, a trust root and configurations")
    .argument("[dir]", "folder to fill", "mesh")
    .addOption(
      new Option("--agents <n>", "number of agents")
        .default(3)
        .argParser(wholeNumber("--agents", 1, 64)),
    )
    .option("--name <name>", "name of the space (default: the folder's)")
    .addOption(
      new Option("--port-base <port>", "the hub's port; agents get the next ones")
        .default(4400)
        .argParser(wholeNumber("--port-base", 1, 65_535 - 64)),
    )
    .addOption(
      new Option("--ports <how>", "choose ports that are free now")
        .choices(["auto"])
        .conflicts("portBase"),
    )
    .option("--force", "move what an earlier init made into a subfolder first")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh init",
        "ctxmesh init plant-7 --agents 5 --port-base 7400",
        "ctxmesh init . --ports auto",
      ),
    )
    .action(async (dir: string, options: InitOptions) =>
      (await import("./commands/init.ts")).runInit(dir, options),
    );
}

function addWriteCommands(program: Command): void {
  const put = addAckOptions(clientCommand(program, "put <doc> <key> [value]", "write a fact"));
  addConditionOptions(put)
    .addOption(
      new Option("--confidence <0..1>", "how sure the source is").argParser(
        shareOf("--confidence"),
      ),
    )
    .option("--source <model>", "the model or sensor that it comes from")
    .option("--ttl <duration>", "stops counting after this time: 30s, 10m, 2h, 7d")
    .addOption(new Option("--tag <tag>", "a tag; may be repeated").argParser(collect))
    .option("--correlation <id>", "what it belongs to, such as an order")
    .option("--traceparent <text>", "the trace that it belongs to (W3C Trace Context)")
    .addOption(
      new Option("--target <model>", "a model that it is for; may be repeated").argParser(collect),
    )
    .option("--increment", "add VALUE, a number, to this agent's own number (resolver sum)")
    .addOption(
      new Option("--priority <class>", "what goes first over a link with a backlog, or last")
        .choices(["high", "normal", "low"])
        .default("normal"),
    )
    .addHelpText(
      "after",
      examples(
        "ctxmesh put line-2/press-7 temperature 71.5 --confidence 0.9 --source thermo-1",
        `ctxmesh put line-2/press-7 state '{"mode":"auto"}' --ttl 10m`,
        "ctxmesh put line-2/press-7 count/parts 1 --increment",
        "ctxmesh put line-2/press-7 - < facts.ndjson",
        "ctxmesh put line-2/press-7 verdict scrap --ack hub --ack-timeout 30s",
        "ctxmesh put line-2/press-7 alarm/pressure 9.7 --priority high",
        "ctxmesh put line-2/press-7 owner agent-1 --if-version none --consistency strong",
      ) + `\n\nVALUE is JSON; what is not JSON is taken as a string.${ACK_HELP}${CONDITION_HELP}`,
    )
    .action(async (doc: string, key: string, value: string | undefined, options: PutOptions) =>
      (await import("./commands/put.ts")).runPut(doc, key, value, options),
    );
  addAckOptions(
    clientCommand(program, "retract <doc> <key>", "rule that what a writer said does not count"),
  )
    .requiredOption("--writer <device>", "whose statement: its device key, or the start of it")
    .requiredOption("--reason <text>", "why, for whoever looks later")
    .addHelpText(
      "after",
      examples(
        `ctxmesh retract line-2/press-7 temperature --writer 3fa9c21b --reason "sensor 4 is broken"`,
      ) +
        `\n\nIt stays among the candidates and stops counting, on every replica; what the writer says later\ncounts again. The agent needs the role manage: ctxmesh init gives it to agent-1.${ACK_HELP}`,
    )
    .action(async (doc: string, key: string, options: RetractOptions) =>
      (await import("./commands/retract.ts")).runRetract(doc, key, options),
    );
}

/** Reads of one key. */
function addKeyCommands(program: Command): void {
  const get = clientCommand(
    program,
    "get <doc> <key>",
    "read a fact; exit code 1 when there is none",
  );
  addLevelOptions(get, ["all", "at"])
    .option("-a, --all", "every writer's statement, which one is shown, and why")
    .addOption(
      new Option(
        "--at <time>",
        "what it was then: 2h (ago), 2026-01-31T14:05:00Z, or Unix ms",
      ).conflicts("all"),
    )
    .addOption(
      new Option(
        "--after <token>",
        "wait up to 10 s until the write with this token is there: put --json prints it",
      ).conflicts("all"),
    )
    .addHelpText(
      "after",
      examples(
        "ctxmesh get line-2/press-7 temperature",
        "ctxmesh get line-2/press-7 temperature --all",
        "ctxmesh get line-2/press-7 temperature --at 2h",
        "ctxmesh get line-2/press-7 temperature --at 2026-01-31T14:05:00+01:00 --json",
        "ctxmesh get line-2/press-7 temperature --max-staleness 5s",
        "ctxmesh get line-2/press-7 owner --consistency strong --json",
      ) +
        "\n\n--at answers from what had been said by then, as far as this node knows it and lets it count today.\nWhat a hub knew and signed then is in its bundles." +
        LEVEL_HELP,
    )
    .action(async (doc: string, key: string, options: GetOptions) =>
      (await import("./commands/get.ts")).runGet(doc, key, options),
    );
  clientCommand(program, "history <doc> <key>", "list what was said about a key, newest first")
    .addOption(
      new Option("--limit <n>", "at most so many entries")
        .default(100)
        .argParser(wholeNumber("--limit", 1, 1_000)),
    )
    .option("--before <cursor>", "go on where the last page ended")
    .addHelpText(
      "after",
      examples(
        "ctxmesh history line-2/press-7 temperature",
        "ctxmesh history line-2/press-7 temperature --limit 5 --json",
      ) +
        "\n\nThe order is that in which it reached this node. What does not count (a revoked device, a forked\nchain) is listed with the reason.",
    )
    .action(async (doc: string, key: string, options: HistoryCommandOptions) =>
      (await import("./commands/history.ts")).runHistory(doc, key, options),
    );
}

function addListCommands(program: Command): void {
  addLevelOptions(clientCommand(program, "ls [doc]", "list facts"))
    .option("--prefix <prefix>", "only keys that start with this")
    .option("--pattern <pattern>", "only keys that match: * within a segment, ** across segments")
    .option("--source <model>", "only keys with a statement from this model or sensor")
    .option("--tag <tag>", "only keys with a statement that has this tag")
    .addHelpText(
      "after",
      examples(
        "ctxmesh ls",
        "ctxmesh ls telemetry --prefix host/ --json",
        "ctxmesh ls --pattern 'line-*/**' --source thermo-1 --tag calibrated",
        "ctxmesh ls line-2/press-7 --max-staleness 5s",
      ) + LEVEL_HELP,
    )
    .action(async (doc: string | undefined, options: LsOptions) =>
      (await import("./commands/ls.ts")).runLs(doc, options),
    );
  clientCommand(program, "watch [doc]", "print changes until interrupted")
    .option("--prefix <prefix>", "only keys that start with this")
    .addHelpText(
      "after",
      examples("ctxmesh watch", "ctxmesh watch telemetry --prefix site/ --json"),
    )
    .action(async (doc: string | undefined, options: WatchOptions) =>
      (await import("./commands/watch.ts")).runWatch(doc, options),
    );
}

function addSealCommands(program: Command): void {
  clientCommand(program, "status", "show the state of a node")
    .option("--digest", "with the content digest, which reads every fact")
    .addHelpText(
      "after",
      examples("ctxmesh status", "ctxmesh status --socket hub/hub.sock --digest --json"),
    )
    .action(async (options: StatusOptions) =>
      (await import("./commands/status.ts")).runStatus(options),
    );
  clientCommand(program, "seal", "have the hub seal the space")
    .option("-o, --out <file>", "save the bundle, for ctxmesh verify")
    .option("--batches", "with --out: enclose the signed batches that the facts come from")
    .addOption(
      new Option(
        "--after <n>",
        "number of the newest seal that anybody has, for a hub that was restored or healed",
      ).argParser(wholeNumber("--after", 0, 999_999_999)),
    )
    .addHelpText(
      "after",
      examples("ctxmesh seal --out bundle.json", "ctxmesh seal --socket hub/hub.sock --json"),
    )
    .action(async (options: SealOptions) => (await import("./commands/seal.ts")).runSeal(options));
}

/** The whole command line. */
export function createProgram(version: string): Command {
  const program = new Command("ctxmesh")
    .description(
      "Context of AI systems, kept consistent at the edge and in the cloud, and provable.",
    )
    .version(version)
    .showHelpAfterError(false)
    .addHelpText(
      "after",
      examples(
        "ctxmesh init",
        "ctxmesh agent agent-1.yaml",
        "ctxmesh put line-2/press-7 temperature 71.5",
      ) + "\n\nExit codes: 0 done, 1 failed, 2 refused by policy, 3 wrong input, 4 not available.",
    );
  addInit(program);
  addDaemons(program);
  addWriteCommands(program);
  addKeyCommands(program);
  addListCommands(program);
  addEventsCommand(program);
  addSealCommands(program);
  addAuditCommands(program);
  addLogCommands(program);
  addLinksCommand(program);
  addLeafCommands(program);
  addTopCommand(program);
  addMcpCommand(program);
  addPartialCommands(program);
  addSpaceCommands(program);
  addPolicyCommands(program);
  addSchemaCommands(program);
  addEvidenceCommands(program);
  addTrustCommands(program);
  addCareCommands(program);
  addSimulateCommand(program);
  program
    .command("config-schema")
    .description("print the JSON Schema of a configuration, for editors")
    .addArgument(new Argument("<daemon>", "which one").choices(["agent", "hub"]))
    .addHelpText("after", examples("ctxmesh config-schema agent > agent.schema.json"))
    .action(async (kind: ConfigKind) =>
      (await import("./commands/check-config.ts")).printSchema(kind),
    );
  program
    .command("completion")
    .description("print a script that completes ctxmesh commands in a shell")
    .addArgument(new Argument("<shell>", "which one").choices(["bash", "zsh", "fish"]))
    .addHelpText(
      "after",
      examples(
        "ctxmesh completion bash > /etc/bash_completion.d/ctxmesh",
        "ctxmesh completion fish | source",
      ),
    )
    .action(async (shell: string) =>
      (await import("./commands/completion.ts")).runCompletion(shell, program),
    );
  return program;
}
