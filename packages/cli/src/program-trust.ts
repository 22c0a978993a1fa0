// SPDX-License-Identifier: Apache-2.0
/** The commands of trust roots and of key files. */
import type { Algorithm } from "@ctxmesh/crypto";
import type { KeyRole } from "@ctxmesh/ledger";
import { Option } from "commander";
import type { Command } from "commander";
import type { EncryptOptions, NewKeyOptions } from "./commands/keys-files.ts";
import type {
  TrustAddOptions,
  TrustInitOptions,
  TrustRevokeOptions,
  TrustRotateOptions,
} from "./commands/trust-change.ts";
import type { TrustShowOptions } from "./commands/trust-show.ts";
import type { TrustSignOptions } from "./commands/trust-sign.ts";
import { collect, examples, jsonOption, wholeNumber } from "./program-parts.ts";

/** As in `ALGORITHMS` and `KEY_ROLES`, written out so that no command line has to load those; a test compares. */
export const ALGORITHM_CHOICES: readonly Algorithm[] = [
  "ML-DSA-65-Ed25519",
  "ML-DSA-44-Ed25519",
  "ML-DSA-44",
  "Ed25519",
];
/** See {@link ALGORITHM_CHOICES}. */
export const ROLE_CHOICES: readonly KeyRole[] = ["issuer", "root", "snapshot"];

const days = (description: string): Option =>
  new Option("--days <n>", description).argParser(wholeNumber("--days", 1, 3650));

const several = (flags: string, description: string): Option =>
  new Option(flags, `${description}; may be repeated`).argParser(collect);

/** A command that changes a root file. */
const changeCommand = (trust: Command, definition: string, description: string): Command =>
  trust
    .command(definition)
    .description(description)
    .option("--out <file>", "where the next version goes; needed when the file is signed")
    .addOption(days("life of the root from now on, in days (default: as long as before)"))
    .addOption(jsonOption());

function addInit(trust: Command): void {
  trust
    .command("init <file>")
    .description("begin a trust root: version 1, to be completed and signed")
    .addOption(
      several("--root <key>", "key file of somebody who signs trust roots").makeOptionMandatory(),
    )
    .addOption(
      new Option("--threshold <n>", "how many of them have to sign")
        .default(1)
        .argParser(wholeNumber("--threshold", 1, 256)),
    )
    .addOption(several("--space <space>", "a space id, or a space file"))
    .addOption(days("life of the root, in days").default(365))
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh trust init root.json --root ann.pub --root ben.pub --root cat.pub --threshold 2 --space space.json",
      ) +
        "\n\nKey files may hold a private key or its public part: ctxmesh keys new, ctxmesh keys public.",
    )
    .action(async (file: string, options: TrustInitOptions) =>
      (await import("./commands/trust-change.ts")).runTrustInit(file, options),
    );
}

function addAdd(trust: Command): void {
  changeCommand(trust, "add <file>", "enter keys, a log, a witness, spaces, or what is asked for")
    .addOption(new Option("--role <role>", "what the key may sign").choices(ROLE_CHOICES))
    .option("--key <file>", "key file of the key that gets a role")
    .addOption(several("--scope <glob>", "where it may sign: *, SPACE, or SPACE/DOCUMENTS"))
    .option("--from <time>", "when it, or --min-alg, begins: 2026-01-31T14:05:00Z (default: now)")
    .option("--until <time>", "when it ends (default: never)")
    .option("--log <origin>", "a log; with --ed25519 and --mldsa44")
    .option("--witness <name>", "a witness; with --ed25519, --mldsa44 or both")
    .option("--ed25519 <file>", "key file of the log or witness")
    .option("--mldsa44 <file>", "key file of the log or witness")
    .addOption(several("--space <space>", "a space id, or a space file"))
    .addOption(
      new Option("--threshold <n>", "how many root keys have to sign").argParser(
        wholeNumber("--threshold", 1, 256),
      ),
    )
    .addOption(
      new Option("--witness-threshold <n>", "how many witnesses have to cosign").argParser(
        wholeNumber("--witness-threshold", 0, 256),
      ),
    )
    .option("--min-alg <role:algs>", "the algorithms that count in a role from --from on")
    .addHelpText(
      "after",
      examples(
        "ctxmesh trust add root.json --role snapshot --key hub/snapshot.jwk",
        "ctxmesh trust add root.json --log log.example/plant --ed25519 hub/log-ed25519.jwk --mldsa44 hub/log-mldsa44.jwk",
        "ctxmesh trust add root.json --out next.json --witness witness.example --mldsa44 w.pub --witness-threshold 1",
        "ctxmesh trust add root.json --out next.json --min-alg issuer:ML-DSA-65-Ed25519 --from 2027-01-01T00:00:00Z",
        "ctxmesh trust add root.json --out next.json --days 365",
      ) +
        "\n\nA file that nobody has signed is changed in its place. A signed one stays; the next version goes to --out.",
    )
    .action(async (file: string, options: TrustAddOptions) =>
      (await import("./commands/trust-change.ts")).runTrustAdd(file, options),
    );
}

