// SPDX-License-Identifier: Apache-2.0
/**
 * Reading what is left of a damaged store, so that a new one can take it over. This is done without
 * LevelDB: on opening, it deletes the files that a damaged MANIFEST no longer names, and some damage
 * of a table ends the process. No data in the folder is changed.
 *
 * All tables and `.log` files of the folder are read, whatever the MANIFEST says. Of each key the
 * version with the highest sequence number counts.
 */
import { existsSync } from "node:fs";
import { open, readFile, readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { StoreRange } from "@ctxmesh/model";
import { closedError, isLocked, lockedError } from "./database.ts";
import { readLog } from "./log-file.ts";
import { changesIn } from "./orphans.ts";
import { decodeRecord } from "./record.ts";
import type { BlockEntry, BlockHandle } from "./table.ts";
import { TRAILER_BYTES, dataBlocks, entriesIn } from "./table.ts";

type Entry = readonly [key: Uint8Array, value: Uint8Array];

const FIRST_KEY = Uint8Array.of(1);
const DELETION = 0;
const SEQUENCE_BYTES = 8;

/** What can still be read of a damaged store. Nothing can be written to it. */
export interface DamagedStore {
  /**
   * The entries of a range whose records match their own hash. Others are left out and counted; no
   * damage makes it throw. What it yields was once written under that key, but a later change or
   * deletion of it may be among what is lost. Throws `CLOSED` after `close`.
   */
  scan(range: StoreRange): AsyncIterable<Entry>;
  /** Places that could not be read so far: each a record, or a part of a file with any number of them. */
  readonly unreadable: number;
  /** Releases the store. Idempotent. */
  close(): Promise<void>;
}

/** The newest version of a key that was found. */
interface Version {
  readonly sequence: number;
  /** The record itself, where in which table it is, or undefined for a deletion. */
  readonly record: Uint8Array | { readonly table: string; readonly block: BlockHandle } | undefined;
}

/**
 * Opens the damaged store in the folder `path` for reading. It keeps all keys in memory, and the
 * content of the `.log` files. A folder that can't be read has no entries. Throws `STORE_LOCKED`
 * while another process has the store.
 */
export async function openDamaged(path: string): Promise<DamagedStore> {
  const folder = resolve(path);
  if (existsSync(folder) && (await isLocked(folder))) throw lockedError(folder);
  const remains = new Remains(folder);
  await remains.load();
  return remains;
}

class Remains implements DamagedStore {
  readonly #path: string;
  /** By the key, a character for each byte, so that they sort as the bytes do. */
  readonly #versions = new Map<string, Version>();
  /** The block read last of each table. */
  readonly #blocks = new Map<string, { block: BlockHandle; entries: readonly BlockEntry[] }>();
  #keys: readonly string[] = [];
  #unreadable = 0;
  #closed = false;

  constructor(path: string) {
    this.#path = path;
  }

  get unreadable(): number {
    return this.#unreadable;
  }

  async load(): Promise<void> {
    const names = await this.#tolerate(() => readdir(this.#path));
    for (const name of names ?? []) {
      if (!/^\d+\.(?:ldb|log)$/u.test(name)) continue;
      const bytes = await this.#tolerate(() => readFile(join(this.#path, name)));
      if (bytes === undefined) continue;
      await this.#tolerate(() => {
        if (name.endsWith(".log")) this.#loadLog(name, bytes);
        else this.#loadTable(name, bytes);
      });
    }
    this.#keys = [...this.#versions.keys()].toSorted();
  }

  /** Undefined, and one more unreadable place, when `read` throws. */
  async #tolerate<T>(read: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch {
      this.#unreadable += 1;
      return undefined;
    }
  }

  #loadTable(table: string, bytes: Uint8Array): void {
    for (const block of dataBlocks(table, bytes)) {
      let entries: BlockEntry[] = [];
      try {
        entries = entriesIn(table, bytes, block);
      } catch {
        this.#unreadable += 1;
      }
      for (const [key] of entries) {
        const at = key.length - SEQUENCE_BYTES;
        const isDeletion = key[at] === DELETION;
        const sequence = Number(Buffer.from(key).readBigUInt64LE(at) >> 8n);
        this.#add(key.subarray(0, at), {
          sequence,
          record: isDeletion ? undefined : { table, block },
        });
      }
    }
  }

  #loadLog(name: string, bytes: Uint8Array): void {
    const batches = readLog(bytes, () => {
      this.#unreadable += 1;
    });
    for (const batch of batches) {
      let sequence = Number(Buffer.from(batch).readBigUInt64LE(0));
      for (const [key, record] of changesIn(name, batch)) {
        this.#add(key, { sequence, record });
        sequence += 1;
      }
    }
  }

  #add(key: Uint8Array, version: Version): void {
    if (Buffer.compare(key, FIRST_KEY) < 0) return;
    const name = Buffer.from(key).toString("latin1");
    const known = this.#versions.get(name);
    if (known === undefined || known.sequence < version.sequence) this.#versions.set(name, version);
  }

  async *scan(range: StoreRange): AsyncGenerator<Entry, void, undefined> {
    if (this.#closed) throw closedError(this.#path);
    const [gte, lt] = [range.gte, range.lt].map((bound) => Buffer.from(bound).toString("latin1"));
    const keys = this.#keys.filter((key) => key >= (gte ?? "") && key < (lt ?? ""));
    if (range.reverse === true) keys.reverse();
    let left = range.limit ?? Number.POSITIVE_INFINITY;
    for (const name of keys) {
      if (this.#closed) throw closedError(this.#path);
      if (left <= 0) return;
      const key = Uint8Array.from(Buffer.from(name, "latin1"));
      const version = this.#versions.get(name);
      if (version?.record === undefined) continue;
      const value = await this.#tolerate(async () =>
        decodeRecord(key, await this.#recordOf(key, version)),
      );
      if (value === undefined) continue;
      left -= 1;
      yield [key, value];
    }
  }

  async #recordOf(key: Uint8Array, { sequence, record }: Version): Promise<Uint8Array> {
    if (record === undefined || record instanceof Uint8Array) return record ?? new Uint8Array(0);
    const { table, block } = record;
    let read = this.#blocks.get(table);
    if (read?.block !== block) {
      const bytes = await readPart(
        join(this.#path, table),
        block.offset,
        block.size + TRAILER_BYTES,
      );
      read = { block, entries: entriesIn(table, bytes, { offset: 0, size: block.size }) };
      this.#blocks.set(table, read);
    }
    const suffix = Buffer.alloc(SEQUENCE_BYTES);
    suffix.writeBigUInt64LE((BigInt(sequence) << 8n) | 1n);
    const wanted = Buffer.concat([key, suffix]);
    return read.entries.find(([found]) => wanted.equals(found))?.[1] ?? new Uint8Array(0);
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#versions.clear();
    this.#blocks.clear();
    this.#keys = [];
    return Promise.resolve();
  }
}

async function readPart(path: string, start: number, length: number): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const { buffer } = await file.read(new Uint8Array(length), 0, length, start);
    return buffer;
  } finally {
    await file.close();
  }
}
