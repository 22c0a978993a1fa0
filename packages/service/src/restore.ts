// SPDX-License-Identifier: Apache-2.0
/** Making a store of a backup. */
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { MeshError, toMeshError } from "@ctxmesh/model";
import { LOG_NAME_KEY } from "@ctxmesh/replica";
import { openLevelStore } from "@ctxmesh/store-level";
import type { BackupRecord } from "./backup-format.ts";
import { readBackup } from "./backup-reader.ts";
import type { BackupSummary } from "./backup-reader.ts";
import { SEALS_UNCERTAIN } from "./seals-uncertain.ts";

const CHUNK_BYTES = 1_048_576;

/** How far a restore is. */
export interface RestoreProgress {
  readonly step: "verifying" | "writing";
  readonly records: number;
  readonly bytes: number;
}

/**
 * Makes a store in the folder `path`, which must be absent or empty, of the backup in `file`. All of the file is
 * verified before anything is written; the store is written beside `path`, synced, and renamed into place, so
 * that `path` has all of it or nothing. That of a hub is marked: it may lack seals ({@link SEALS_UNCERTAIN}). A replica that opens it begins an incarnation of its own, as at every start.
 *
 * Throws `FILE_UNAVAILABLE` when the file can't be read or the folder is in the way or can't be written, what
 * {@link readBackup} throws with the file's name, and `STORE_FAILED`.
 */
export async function restoreBackup(options: {
  readonly file: string;
  readonly path: string;
  readonly onProgress?: (progress: RestoreProgress) => void;
}): Promise<BackupSummary> {
  const { file } = options;
  const path = resolve(options.path);
  await refuseOccupied(path);
  const handle = await openFile(file);
  try {
    const verified = await read(file, handle, track("verifying", options.onProgress));
    const aside = `${path}.restoring`;
    await makeAside(aside);
    try {
      const again = await fill(aside, file, handle, options.onProgress);
      if (again.sha256 !== verified.sha256) {
        throw new MeshError("STORE_CORRUPT", `${file} changed while it was read`);
      }
      await moveIntoPlace(aside, path);
    } catch (error) {
      await rm(aside, { recursive: true, force: true }).catch(() => undefined);
      throw error;
    }
    return verified;
  } finally {
    await handle.close();
  }
}

type Take = (records: readonly BackupRecord[]) => void | Promise<void>;

/** Tells of progress before the records of each part go on to `take`. */
function track(
  step: RestoreProgress["step"],
  onProgress: ((progress: RestoreProgress) => void) | undefined,
  take: Take = () => undefined,
): Take {
  let [count, bytes] = [0, 0];
  return async (records) => {
    count += records.length;
    for (const [key, value] of records) bytes += key.length + value.length;
    onProgress?.({ step, records: count, bytes });
    await take(records);
  };
}

async function read(file: string, handle: FileHandle, take: Take): Promise<BackupSummary> {
  try {
    return await readBackup(chunksOf(file, handle), take);
  } catch (error) {
    const { code, message, remedy } = toMeshError(error);
    // Of the new store or of reading, which name what they are about.
    if (code !== "STORE_CORRUPT" && code !== "FORMAT_INVALID" && code !== "STORE_FORMAT")
      throw error;
    throw new MeshError(code, `${file}: ${message}`, {
      ...(remedy === undefined ? {} : { remedy }),
      cause: error,
    });
  }
}

async function* chunksOf(
  file: string,
  handle: FileHandle,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let position = 0; ;) {
    const chunk = new Uint8Array(CHUNK_BYTES);
    const { bytesRead } = await handle
      .read(chunk, 0, CHUNK_BYTES, position)
      .catch((error: unknown) => {
        throw unavailable(`can't read the backup ${file}`, error);
      });
    if (bytesRead === 0) return;
    position += bytesRead;
    yield chunk.subarray(0, bytesRead);
  }
}

async function fill(
  aside: string,
  file: string,
  handle: FileHandle,
  onProgress: ((progress: RestoreProgress) => void) | undefined,
): Promise<BackupSummary> {
  const store = await openLevelStore({ path: aside });
  try {
    const write = track("writing", onProgress, async (records) =>
      store.write(records.map(([key, value]) => ({ key, value }))),
    );
    const summary = await read(file, handle, write);
    // What comes next in its log is not what came in the one that was backed up.
    const unnamed = { key: LOG_NAME_KEY };
    await store.write(summary.service === "hub" ? [SEALS_UNCERTAIN, unnamed] : [unnamed]);
    return summary;
  } finally {
    await store.close();
  }
}

async function moveIntoPlace(aside: string, path: string): Promise<void> {
  for (const name of await readdir(aside)) await sync(join(aside, name));
  await sync(aside);
  try {
    await rename(aside, path);
  } catch (error) {
    throw unavailable(`can't move the store to ${path}`, error);
  }
  await sync(dirname(path));
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function refuseOccupied(path: string): Promise<void> {
  let entries: readonly string[];
  try {
    entries = await readdir(path);
  } catch (error) {
    if (reasonOf(error) === "ENOENT") return;
    throw unavailable(`can't restore into ${path}`, error);
  }
  if (entries.length === 0) return;
  throw new MeshError("FILE_UNAVAILABLE", `${path} is not empty`, {
    remedy: "name a folder that does not exist yet; a store is never restored over another one",
  });
}

async function makeAside(aside: string): Promise<void> {
  try {
    await mkdir(aside, { mode: 0o700 });
  } catch (error) {
    if (reasonOf(error) !== "EEXIST") throw unavailable(`can't make ${aside}`, error);
    throw new MeshError("FILE_UNAVAILABLE", `${aside} is in the way`, {
      remedy: "another restore is under way, or one was cut short: remove that folder if none is",
      cause: error,
    });
  }
}

async function openFile(file: string): Promise<FileHandle> {
  try {
    return await open(file, "r");
  } catch (error) {
    throw unavailable(`can't read the backup ${file}`, error);
  }
}

const reasonOf = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : String(error);

const unavailable = (what: string, error: unknown): MeshError =>
  new MeshError("FILE_UNAVAILABLE", `${what}: ${reasonOf(error)}`, {
    remedy: "check the path, and that this user may read and write there",
    cause: error,
  });