function addRotateAndRevoke(trust: Command): void {
  changeCommand(trust, "rotate <file>", "put a new key in the place of one")
    .requiredOption("--key <id>", "id of the old key, or how it begins")
    .requiredOption("--to <file>", "key file of the new key")
    .option(
      "--overlap <duration>",
      "how long the old one stays good: 2h, 30d (default: not at all)",
    )
    .addHelpText(
      "after",
      examples(
        "ctxmesh trust rotate root.json --out next.json --key q1Zx --to hub/snapshot-2.jwk --overlap 7d",
      ) + "\n\nThe old key stays in the file, so that what it signed in its time stays good.",
    )
    .action(async (file: string, options: TrustRotateOptions) =>
      (await import("./commands/trust-change.ts")).runTrustRotate(file, options),
    );
  changeCommand(trust, "revoke <file>", "say from when on a key can't be believed")
    .requiredOption("--key <id>", "id of the key, or how it begins")
    .requiredOption("--reason <text>", "why, for whoever reads the root")
    .option(
      "--at <time>",
      "the first moment that is in doubt: 2h, 2026-01-31T14:05:00Z (default: now)",
    )
    .addHelpText(
      "after",
      examples(
        'ctxmesh trust revoke root.json --out next.json --key q1Zx --at 2026-01-31T14:05:00Z --reason "hub stolen"',
      ) + "\n\nWhat a log recorded before that moment stays good.",
    )
    .action(async (file: string, options: TrustRevokeOptions) =>
      (await import("./commands/trust-change.ts")).runTrustRevoke(file, options),
    );
}

/** `ctxmesh trust`. */
export function addTrustCommands(program: Command): void {
  const trust = program
    .command("trust")
    .description("the trust root that auditors pin: begin, change, sign and read it, offline")
    .addHelpText(
      "after",
      examples("ctxmesh trust show root.json", "ctxmesh trust sign next.json --key ann.jwk"),
    );
  addInit(trust);
  addAdd(trust);
  addRotateAndRevoke(trust);
  trust
    .command("sign <file>")
    .description("add a signature to a trust root")
    .requiredOption("--key <file>", "private key file of a root key")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh trust sign next.json --key ann.jwk",
        "CTXMESH_PASSPHRASE_FILE=passphrase ctxmesh trust sign next.json --key ann.jwk",
      ) + "\n\nRead what you sign first: ctxmesh trust show FILE --against OLD.",
    )
    .action(async (file: string, options: TrustSignOptions) =>
      (await import("./commands/trust-sign.ts")).runTrustSign(file, options),
    );
  trust
    .command("show <file>")
    .description("what a trust root says, who signed it, who is missing, and what changed")
    .option("--against <file>", "the version that it follows")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples("ctxmesh trust show root.json", "ctxmesh trust show next.json --against root.json") +
        "\n\nExit codes: 0 it would be taken, 1 a signature is wrong, 2 signatures are missing, it has expired, or\nit does not follow the other one.",
    )
    .action(async (file: string, options: TrustShowOptions) =>
      (await import("./commands/trust-show.ts")).runTrustShow(file, options),
    );
}

const PASSPHRASE_HELP =
  "\n\nThe passphrase is the first line of a file that only its owner can read: --passphrase-file, else the variable\nCTXMESH_PASSPHRASE_FILE. Every command that reads a key reads an encrypted one when that variable is set.";

/** The commands of `ctxmesh keys` that need no daemon. */
export function addKeyFileCommands(keys: Command): void {
  keys
    .command("new <file>")
    .description("make a private key")
    .addOption(
      new Option("--alg <alg>", "algorithm")
        .choices(ALGORITHM_CHOICES)
        .default("ML-DSA-65-Ed25519"),
    )
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples("ctxmesh keys new ann.jwk", "ctxmesh keys new log.jwk --alg ML-DSA-44"),
    )
    .action(async (file: string, options: NewKeyOptions) =>
      (await import("./commands/keys-files.ts")).runKeysNew(file, options),
    );
  keys
    .command("public <file>")
    .description("print the public part of a key file, to be given to others")
    .addHelpText("after", examples("ctxmesh keys public ann.jwk > ann.pub"))
    .action(async (file: string) => (await import("./commands/keys-files.ts")).runKeysPublic(file));
  const change = (
    name: "encrypt" | "decrypt",
    description: string,
    run: (file: string, options: EncryptOptions) => Promise<void>,
  ): void => {
    keys
      .command(`${name} <file>`)
      .description(description)
      .option("--passphrase-file <path>", "file whose first line is the passphrase")
      .addOption(jsonOption())
      .addHelpText(
        "after",
        examples(`ctxmesh keys ${name} creator/root.jwk --passphrase-file passphrase`) +
          PASSPHRASE_HELP,
      )
      .action(run);
  };
  change("encrypt", "protect a private key file with a passphrase", async (file, options) =>
    (await import("./commands/keys-files.ts")).runKeysEncrypt(file, options),
  );
  change("decrypt", "take the passphrase of a private key file away", async (file, options) =>
    (await import("./commands/keys-files.ts")).runKeysDecrypt(file, options),
  );
}
