// SPDX-License-Identifier: Apache-2.0
/** `npm run attacks`: see {@link HELP}. */
import process from "node:process";
import { parseArgs } from "node:util";
import { runEclipse } from "./eclipse.ts";
import { runFloods } from "./floods.ts";
import { runGossipAttack } from "./gossip-attack.ts";

const HELP = `Usage: npm run attacks -- [options]

Attacks nodes over real libp2p and WebSockets on loopback, eight nodes in a process: strangers who want in, members that
are silent, flood, or send what is not valid, a victim with hostile peers only, and floods against its memory.

Options:
  --full       with 12 honest nodes, 48 strangers, and half a minute for each flood: some five minutes
  --only NAME  gossip, eclipse or floods
  --help       this text

Prints one JSON object. Exit codes: 0 every attack was withstood, 1 one was not.
`;

const ATTACKS = { gossip: runGossipAttack, eclipse: runEclipse, floods: runFloods } as const;

const { values } = parseArgs({
  options: {
    full: { type: "boolean", default: false },
    only: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

if (values.help) {
  process.stdout.write(HELP);
} else {
  const size = values.full ? "full" : "short";
  const report: Record<string, unknown> = { size };
  for (const [name, run] of Object.entries(ATTACKS)) {
    if (values.only !== undefined && values.only !== name) continue;
    try {
      report[name] = await run(size);
    } catch (error) {
      report[name] = { failed: String(error) };
      process.exitCode = 1;
    }
  }
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
}
