// SPDX-License-Identifier: Apache-2.0
import { restoreBackup } from "@ctxmesh/service";
import type { BackupSummary } from "@ctxmesh/service";
import { counted, createOutput, formatTime, shortId } from "../output.ts";
import { createProgress, formatBytes } from "../progress.ts";

/** Options of `ctxmesh restore`. */
export interface RestoreOptions {
  readonly json?: boolean;
}

/** Makes a store of a backup in a folder that is absent or empty. Throws what `restoreBackup` throws; then the folder is as it was. */
export async function runRestore(
  file: string,
  path: string,
  options: RestoreOptions,
): Promise<void> {
  const progress = createProgress();
  let summary: BackupSummary;
  try {
    summary = await restoreBackup({
      file,
      path,
      onProgress: ({ step, records, bytes }) => {
        progress.show(`${step}: ${counted(records, "record")}, ${formatBytes(bytes)}`);
      },
    });
  } finally {
    progress.clear();
  }
  const output = createOutput(options);
  if (output.json) {
    await output.line(JSON.stringify({ store: path, ...summary }));
    return;
  }
  const { records, device, space, service, takenAt } = summary;
  await output.line(
    `restored ${counted(records, "record")} into ${path}: ${service} ${shortId(device)} of space ${shortId(space)}, as of ${formatTime(takenAt)}`,
  );
  if (service === "hub") {
    await output.line(
      output.style(
        "yellow",
        "seals made after the backup are not in it: to seal again, give the number of the newest one that anybody has: ctxmesh seal --after N",
      ),
    );
  }
}
