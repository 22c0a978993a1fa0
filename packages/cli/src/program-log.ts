// SPDX-License-Identifier: Apache-2.0
/** The command line of the transparency log: witness, log export. */
import { Option } from "commander";
import type { Command } from "commander";
import type { LogExportOptions } from "./commands/log-export.ts";
import type { WitnessOptions } from "./commands/witness.ts";
import { collect, examples, jsonOption } from "./program-parts.ts";

/** `ctxmesh witness` and `ctxmesh log`. */
export function addLogCommands(program: Command): void {
  program
    .command("witness")
    .description("cosign the logs of hubs, as long as they only grow")
    .requiredOption("--name <name>", "name of the witness: a URL without its scheme")
    .addOption(
      new Option("--key <file>", "a key for this alone, ML-DSA-44 or Ed25519; may be repeated")
        .argParser(collect)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option("--log <file>", "a trust root, or verifier keys, of logs; may be repeated")
        .argParser(collect)
        .makeOptionMandatory(),
    )
    .requiredOption("--store <dir>", "where it remembers what it cosigned; made when missing")
    .option("--listen <host:port>", "where logs ask", "127.0.0.1:4600")
    .option("--tls-key <file>", "the server's private key, PEM")
    .option("--tls-cert <file>", "its certificate and those above it, PEM")
    .addHelpText(
      "after",
      examples(
        "ctxmesh witness --name w1.example --key w1.jwk --log root.json --store w1-store",
        "ctxmesh keys new w1.jwk --alg ML-DSA-44    # before, once",
      ) +
        "\n\nSpeaks C2SP tlog-witness: POST /witness/add-checkpoint. In a hub's configuration it stands under\nseal.witnesses. Its store must never be set back to an older state: take new keys instead.\n\nLogs JSON lines on stdout, readable ones on a terminal.",
    )
    .action(async (options: WitnessOptions) =>
      (await import("./commands/witness.ts")).runWitness(options),
    );
  const log = program
    .command("log")
    .description("the transparency log of a hub")
    .addHelpText(
      "after",
      examples("ctxmesh log export http://127.0.0.1:4400/log tiles --trust root.json"),
    );
  log
    .command("export <url> <dir>")
    .description("copy a log, checked, to static files that any web server can serve")
    .requiredOption("--trust <file>", "the pinned trust root, which names the log and its keys")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh log export http://127.0.0.1:4400/log tiles --trust root.json",
        "ctxmesh log export https://hub.example/log /srv/www/log --trust root.json --json",
      ) +
        "\n\nURL is the log's prefix (C2SP tlog-tiles). Everything is checked against the checkpoint, and that\nagainst the one that DIR has: a log that does not go on from there is refused, and nothing is written. What\nis in DIR already is not fetched again, so that an interrupted run goes on where it was.\nctxmesh verify --log DIR takes proofs from there.",
    )
    .action(async (url: string, dir: string, options: LogExportOptions) =>
      (await import("./commands/log-export.ts")).runLogExport(url, dir, options),
    );
}
