// SPDX-License-Identifier: Apache-2.0
/** Opening a store: what is in the folder decides what happens, before LevelDB touches it. */
import { constants } from "node:fs";
import { access, readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Logger } from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";
import type { AnchorContent } from "./anchor.ts";
import { ANCHOR, AnchorKeeper, readAnchor } from "./anchor.ts";
import { createStore } from "./create.ts";
import type { Database } from "./database.ts";
import {
  codeOf,
  damagedError,
  isLocked,
  lockedError,
  openDatabase,
  operationError,
  textOf,
} from "./database.ts";
import { refuseMarked } from "./damage-mark.ts";
import { checkFiles, sync } from "./files.ts";
import { checkFormat } from "./format.ts";
import type { LevelStore } from "./level-store.ts";
import { OpenStore } from "./level-store.ts";
import type { MarkerRange } from "./markers.ts";
import { Markers, checkMarkers, hasMark } from "./markers.ts";

/** The file that every LevelDB database has. */
const LEVELDB_MARK = "CURRENT";

/**
 * Opens the store in the folder `path`, and creates it when the folder is absent or empty (the
 * parent must exist). One process can have it open. Each record carries its own hash, checked on
 * every read; each write is one atomic synced batch; writes apply in call order.
 *
 * A `scan` takes its snapshot at the call and holds it until it has been read to the end or left;
 * one that is never read holds it until `close`. Keys are non-empty and do not begin with 0x00, or
 * the call is refused with `INPUT_INVALID`; bounds of a scan may be any bytes.
 *
 * Before anything is served, it is checked that no table is damaged (each checksum, which costs about
 * a second per gigabyte), that no write in the middle has gone (markers.ts), and that no acknowledged
 * write at the end has, up to the last second before a crash (anchor.ts). A store without its anchor
 * opens, with the warning `store.anchor-missing`: the anchor guards against faults, not against
 * somebody who may write to the folder, and a copy made without it is still a store.
 *
 * Throws `STORE_LOCKED` when another process has it, `STORE_FORMAT` when the folder holds something
 * else or the store of an incompatible version, `STORE_CORRUPT` when anything is damaged or lost,
 * `FILE_UNAVAILABLE` when the folder can't be used or created, `STORE_FAILED` on any other I/O error.
 * Nothing is ever repaired: a repair drops records silently.
 */
export async function openLevelStore(options: {
  readonly path: string;
  readonly logger?: Logger;
}): Promise<LevelStore> {
  const { logger } = options;
  const path = resolve(options.path);
  if ((await contentOf(path)) === "nothing") await createStore(path, logger);
  await syncLeftovers(path);
  await refuseMarked(path).catch((error: unknown) => {
    throw damagedError(path, error);
  });
  await checkBeforeOpening(path);
  const database = await openDatabase(path, { create: false });
  try {
    const { markers, anchor } = await checkContent(path, database, logger);
    logger?.info("store.opened", { path });
    return new OpenStore({ path, database, markers, anchor, logger });
  } catch (error) {
    await database.close();
    const known = operationError(path, error);
    throw isDamage(known) ? damagedError(path, known) : known;
  }
}

/**
 * Makes durable what a killed process left unsynced. LevelDB takes it over from the page cache into tables
 * and a new MANIFEST, and never syncs the folder for their names: after a power cut the old MANIFEST would
 * stand beside a `.log` without its tail.
 */
async function syncLeftovers(path: string): Promise<void> {
  for (const name of await readdir(path)) {
    try {
      await sync(join(path, name));
    } catch (error) {
      // A process that has the store may remove its files; what can't be read is refused below.
      if (!["ENOENT", "EACCES", "EISDIR", "EINVAL"].includes(codeOf(error) ?? "")) {
        throw operationError(path, error);
      }
    }
  }
  await sync(path);
}

/**
 * Refuses damaged files while LevelDB has not touched them yet: on opening, it begins to rewrite
 * tables without a look at their checksums.
 */
async function checkBeforeOpening(path: string): Promise<void> {
  try {
    await checkFiles(path);
  } catch (error) {
    if (!isDamage(error)) throw error;
    if (await isLocked(path)) throw lockedError(path, error);
    await checkAgain(path);
  }
}

/** The files may have changed under the first look, by a process that had the store until now. */
async function checkAgain(path: string): Promise<void> {
  try {
    await checkFiles(path);
  } catch (error) {
    throw isDamage(error) ? damagedError(path, error) : error;
  }
}

const isDamage = (error: unknown): boolean =>
  error instanceof MeshError && error.code === "STORE_CORRUPT";

async function checkContent(
  path: string,
  database: Database,
  logger: Logger | undefined,
): Promise<{ markers: Markers; anchor: AnchorKeeper }> {
  const anchor = await readAnchor(path);
  const store = await checkFormat(path, database).catch((error: unknown) => {
    const isMissing = error instanceof MeshError && error.code === "STORE_FORMAT";
    throw isMissing && anchor !== undefined ? damagedError(path, error) : error;
  });
  const range = await checkMarkers(path, database);
  if (anchor === undefined) {
    logger?.warn("store.anchor-missing", { path, newest: range.newest.number });
  } else {
    await checkAnchor(anchor, store, database, range);
  }
  const { newest } = range;
  const keeper = new AnchorKeeper({ path, store, written: anchor?.number, newest, logger });
  return { markers: new Markers(range), anchor: keeper };
}

async function checkAnchor(
  anchor: AnchorContent,
  store: string,
  database: Database,
  range: MarkerRange,
): Promise<void> {
  if (anchor.store !== store) {
    throw new MeshError("STORE_CORRUPT", `${ANCHOR}: it is that of another store`);
  }
  if (anchor.number > range.newest.number) {
    const lost = `${String(range.newest.number + 1)} to ${String(anchor.number)}`;
    throw new MeshError("STORE_CORRUPT", `the acknowledged writes ${lost} are missing`);
  }
  if (!(await hasMark(database, range, anchor))) {
    const number = String(anchor.number);
    throw new MeshError("STORE_CORRUPT", `write ${number} is not the one that was acknowledged`);
  }
}

/** `nothing` when the folder is absent or empty, `database` when it holds a LevelDB database. */
async function contentOf(path: string): Promise<"nothing" | "database"> {
  let names: string[];
  try {
    if (!(await stat(path)).isDirectory()) throw unavailable(path, "it is not a folder");
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
    names = await readdir(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return "nothing";
    throw error instanceof MeshError ? error : unavailable(path, textOf(error), error);
  }
  if (names.length === 0) return "nothing";
  if (names.includes(LEVELDB_MARK)) return "database";
  if (names.includes(ANCHOR)) {
    throw damagedError(path, new Error(`${LEVELDB_MARK}: it is missing`));
  }
  throw new MeshError("STORE_FORMAT", `${path} holds files, but no store`, {
    remedy: "give the path of a store, or one that does not exist yet",
  });
}

function unavailable(path: string, why: string, cause?: unknown): MeshError {
  return new MeshError("FILE_UNAVAILABLE", `can't use ${path} as a store: ${why}`, {
    remedy: "give the path of a folder that this user can read and write",
    cause,
  });
}
