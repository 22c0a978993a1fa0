// SPDX-License-Identifier: Apache-2.0
/**
 * The format record, which says what wrote the store and who can read it. Key: 0x00 `ctxmesh`;
 * payload: JSON `{"major":2,"minor":0,"minReader":2,"id":"..."}`, `id` being 32 random hex digits
 * that are made with the store. `minReader` is the oldest format whose programs may open the store: a number m for
 * m.0, or a text such as `"2.1"`. A program of format M.m opens a store of the same major number whose `minReader`
 * is M.m or below. A later minor number adds records that the one before it passes over, so one can go back by one
 * minor version: format 2.2 will say minReader "2.1". What the record has besides is passed over. The only other keys that begin with 0x00 are the markers (markers.ts).
 */
import { MeshError } from "@ctxmesh/model";
import type { Database } from "./database.ts";
import { operationError } from "./database.ts";
import { decodeRecord, encodeRecord } from "./record.ts";

/** The format this program writes. */
const FORMAT = { major: 2, minor: 0, minReader: 2 } as const;

/** The format of stores that this program makes, as `major.minor`. */
export const STORE_FORMAT: string = `${String(FORMAT.major)}.${String(FORMAT.minor)}`;

interface Version {
  readonly major: number;
  readonly minor: number;
}

interface Format extends Version {
  readonly minReader: Version;
  readonly id: string;
}

const FORMAT_KEY: Uint8Array = new TextEncoder().encode("\0ctxmesh");

/** Writes the format record of this program for the store `id` (32 hex digits) with a sync. */
export async function writeFormat(database: Database, id: string): Promise<void> {
  const payload = new TextEncoder().encode(JSON.stringify({ ...FORMAT, id }));
  await database.put(FORMAT_KEY, encodeRecord(FORMAT_KEY, payload), { sync: true });
}

/**
 * Checks that this program can read the store in `path`, and returns the store's id. Throws `STORE_FORMAT` when there is no format record or it
 * asks for another reader, `STORE_CORRUPT` when it does not match its hash.
 */
export async function checkFormat(path: string, database: Database): Promise<string> {
  const record = await readFormat(path, database);
  if (record === undefined) {
    throw new MeshError("STORE_FORMAT", `${path} has no format record: not a ctxmesh store`, {
      remedy: "give another path; never point ctxmesh at another program's database",
    });
  }
  const format = parseFormat(decodeRecord(FORMAT_KEY, record));
  if (format === undefined) throw unknownForm(path);
  if (format.major > FORMAT.major || isBelow(FORMAT, format.minReader)) {
    const needed = format.major > FORMAT.major ? format : format.minReader;
    throw new MeshError(
      "STORE_FORMAT",
      `the store ${path} has format ${numberOf(format)}, which needs a program of format ${numberOf(needed)} or later; this one has ${STORE_FORMAT}`,
      {
        remedy:
          "use the newer version of ctxmesh, or move the folder aside: a new store fills from peers or the hub",
      },
    );
  }
  if (format.major < FORMAT.major) {
    throw new MeshError(
      "STORE_FORMAT",
      `the store ${path} has format ${numberOf(format)}, which was never released; this version reads ${STORE_FORMAT}`,
      { remedy: "move the folder aside: a new store fills from peers or the hub" },
    );
  }
  if (!/^[0-9a-f]{32}$/u.test(format.id)) throw unknownForm(path);
  return format.id;
}

const unknownForm = (path: string): MeshError =>
  new MeshError("STORE_FORMAT", `the store ${path} has a format record of unknown form`, {
    remedy: "open it with the version of ctxmesh that wrote it",
  });

const isBelow = (a: Version, b: Version): boolean =>
  a.major < b.major || (a.major === b.major && a.minor < b.minor);

const numberOf = ({ major, minor }: Version): string => `${String(major)}.${String(minor)}`;

async function readFormat(path: string, database: Database): Promise<Uint8Array | undefined> {
  try {
    return await database.get(FORMAT_KEY);
  } catch (error) {
    throw operationError(path, error);
  }
}

function parseFormat(payload: Uint8Array): Format | undefined {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(payload));
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { major, minor, minReader, id = "" } = value as Partial<Record<string, unknown>>;
  const reader = parseReader(minReader);
  return isCount(major) && isCount(minor) && reader !== undefined && typeof id === "string"
    ? { major, minor, minReader: reader, id }
    : undefined;
}

function parseReader(value: unknown): Version | undefined {
  if (isCount(value)) return { major: value, minor: 0 };
  const [, major, minor] = /^([0-9]{1,6})\.([0-9]{1,6})$/u.exec(String(value)) ?? [];
  if (typeof value !== "string" || major === undefined) return undefined;
  return { major: Number(major), minor: Number(minor) };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
