// SPDX-License-Identifier: Apache-2.0
/** The command line of what keeps a node well: backup, restore, doctor, scrub, keys. */
import type { Command } from "commander";
import type { BackupOptions } from "./commands/backup.ts";
import type { DoctorOptions } from "./commands/doctor.ts";
import type { CertificateOptions } from "./commands/keys-certificate.ts";
import type { KeysOptions, RewrapOptions } from "./commands/keys.ts";
import type { RestoreOptions } from "./commands/restore.ts";
import type { ScrubOptions } from "./commands/scrub.ts";
import { clientCommand, examples, jsonOption } from "./program-parts.ts";
import { addKeyFileCommands } from "./program-trust.ts";

/** `ctxmesh backup`, `restore`, `doctor`, `scrub` and `keys`. */
export function addCareCommands(program: Command): void {
  clientCommand(program, "backup <file>", "save a backup of a running daemon's store")
    .addHelpText(
      "after",
      examples(
        "ctxmesh backup agent-1.backup",
        "ctxmesh backup hub.backup --socket hub/hub.sock --json",
      ) +
        "\n\nThe daemon goes on reading and writing; the file has all that was acknowledged before the backup\nbegan, and is verified while it is written. What is encrypted in the store is encrypted in the file,\nand its data keys are in it, wrapped: keep the key that opens the store, the device key and the\nconfiguration apart from it, they are not in it. It never replaces a file.",
    )
    .action(async (file: string, options: BackupOptions) =>
      (await import("./commands/backup.ts")).runBackup(file, options),
    );
  program
    .command("restore <file> <dir>")
    .description("make a store of a backup, in a folder that is absent or empty")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples("ctxmesh restore agent-1.backup agent-1/store") +
        "\n\nThe whole file is verified before anything is written. DIR is the store of a configuration; the\ndaemon that starts with it goes on in a chain of its own, and gets from its peers what is newer.\nStop the daemon that the backup is of first: two that run as one device disturb each other.",
    )
    .action(async (file: string, dir: string, options: RestoreOptions) =>
      (await import("./commands/restore.ts")).runRestore(file, dir, options),
    );
  program
    .command("doctor <config>")
    .description("check a daemon's configuration, keys, grant, disk, store and clock")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples("ctxmesh doctor agent-1.yaml", "ctxmesh doctor hub.yaml --json") +
        "\n\nNothing is changed. With the daemon stopped, every chain and record of its store is checked; a\nrunning one is asked for its state instead.\n\nExit codes: 0 nothing failed, 1 something did.",
    )
    .action(async (file: string, options: DoctorOptions) =>
      (await import("./commands/doctor.ts")).runDoctor(file, options),
    );
  clientCommand(program, "scrub", "have a daemon check its whole store for damage now")
    .addHelpText(
      "after",
      examples("ctxmesh scrub", "ctxmesh scrub --socket hub/hub.sock --json") +
        "\n\nA daemon does so by itself once a day. Every table and record is read, in the background, with a\ntwenty-fifth of a core; some four minutes for a gigabyte. Damage makes the node not ready; a restart\nheals it.\n\nExit codes: 0 nothing is damaged, 1 something is.",
    )
    .action(async (options: ScrubOptions) =>
      (await import("./commands/scrub.ts")).runScrub(options),
    );
  addKeysCommands(program);
}

function addKeysCommands(program: Command): void {
  const keys = program
    .command("keys")
    .description(
      "the keys that a store is encrypted with, key files, and certificates of device keys",
    )
    .addHelpText("after", examples("ctxmesh keys show", "ctxmesh keys rotate"));
  addKeyFileCommands(keys);
  clientCommand(keys, "show", "how the store is encrypted, and how old its keys are")
    .addHelpText(
      "after",
      examples("ctxmesh keys show", "ctxmesh keys show --socket hub/hub.sock --json"),
    )
    .action(async (options: KeysOptions) =>
      (await import("./commands/keys.ts")).runKeysShow(options),
    );
  clientCommand(keys, "rotate", "encrypt what is written from now on with new data keys")
    .addHelpText(
      "after",
      examples("ctxmesh keys rotate") +
        "\n\nA data key is replaced by itself after 30 days, 1 GiB or 2^20 writes of its document. What is stored\nstays as it is, and so do the keys that open it.",
    )
    .action(async (options: KeysOptions) =>
      (await import("./commands/keys.ts")).runKeysRotate(options),
    );
  clientCommand(keys, "rewrap", "protect the store with another key, while the daemon runs")
    .requiredOption("--to <key>", "where the new key is; see below")
    .addHelpText(
      "after",
      examples(
        "ctxmesh keys rewrap --to file:agent-1/store-2.key",
        "ctxmesh keys rewrap --to credential:store-key",
        'ctxmesh keys rewrap --to "pkcs11:token=mesh;object=store?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/ctxmesh/pin"',
      ) +
        "\n\nKEY is file:PATH (made when it is missing), credential:NAME, environment:NAME, or a PKCS #11 URI. The\ndaemon reads it. The store gets a new key of its own, protected by that one, which wraps all data keys;\nno fact is written again. After a crash in between, exactly one of both keys opens the store, and the\nerror of the start names it. To finish, put into the configuration what the command prints.",
    )
    .action(async (options: RewrapOptions) =>
      (await import("./commands/keys.ts")).runKeysRewrap(options),
    );
  keys
    .command("certificate <key>")
    .description("a client certificate of a device key, for hubs that ask for one")
    .option("--request", "a request instead, which an authority answers with one")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        "ctxmesh keys certificate agent-1/device.jwk > agent-1/device.pem",
        "ctxmesh keys certificate agent-1/device.jwk --request > agent-1/device.csr",
      ) +
        "\n\nA hub with tls.requireClientCertificate takes the first, as the grant of the device says who it is;\none with tls.clientCa besides wants one that this authority has signed. Name it in hubTls.cert.",
    )
    .action(async (key: string, options: CertificateOptions) =>
      (await import("./commands/keys-certificate.ts")).runKeysCertificate(key, options),
    );
}
