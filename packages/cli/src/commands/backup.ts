// SPDX-License-Identifier: Apache-2.0
import { lstat, open, rename, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { MeshError } from "@ctxmesh/model";
import { readBackup } from "@ctxmesh/service";
import type { BackupSummary } from "@ctxmesh/service";
import { counted, createOutput, formatTime } from "../output.ts";
import { createProgress, formatBytes } from "../progress.ts";
import type { Progress } from "../progress.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh backup`. */
export interface BackupOptions {
  readonly socket?: string;
  readonly json?: boolean;
}

/**
 * Saves a backup of a running daemon's store, verified while it is written: aside, synced and renamed. Throws
 * `FILE_UNAVAILABLE` when the file exists or can't be written, `ABORTED` when interrupted, and what the daemon
 * and `readBackup` throw; then there is no file.
 */
export async function runBackup(file: string, options: BackupOptions): Promise<void> {
  await refuseExisting(file);
  const interrupt = new AbortController();
  const stop = (): void => interrupt.abort();
  process.once("SIGINT", stop).once("SIGTERM", stop);
  const progress = createProgress();
  try {
    const summary = await withClient(options.socket, "agent", async (client) =>
      save(client.backup({ signal: interrupt.signal }), file, progress),
    );
    progress.clear();
    await report(file, summary, options);
  } finally {
    progress.clear();
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

async function save(
  bytes: AsyncIterable<Uint8Array>,
  file: string,
  progress: Progress,
): Promise<BackupSummary> {
  const aside = `${file}.partial-${String(process.pid)}`;
  const handle = await open(aside, "wx", 0o600).catch((error: unknown) => {
    throw unwritable(file, error);
  });
  try {
    let records = 0;
    let written = 0;
    const summary = await readBackup(
      writing(bytes, handle, file, (count) => (written += count)),
      (part) => {
        records += part.length;
        progress.show(`backing up: ${counted(records, "record")}, ${formatBytes(written)}`);
      },
    );
    await finish(handle, aside, file);
    return summary;
  } catch (error) {
    await handle.close();
    await rm(aside, { force: true });
    throw error;
  }
}

/** Hands on what it has written. */
async function* writing(
  bytes: AsyncIterable<Uint8Array>,
  handle: FileHandle,
  file: string,
  onWritten: (count: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of bytes) {
    await handle.writeFile(chunk).catch((error: unknown) => {
      throw unwritable(file, error);
    });
    onWritten(chunk.length);
    yield chunk;
  }
}

async function finish(handle: FileHandle, aside: string, file: string): Promise<void> {
  try {
    await handle.sync();
    await handle.close();
    await refuseExisting(file);
    await rename(aside, file);
    const folder = await open(dirname(file), "r");
    await folder.sync().finally(async () => folder.close());
  } catch (error) {
    throw error instanceof MeshError ? error : unwritable(file, error);
  }
}

async function refuseExisting(file: string): Promise<void> {
  const entry = await lstat(file).catch(() => undefined);
  if (entry === undefined) return;
  throw new MeshError("FILE_UNAVAILABLE", `${file} exists already`, {
    field: "file",
    remedy: "name a new file; a backup never replaces another one",
  });
}

function unwritable(file: string, error: unknown): MeshError {
  const reason = error instanceof Error && "code" in error ? String(error.code) : String(error);
  return new MeshError("FILE_UNAVAILABLE", `can't write ${file}: ${reason}`, {
    field: "file",
    remedy: "name a file in a folder that exists, has room, and that you may write to",
    cause: error,
  });
}

async function report(file: string, summary: BackupSummary, options: BackupOptions): Promise<void> {
  const output = createOutput(options);
  if (output.json) {
    await output.line(JSON.stringify({ file, ...summary }));
    return;
  }
  const { records, bytes, takenAt } = summary;
  await output.line(
    `wrote ${file}: ${counted(records, "record")}, ${formatBytes(bytes)}, as of ${formatTime(takenAt)}`,
  );
  await output.line(`sha256 ${summary.sha256}`);
  await output.line(`restore it: ctxmesh restore ${file} STORE_DIR`);
}
