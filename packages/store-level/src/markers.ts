// SPDX-License-Identifier: Apache-2.0
/**
 * Write numbers. LevelDB drops what it can't read of a `.log` file without a word, also in the
 * middle, and forgets tables when the end of its MANIFEST is gone. So each write has a number n from
 * 1 on, and its atomic batch puts a marker, key 0x00 0x02 || u64 n, value u64 o || 8 bytes t: o is
 * the oldest marker that is kept beside it, t is random and the same from an opening to the close.
 * Lost writes take their markers with them, so on open exactly the markers o to n of the newest n
 * have to be there. By t one tells write n from another write n, of a copy that went its own way.
 *
 * A marker is deleted, in the batch of a later write, once its write must have gone from the `.log`
 * into a table, whose bytes are checked otherwise (table.ts): LevelDB keeps two memtables of 4 MiB
 * at most, and each may be exceeded by one write.
 */
import { randomBytes } from "node:crypto";
import { MeshError } from "@ctxmesh/model";
import type { Database } from "./database.ts";
import { operationError } from "./database.ts";

/** Markers kept at most: two memtables hold fewer writes of even one byte each. */
const MAX_MARKERS = 65_536;
/** Two memtables, `writeBufferSize` of LevelDB. */
const LOGGED_BYTES = 2 * 4_194_304;
/** Deletes in the batch of one write at most; above one, so that those of an earlier session go. */
const DELETES_PER_WRITE = 2;
const NUMBER_BYTES = 8;
const TAG_BYTES = 8;
const SCAN_CHUNK = 4_096;
const PREFIX = Uint8Array.of(0x00, 0x02);
const PREFIX_END = Uint8Array.of(0x00, 0x03);

/** A change that LevelDB applies. */
export type Operation =
  | { readonly type: "put"; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: "del"; readonly key: Uint8Array };

/** One write among all that any copy of the store had. */
export interface WriteMark {
  /** From 1 on; 0 stands for the creation. */
  readonly number: number;
  /** 16 hex digits. */
  readonly tag: string;
}

/** The mark of the creation, before the first write. */
export const CREATION: WriteMark = { number: 0, tag: "0".repeat(16) };

/** The markers that a store has. */
export interface MarkerRange {
  /** Number of the oldest. */
  readonly oldest: number;
  readonly newest: WriteMark;
}

/** The marker key of write `number`. */
export function markerKey(number: number): Uint8Array {
  const key = new Uint8Array(PREFIX.length + NUMBER_BYTES);
  key.set(PREFIX);
  new DataView(key.buffer).setBigUint64(PREFIX.length, BigInt(number));
  return key;
}

/** The marker of one write. */
export interface Marker extends WriteMark {
  /** Number of the oldest marker kept beside it. */
  readonly oldest: number;
}

/** The marker that an entry is, undefined when it is none. */
export function parseMarker(key: Uint8Array, value: Uint8Array): Marker | undefined {
  if (key[0] !== PREFIX[0] || key[1] !== PREFIX[1]) return undefined;
  const number = numberAt(key, PREFIX.length);
  const oldest = numberAt(value.subarray(0, NUMBER_BYTES), 0);
  if (number === undefined || oldest === undefined || oldest < 1 || oldest > number)
    return undefined;
  return { number, oldest, tag: tagOf(value) };
}

/** Reads the markers and checks that none is missing. Throws `STORE_CORRUPT`. */
export async function checkMarkers(path: string, database: Database): Promise<MarkerRange> {
  try {
    return await readMarkers(path, database);
  } catch (error) {
    throw operationError(path, error);
  }
}

async function readMarkers(path: string, database: Database): Promise<MarkerRange> {
  const range = await readNewest(path, database);
  const { oldest, newest } = range;
  const keys = database.keys({ gte: markerKey(oldest), lt: PREFIX_END });
  try {
    for (let next = oldest; next <= newest.number;) {
      const chunk = await keys.nextv(SCAN_CHUNK);
      if (chunk.length === 0) throw missing(path, next);
      for (const key of chunk) {
        if (numberAt(key, PREFIX.length) !== next) throw missing(path, next);
        next += 1;
      }
    }
  } finally {
    await keys.close();
  }
  return range;
}

