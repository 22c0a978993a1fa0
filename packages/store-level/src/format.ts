// SPDX-License-Identifier: Apache-2.0
/**
 * The format record, which says what wrote the store and who can read it. Key: 0x00 `ctxmesh`;
 * payload: JSON `{"major":2,"minor":0,"minReader":2,"id":"..."}`, `id` being 32 random hex digits
 * that are made with the store. A version of this program with major number m opens a store when
 * `minReader` <= m <= `major`. The only other keys that begin with 0x00 are the markers (markers.ts).
 */
import { MeshError } from "@ctxmesh/model";
import type { Database } from "./database.ts";
import { operationError } from "./database.ts";
import { decodeRecord, encodeRecord } from "./record.ts";

/** The format this program writes. */
const FORMAT = { major: 2, minor: 0, minReader: 2 } as const;

interface Format {
  readonly major: number;
  readonly minor: number;
  readonly minReader: number;
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
  if (format.minReader > FORMAT.major) {
    throw new MeshError(
      "STORE_FORMAT",
      `the store ${path} has format ${numberOf(format)}, which needs a reader of format ${String(format.minReader)} or later; this one reads ${String(FORMAT.major)}`,
      { remedy: "use the newer version of ctxmesh" },
    );
  }
  if (format.major < FORMAT.major) {
    throw new MeshError(
      "STORE_FORMAT",
      `the store ${path} has format ${numberOf(format)}, which was never released; this version reads ${String(FORMAT.major)}`,
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

const numberOf = ({ major, minor }: Format): string => `${String(major)}.${String(minor)}`;

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
  return isCount(major) && isCount(minor) && isCount(minReader) && typeof id === "string"
    ? { major, minor, minReader, id }
    : undefined;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
