// SPDX-License-Identifier: Apache-2.0
/** Opening a store: what is in the folder decides what happens, before LevelDB touches it. */
import { constants } from "node:fs";
import { access, readdir, stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Logger, Store } from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";
import { createStore } from "./create.ts";
import { codeOf, openDatabase, textOf } from "./database.ts";
import { checkFormat } from "./format.ts";
import { LevelStore } from "./level-store.ts";

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
 * Throws `STORE_LOCKED` when another process has it, `STORE_FORMAT` when the folder holds something
 * else or the store of a newer, incompatible version, `STORE_CORRUPT` when LevelDB or the format
 * record is damaged, `FILE_UNAVAILABLE` when the folder can't be used or created, `STORE_FAILED` on
 * any other I/O error. Nothing is ever repaired: a repair drops records silently.
 */
export async function openLevelStore(options: {
  readonly path: string;
  readonly logger?: Logger;
}): Promise<Store> {
  const { logger } = options;
  const path = resolve(options.path);
  if ((await contentOf(path)) === "nothing") await createStore(path, logger);
  const database = await openDatabase(path, { create: false });
  try {
    await checkFormat(path, database);
  } catch (error) {
    await database.close();
    throw error;
  }
  logger?.info("store.opened", { path });
  return new LevelStore(path, database, logger);
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
