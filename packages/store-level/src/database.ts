// SPDX-License-Identifier: Apache-2.0
/** LevelDB with bytes for keys and values, and its errors in terms of the project. */
import { Level } from "level";
import { MeshError } from "@ctxmesh/model";

/** A LevelDB database; keys compare as unsigned bytes. */
export type Database = Level<Uint8Array, Uint8Array>;

/** Opens the database in the folder `path`: an existing one, or with `create` a new one. Throws as {@link openError}. */
export async function openDatabase(
  path: string,
  { create }: { create: boolean },
): Promise<Database> {
  const options = { keyEncoding: "view", valueEncoding: "view" };
  const database: Database = new Level(path, options);
  try {
    await database.open({ createIfMissing: create, errorIfExists: create });
    return database;
  } catch (error) {
    throw openError(path, error);
  }
}

/** Has LevelDB rewrite the tables that have keys from `start` to `end`. */
export async function compactRange(
  database: Database,
  start: Uint8Array,
  end: Uint8Array,
): Promise<void> {
  // Of the binding for Node.js (classic-level): `level` declares only what browsers have, too.
  const native = database as Database & {
    compactRange(start: Uint8Array, end: Uint8Array): Promise<void>;
  };
  await native.compactRange(start, end);
}

/** `STORE_LOCKED`, `STORE_CORRUPT` or `STORE_FAILED` for an error of opening `path`. */
function openError(path: string, error: unknown): MeshError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const code = codeOf(cause);
  if (code === "LEVEL_LOCKED") return lockedError(path, cause);
  if (code === "LEVEL_CORRUPTION") return damagedError(path, cause);
  return new MeshError("STORE_FAILED", `can't open the store ${path}: ${textOf(cause)}`, { cause });
}

/** An error of a read or a write as `CLOSED`, `STORE_CORRUPT` or `STORE_FAILED`; a `MeshError` stays as it is. */
export function operationError(path: string, error: unknown): MeshError {
  if (error instanceof MeshError) return error;
  const code = codeOf(error);
  if (code === "LEVEL_DATABASE_NOT_OPEN" || code === "LEVEL_ITERATOR_NOT_OPEN") {
    return closedError(path);
  }
  if (code === "LEVEL_CORRUPTION") return damagedError(path, error);
  return new MeshError("STORE_FAILED", `the store ${path} failed: ${textOf(error)}`, {
    cause: error,
  });
}

/** `STORE_CORRUPT` for the store in `path`, because of `cause`. */
export function damagedError(path: string, cause: unknown): MeshError {
  return new MeshError("STORE_CORRUPT", `the store ${path} is damaged: ${textOf(cause)}`, {
    remedy: "move the folder aside and let a new store fill from peers or the hub",
    cause,
  });
}

/** Whether another process, or this one, has the database in `path` open. Changes no data. */
export async function isLocked(path: string): Promise<boolean> {
  const probe: Database = new Level(path);
  try {
    // LevelDB takes its lock first, and then refuses a database that exists.
    await probe.open({ createIfMissing: false, errorIfExists: true });
    await probe.close();
    return false;
  } catch (error) {
    return codeOf(error instanceof Error ? error.cause : error) === "LEVEL_LOCKED";
  }
}

/** `STORE_LOCKED` for the store in `path`. */
export function lockedError(path: string, cause?: unknown): MeshError {
  return new MeshError("STORE_LOCKED", `the store ${path} is open in another process`, {
    remedy: "stop that process, or give this one a store of its own",
    cause,
  });
}

/** `CLOSED` for the store in `path`. */
export function closedError(path: string): MeshError {
  return new MeshError("CLOSED", `the store ${path} is closed`);
}

/** The `code` of a Node.js or LevelDB error. */
export function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : undefined;
}

/** The message of an unknown error. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
