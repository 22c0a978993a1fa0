// SPDX-License-Identifier: Apache-2.0
/** The command line of what keeps a node well: backup, restore, doctor. */
import type { Command } from "commander";
import type { BackupOptions } from "./commands/backup.ts";
import type { DoctorOptions } from "./commands/doctor.ts";
import type { RestoreOptions } from "./commands/restore.ts";
import { clientCommand, examples, jsonOption } from "./program-parts.ts";

/** `ctxmesh backup`, `restore` and `doctor`. */
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
}
