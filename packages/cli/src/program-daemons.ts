// SPDX-License-Identifier: Apache-2.0
/** The commands that run a node. */
import { Option } from "commander";
import type { Command } from "commander";
import type { Acceptance, ConfigKind } from "./config/types.ts";
import { subscribeOption } from "./program-partial.ts";
import { collect, examples } from "./program-parts.ts";

interface DaemonOptions {
  readonly checkConfig?: boolean;
  readonly acceptLoss?: boolean;
  readonly acceptPlain?: boolean;
  readonly linkBudget?: string;
  readonly engine?: string;
  readonly hints?: string;
  readonly relay?: readonly string[];
  readonly subscribe?: readonly string[];
  readonly hub?: readonly string[];
  readonly dev?: boolean;
  readonly json?: boolean;
}

/** What a start is told on its command line. */
function acceptanceOf(options: DaemonOptions): Acceptance {
  const { acceptLoss = false, acceptPlain = false, linkBudget, engine, hints } = options;
  const { relay: relays, hub: hubs, subscribe, dev } = options;
  return {
    acceptLoss,
    acceptPlain,
    ...(linkBudget && { linkBudget }),
    ...(engine && { engine }),
    ...(hints && { hints }),
    ...(relays && { relays }),
    ...(hubs && { hubs }),
    ...(subscribe && { subscribe }),
    ...(dev && { dev }),
  };
}

/** The options that only a hub has. */
const addHubOptions = (hub: Command): Command =>
  hub
    .option("--dev", "accept a token that is made up and printed; not for anything but trying out")
    .option("--engine <url>", "PostgreSQL that several hubs share: postgres://user@host/database")
    .option(
      "--hints <url>",
      "NATS server where those hubs tell each other of news: nats://host:4222",
    )
    .addOption(
      new Option(
        "--relay <address>",
        "relay between agents, on /ip4/0.0.0.0/tcp/4002; may be repeated",
      ).argParser(collect),
    )
    .addOption(
      new Option(
        "--hub <url>",
        "another hub, such as ws://192.0.2.7:4400; may be repeated",
      ).argParser(collect),
    );

/** Adds the commands that run a node: `agent` and `hub`. */
export function addDaemons(program: Command): void {
  const add = (
    kind: ConfigKind,
    description: string,
    run: (file: string, accept: Acceptance) => Promise<void>,
  ): Command =>
    program
      .command(`${kind} <config>`)
      .description(description)
      .option("--check-config", "print the effective configuration and exit")
      .option("--accept-loss", "give up what a damaged store had and no peer has")
      .option("--accept-plain", "encrypt from now on a store that was made without encryption")
      .option("--link-budget <rate>", "most that may go over each link: 256kbit, 2mbit, unlimited")
      .addOption(new Option("--json", "with --check-config: print JSON"))
      .addHelpText(
        "after",
        examples(
          `ctxmesh ${kind} ${kind === "hub" ? "hub" : "agent-1"}.yaml`,
          `ctxmesh ${kind} ${kind === "hub" ? "hub" : "agent-1"}.yaml --check-config`,
        ) +
          "\n\nLogs JSON lines on stdout, readable ones on a terminal. SIGTERM and SIGINT drain for at\nmost 25 s; a second one exits at once.",
      )
      .action(async (file: string, options: DaemonOptions) => {
        if (options.checkConfig !== true) {
          return run(file, acceptanceOf(options));
        }
        const { checkConfig } = await import("./commands/check-config.ts");
        return checkConfig(kind, file, options);
      });
  add("agent", "run an edge agent", async (file, accept) =>
    (await import("./commands/agent.ts")).runAgent(file, accept),
  )
    .addOption(subscribeOption())
    .option("--small", "for machines with little memory: Node with small heaps and fewer threads")
    .addOption(
      new Option(
        "--relay <address>",
        "a hub's relay, with its /p2p/ id, to be reached through; may be repeated",
      ).argParser(collect),
    );
  addHubOptions(
    add("hub", "run a hub", async (file, accept) =>
      (await import("./commands/hub.ts")).runHub(file, accept),
    ),
  );
}
