// SPDX-License-Identifier: Apache-2.0
/** The `Store` port over an open database. */
import type { Logger, Store, StoreChange, StoreRange } from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";
import type { Database } from "./database.ts";
import { closedError, operationError, textOf } from "./database.ts";
import { decodeRecord, encodeRecord } from "./record.ts";

type Entry = readonly [key: Uint8Array, value: Uint8Array];
type Operation =
  | { readonly type: "put"; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: "del"; readonly key: Uint8Array };

/** What is used of a LevelDB iterator. */
interface EntryIterator {
  next(): Promise<Entry | undefined>;
  close(): Promise<void>;
}

/** The first key a caller may use; what sorts before it is the store's own. */
const FIRST_KEY = Uint8Array.of(1);

/** A store over `database`, which it closes. See `openLevelStore` for the promises. */
export class LevelStore implements Store {
  readonly #path: string;
  readonly #database: Database;
  readonly #logger: Logger | undefined;
  /** Ends when the write called last has ended. LevelDB itself promises no order between calls under way. */
  #tail: Promise<void> = Promise.resolve();
  #failed = false;
  #closing: Promise<void> | undefined;

  constructor(path: string, database: Database, logger: Logger | undefined) {
    this.#path = path;
    this.#database = database;
    this.#logger = logger;
  }

  async write(changes: readonly StoreChange[]): Promise<void> {
    this.#checkOpen();
    const operations = changes.map(toOperation);
    const done = this.#tail.then(() => this.#apply(operations));
    this.#tail = done.catch(() => undefined);
    await done;
  }

  async #apply(operations: Operation[]): Promise<void> {
    if (this.#failed) {
      throw new MeshError("STORE_FAILED", `an earlier write to the store ${this.#path} failed`, {
        remedy: "restart, which opens the store again",
      });
    }
    if (operations.length === 0) return;
    try {
      await this.#database.batch(operations, { sync: true });
    } catch (error) {
      this.#failed = true;
      this.#logger?.error("store.write-failed", { path: this.#path, error: textOf(error) });
      throw operationError(this.#path, error);
    }
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#checkOpen();
    checkKey(key);
    const ownKey = key.slice();
    try {
      const record: Uint8Array | undefined = await this.#database.get(ownKey);
      return record === undefined ? undefined : decodeRecord(ownKey, record);
    } catch (error) {
      throw operationError(this.#path, error);
    }
  }

  scan(range: StoreRange): AsyncIterable<Entry> {
    this.#checkOpen();
    const { reverse = false, limit = -1 } = range;
    checkLimit(range.limit);
    const gte = Buffer.compare(range.gte, FIRST_KEY) < 0 ? FIRST_KEY : range.gte.slice();
    // The iterator takes its snapshot here, not when the first entry is asked for.
    return this.#walk(this.#database.iterator({ gte, lt: range.lt.slice(), reverse, limit }));
  }

  async *#walk(iterator: EntryIterator): AsyncGenerator<Entry, void, undefined> {
    try {
      for (;;) {
        const entry = await this.#next(iterator);
        if (entry === undefined) return;
        yield entry;
      }
    } finally {
      await iterator.close();
    }
  }

  async #next(iterator: EntryIterator): Promise<Entry | undefined> {
    try {
      const entry = await iterator.next();
      if (entry === undefined) return undefined;
      const [key, record] = entry;
      return [new Uint8Array(key.buffer, key.byteOffset, key.length), decodeRecord(key, record)];
    } catch (error) {
      throw operationError(this.#path, error);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#tail.then(() => this.#release());
    return this.#closing;
  }

  async #release(): Promise<void> {
    try {
      await this.#database.close();
    } catch (error) {
      throw operationError(this.#path, error);
    }
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw closedError(this.#path);
  }
}

/** The change as it is stored, in arrays of our own: the caller may use its buffers again. */
function toOperation({ key, value }: StoreChange): Operation {
  checkKey(key);
  const ownKey = key.slice();
  return value === undefined
    ? { type: "del", key: ownKey }
    : { type: "put", key: ownKey, value: encodeRecord(ownKey, value) };
}

function checkKey(key: Uint8Array): void {
  if (key.length === 0 || key[0] === 0) {
    throw new MeshError("INPUT_INVALID", "a store key is not empty and does not begin with 0x00", {
      field: "key",
    });
  }
}

function checkLimit(limit: number | undefined): void {
  if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 0)) {
    throw new MeshError("INPUT_INVALID", `scan limit ${String(limit)} is not a count`, {
      field: "limit",
    });
  }
}
