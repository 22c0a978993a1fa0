// SPDX-License-Identifier: Apache-2.0
/**
 * The format record, which says what wrote the store and who can read it. Key: 0x00 `ctxmesh`;
 * payload: JSON `{"major":1,"minor":0,"minReader":1}`. A version of this program with major number
 * m opens a store when `minReader` <= m. No other key begins with 0x00.
 */
import { MeshError } from "@ctxmesh/model";
import type { Database } from "./database.ts";
import { operationError } from "./database.ts";
import { decodeRecord, encodeRecord } from "./record.ts";

/** The format this program writes. */
const FORMAT = { major: 1, minor: 0, minReader: 1 } as const;

const FORMAT_KEY: Uint8Array = new TextEncoder().encode("\0ctxmesh");

/** Writes the format record of this program with a sync. */
export async function writeFormat(database: Database): Promise<void> {
  const payload = new TextEncoder().encode(JSON.stringify(FORMAT));
  await database.put(FORMAT_KEY, encodeRecord(FORMAT_KEY, payload), { sync: true });
}

/**
 * Checks that this program can read the store in `path`. Throws `STORE_FORMAT` when there is no
 * format record or it asks for a newer reader, `STORE_CORRUPT` when it does not match its hash.
 */
export async function checkFormat(path: string, database: Database): Promise<void> {
  const record = await readFormat(path, database);
  if (record === undefined) {
    throw new MeshError(
      "STORE_FORMAT",
      `${path} has no format record: not a ctxmesh store, or damaged`,
      {
        remedy: "give another path; never point ctxmesh at another program's database",
      },
    );
  }
  const format = parseFormat(decodeRecord(FORMAT_KEY, record));
  if (format === undefined) {
    throw new MeshError("STORE_FORMAT", `the store ${path} has a format record of unknown form`, {
      remedy: "open it with the version of ctxmesh that wrote it",
    });
  }
  if (format.minReader > FORMAT.major) {
    throw new MeshError(
      "STORE_FORMAT",
      `the store ${path} has format ${String(format.major)}.${String(format.minor)}, which needs a reader of format ${String(format.minReader)} or later; this one reads ${String(FORMAT.major)}`,
      { remedy: "use the newer version of ctxmesh" },
    );
  }
}

async function readFormat(path: string, database: Database): Promise<Uint8Array | undefined> {
  try {
    return await database.get(FORMAT_KEY);
  } catch (error) {
    throw operationError(path, error);
  }
}

function parseFormat(
  payload: Uint8Array,
): { major: number; minor: number; minReader: number } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(payload));
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { major, minor, minReader } = value as Partial<Record<string, unknown>>;
  return isCount(major) && isCount(minor) && isCount(minReader)
    ? { major, minor, minReader }
    : undefined;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