async function readNewest(path: string, database: Database): Promise<MarkerRange> {
  const last = database.iterator({ gte: PREFIX, lt: PREFIX_END, reverse: true, limit: 1 });
  const [entry] = await last.all();
  if (entry === undefined) return { oldest: 1, newest: CREATION };
  const newest = parseMarker(...entry);
  if (newest === undefined) {
    throw new MeshError("STORE_CORRUPT", `the store ${path} has a damaged write number`);
  }
  return { oldest: newest.oldest, newest };
}

/** Whether `mark` is the write that the store has under its number; true as well when its marker is gone or never was. */
export async function hasMark(
  database: Database,
  range: MarkerRange,
  { number, tag }: WriteMark,
): Promise<boolean> {
  if (number < range.oldest || number > range.newest.number) return true;
  const value = await database.get(markerKey(number));
  return value !== undefined && tagOf(value) === tag;
}

const tagOf = (value: Uint8Array): string =>
  Buffer.from(value.subarray(NUMBER_BYTES)).toString("hex");

function missing(path: string, number: number): MeshError {
  return new MeshError("STORE_CORRUPT", `the store ${path} has lost its write ${String(number)}`);
}

/** The u64 that `bytes` end with from `start` on; undefined when that is not one, or no safe integer. */
function numberAt(bytes: Uint8Array, start: number): number | undefined {
  if (bytes.length !== start + NUMBER_BYTES) return undefined;
  const number = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(start));
  return Number.isSafeInteger(number) ? number : undefined;
}

/** The markers of an open store. Each write takes its operations here and says when it is done. */
export class Markers {
  /** Bytes of write n, at n modulo their number. */
  readonly #sizes = new Uint32Array(MAX_MARKERS);
  /** All up to here were there at the opening, when LevelDB put its `.log` into tables. */
  readonly #opened: number;
  readonly #tag: Uint8Array = randomBytes(TAG_BYTES);
  readonly #tagText: string = Buffer.from(this.#tag).toString("hex");
  #oldest: number;
  #newest: number;
  /** Bytes of the writes from the oldest on, as far as this session made them. */
  #bytes = 0;
  #largest = 0;

  constructor({ oldest, newest }: MarkerRange) {
    this.#oldest = oldest;
    this.#newest = newest.number;
    this.#opened = newest.number;
  }

  /** The mark of the write made last. */
  get last(): WriteMark {
    return { number: this.#newest, tag: this.#tagText };
  }

  /** What belongs into the batch of the next write, which changes `bytes` bytes. */
  next(bytes: number): Operation[] {
    this.#newest += 1;
    this.#sizes[this.#newest % MAX_MARKERS] = bytes;
    this.#bytes += bytes;
    this.#largest = Math.max(this.#largest, bytes);
    const operations: Operation[] = [];
    while (operations.length < DELETES_PER_WRITE && this.#isDispensable()) {
      operations.push({ type: "del", key: markerKey(this.#oldest) });
      if (this.#oldest > this.#opened) this.#bytes -= this.#sizes[this.#oldest % MAX_MARKERS] ?? 0;
      this.#oldest += 1;
    }
    const value = new Uint8Array(NUMBER_BYTES + TAG_BYTES);
    value.set(this.#tag, NUMBER_BYTES);
    new DataView(value.buffer).setBigUint64(0, BigInt(this.#oldest));
    operations.push({ type: "put", key: markerKey(this.#newest), value });
    return operations;
  }

  /** Whether the write of the oldest marker must be in a table by now. */
  #isDispensable(): boolean {
    return (
      this.#oldest < this.#opened ||
      this.#newest - this.#oldest >= MAX_MARKERS - 1 ||
      this.#bytes > LOGGED_BYTES + 2 * this.#largest
    );
  }
}
