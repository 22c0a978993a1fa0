// SPDX-License-Identifier: Apache-2.0
/**
 * Creation of a new store. LevelDB does not sync the first files of a database, so a power cut
 * during creation can leave one that won't open. A new store is therefore made in a folder aside,
 * synced whole, and renamed into place: `path` is either absent or a store.
 */
import { randomBytes } from "node:crypto";
import { readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Logger } from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";
import { writeAnchor } from "./anchor.ts";
import { codeOf, openDatabase, textOf } from "./database.ts";
import { sync } from "./files.ts";
import { writeFormat } from "./format.ts";
import { CREATION } from "./markers.ts";

const STORE_ID_BYTES = 16;
/** Folders in which this process is creating a store right now. */
const underWay = new Set<string>();

/**
 * Creates an empty store in `path`, which must be absent or an empty folder. Returns quietly when
 * another process did so first. Throws `STORE_LOCKED` while this process already creates it,
 * `FILE_UNAVAILABLE` when the parent folder is missing or can't be written.
 */
export async function createStore(path: string, logger: Logger | undefined): Promise<void> {
  const aside = `${path}.new-${String(process.pid)}`;
  if (underWay.has(aside)) {
    throw new MeshError("STORE_LOCKED", `the store ${path} is being created by this process`);
  }
  underWay.add(aside);
  try {
    await removeLeftovers(path, logger);
    await build(aside);
    await moveIntoPlace(aside, path);
    logger?.info("store.created", { path });
  } catch (error) {
    await rm(aside, { recursive: true, force: true }).catch(() => undefined);
    throw creationError(path, error);
  } finally {
    underWay.delete(aside);
  }
}

async function build(aside: string): Promise<void> {
  const database = await openDatabase(aside, { create: true });
  const store = randomBytes(STORE_ID_BYTES).toString("hex");
  try {
    await writeFormat(database, store);
  } finally {
    await database.close();
  }
  await writeAnchor(aside, { store, ...CREATION });
  for (const name of await readdir(aside)) await sync(join(aside, name));
  await sync(aside);
}

async function moveIntoPlace(aside: string, path: string): Promise<void> {
  try {
    await rename(aside, path);
  } catch (error) {
    if (codeOf(error) !== "ENOTEMPTY" && codeOf(error) !== "EEXIST") throw error;
    await rm(aside, { recursive: true, force: true });
  }
  await sync(dirname(path));
}

/** Removes what earlier creations left that never came to their rename: the folders of processes that are gone. */
async function removeLeftovers(path: string, logger: Logger | undefined): Promise<void> {
  const parent = dirname(path);
  const prefix = `${basename(path)}.new-`;
  for (const name of await readdir(parent)) {
    const pid = name.startsWith(prefix) ? name.slice(prefix.length) : "";
    if (!/^[1-9][0-9]{0,9}$/u.test(pid) || isRunning(Number(pid))) continue;
    await rm(join(parent, name), { recursive: true, force: true });
    logger?.warn("store.leftover-removed", { path: join(parent, name) });
  }
}

/** Our own number counts as gone: an earlier process may have had it, as the first one of a container always has. */
function isRunning(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== "ESRCH";
  }
}

function creationError(path: string, error: unknown): MeshError {
  if (error instanceof MeshError && error.code !== "STORE_FAILED") return error;
  const cause = error instanceof MeshError ? error.cause : error;
  return new MeshError("FILE_UNAVAILABLE", `can't create the store ${path}: ${textOf(cause)}`, {
    remedy: "create its parent folder, and let this user write to it",
    cause,
  });
}
