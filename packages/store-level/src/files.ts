// SPDX-License-Identifier: Apache-2.0
/** The files of a store: what makes them durable, and the check of those that LevelDB does not check itself. */
import { open, readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { MeshError } from "@ctxmesh/model";
import { codeOf } from "./database.ts";
import { damagedFile } from "./level-bytes.ts";
import type { TableFacts } from "./manifest.ts";
import { liveTables } from "./manifest.ts";
import type { Marker } from "./markers.ts";
import { markersInLog, markersInTable } from "./orphans.ts";
import { checkTable } from "./table.ts";

const NUMBER_DIGITS = 6;

/** Flushes a file, or the entries of a folder, to stable storage. */
export async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * The names of the tables that the database in `path` consists of, with what is known of each. Throws
 * `STORE_CORRUPT` when CURRENT or the MANIFEST it names is damaged or missing.
 */
export async function tablesOf(path: string): Promise<ReadonlyMap<string, TableFacts>> {
  const current = new TextDecoder().decode(await contentOf(path, "CURRENT"));
  const name = /^(MANIFEST-[0-9]+)\n$/u.exec(current)?.[1];
  if (name === undefined) throw damagedFile("CURRENT", "it does not name a MANIFEST");
  const tables = new Map<string, TableFacts>();
  for (const [number, facts] of liveTables(name, await contentOf(path, name))) {
    tables.set(`${String(number).padStart(NUMBER_DIGITS, "0")}.ldb`, facts);
  }
  return tables;
}

/** Throws `STORE_CORRUPT` unless the file `name` in the folder `path` is the table that `facts` tell of, without damage. */
export async function checkTableFile(path: string, name: string, facts: TableFacts): Promise<void> {
  checkTable(name, await contentOf(path, name), facts);
}

/**
 * Checks every table of the database in `path`, and that the MANIFEST has forgotten none, without
 * changing anything. Throws `STORE_CORRUPT`, `STORE_FAILED` on I/O errors.
 */
export async function checkFiles(path: string): Promise<void> {
  const tables = await tablesOf(path);
  await checkTables(path, [...tables]);
  const names = (await readdir(path)).filter((name) => /^\d+\.(?:ldb|log)$/u.test(name));
  if (names.some((name) => isOrphan(name, tables))) await checkOrphans(path, names, tables);
}

/** Reads each table while the one before is checked. */
async function checkTables(
  path: string,
  tables: readonly (readonly [name: string, facts: TableFacts])[],
): Promise<void> {
  const read = async (place: number): Promise<Uint8Array | undefined> => {
    const name = tables[place]?.[0];
    return name === undefined ? undefined : await contentOf(path, name);
  };
  let next = read(0);
  for (const [place, [name, facts]] of tables.entries()) {
    const bytes = await next;
    next = read(place + 1);
    try {
      if (bytes !== undefined) checkTable(name, bytes, facts);
    } catch (error) {
      await next.catch(() => undefined);
      throw error;
    }
  }
}

const isOrphan = (name: string, tables: ReadonlyMap<string, unknown>): boolean =>
  name.endsWith(".ldb") && !tables.has(name);

async function checkOrphans(
  path: string,
  names: readonly string[],
  tables: ReadonlyMap<string, TableFacts>,
): Promise<void> {
  const named: Marker[] = [];
  const orphans: (readonly [name: string, newest: number])[] = [];
  for (const name of names) {
    if (!mayHaveMarkers(tables.get(name))) continue;
    const bytes = await contentOf(path, name);
    const markers = name.endsWith(".log") ? markersInLog(name, bytes) : markersInTable(name, bytes);
    if (isOrphan(name, tables)) orphans.push([name, newestOf(markers)?.number ?? 0]);
    else named.push(...markers);
  }
  const kept = newestOf(named)?.oldest ?? 1;
  const numbers = new Set(named.map(({ number }) => number));
  for (const [name, newest] of orphans) {
    if (newest < kept || numbers.has(newest)) continue;
    throw damagedFile("MANIFEST", `it does not name ${name}, which has write ${String(newest)}`);
  }
}

/** Markers come first of all keys but the format record. */
const mayHaveMarkers = (facts: TableFacts | undefined): boolean =>
  facts === undefined || facts.smallest[0] === 0;

const newestOf = (markers: readonly Marker[]): Marker | undefined =>
  markers.reduce<Marker | undefined>(
    (newest, marker) => (marker.number > (newest?.number ?? 0) ? marker : newest),
    undefined,
  );

async function contentOf(path: string, name: string): Promise<Uint8Array> {
  try {
    return await readFile(join(path, name));
  } catch (error) {
    if (codeOf(error) === "ENOENT") throw damagedFile(name, "it is missing");
    throw new MeshError("STORE_FAILED", `can't read ${join(path, name)}`, { cause: error });
  }
}
