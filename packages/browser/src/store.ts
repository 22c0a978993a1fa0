// SPDX-License-Identifier: Apache-2.0
/** The port `Store` over IndexedDB. */
import { MeshError } from "@ctxmesh/model";
import type { Store, StoreChange, StoreRange } from "@ctxmesh/model";
import { completionOf, resultOf, storeError } from "./database.ts";
import { ScanView } from "./scan-view.ts";
import type { Entry } from "./scan-view.ts";

/** Entries read at once by a scan. */
const PAGE = 64;

/** Arrays over buffers of their own: IndexedDB keeps the whole buffer of a view, and callers use theirs again. */
const ownChange = ({ key, value }: StoreChange): StoreChange => {
  checkKey(key);
  return value === undefined
    ? { key: key.slice() }
    : { key: key.slice(), value: new Uint8Array(value) };
};

function checkKey(key: Uint8Array): void {
  if (key.length > 0 && key[0] !== 0) return;
  throw new MeshError("INPUT_INVALID", "a store key is not empty and does not begin with 0x00", {
    field: "key",
  });
}

/** Bytes as IndexedDB takes them for keys. */
const keyOf = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(bytes);

/** The first key after another one. */
const after = (key: Uint8Array): Uint8Array => Uint8Array.of(...key, 0);

/** A store over an open database, which it closes. Each value is what was written, or the browser says that it can't be read. */
export class IndexedStore implements Store {
  readonly #database: IDBDatabase;
  readonly #views = new Set<ScanView>();
  /** Ends when the write called last has ended. */
  #tail: Promise<void> = Promise.resolve();
  #failed = false;
  #closing: Promise<void> | undefined;

  constructor(database: IDBDatabase) {
    this.#database = database;
  }

  async write(changes: readonly StoreChange[]): Promise<void> {
    this.#checkOpen();
    const own = changes.map(ownChange);
    const done = this.#tail.then(async () => this.#apply(own));
    this.#tail = done.catch(() => undefined);
    await done;
  }

  async #apply(changes: readonly StoreChange[]): Promise<void> {
    if (this.#failed) {
      throw new MeshError("STORE_FAILED", "an earlier write to the store failed", {
        remedy: "load the page again, which opens the store again",
      });
    }
    if (changes.length === 0) return;
    try {
      const transaction = this.#database.transaction("records", "readwrite", {
        durability: "strict",
      });
      const done = completionOf(transaction);
      // Nobody waits for it when the requests throw.
      done.catch(() => undefined);
      this.#request(transaction, changes);
      await done;
    } catch (error) {
      this.#failed = true;
      throw storeError("can't be written", error);
    }
  }

  /** Asks for all changes; of what the browser does not even take, nothing is written: left alone it would write what came before. */
  #request(transaction: IDBTransaction, changes: readonly StoreChange[]): void {
    try {
      const records = transaction.objectStore("records");
      this.#keep(records, changes);
      for (const { key, value } of changes) {
        if (value === undefined) records.delete(keyOf(key));
        else records.put(value, keyOf(key));
      }
      transaction.commit();
    } catch (error) {
      transaction.abort();
      throw error;
    }
  }

  /** Asks, before it is changed, for what scans under way are still to see; their next page is read behind this transaction. */
  #keep(records: IDBObjectStore, changes: readonly StoreChange[]): void {
    for (const view of this.#views) {
      for (const { key } of changes) {
        if (!view.lacks(key)) continue;
        const request = records.get(keyOf(key)) as IDBRequest<Uint8Array | undefined>;
        request.addEventListener("success", () => {
          view.keep(key, request.result);
        });
      }
    }
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#checkOpen();
    checkKey(key);
    try {
      const records = this.#database.transaction("records").objectStore("records");
      return (await resultOf(records.get(keyOf(key)))) as Uint8Array | undefined;
    } catch (error) {
      throw storeError("can't be read", error);
    }
  }

  scan({ gte, lt, reverse = false, limit }: StoreRange): AsyncIterable<Entry> {
    this.#checkOpen();
    if (limit !== undefined && (!Number.isSafeInteger(limit) || limit < 0)) {
      throw new MeshError("INPUT_INVALID", `scan limit ${String(limit)} is not a count`, {
        field: "limit",
      });
    }
    const [from, to] = [gte.slice(), lt.slice()];
    const view = new ScanView(from, to);
    this.#views.add(view);
    return this.#walk(view, { from, to, reverse, most: limit ?? Number.POSITIVE_INFINITY });
  }

  async *#walk(view: ScanView, range: WalkRange): AsyncGenerator<Entry, void, undefined> {
    let { from, to } = range;
    let left = range.most;
    try {
      while (left > 0 && isOrdered(from, to)) {
        this.#checkOpen();
        const found = await this.#read(from, to, range.reverse);
        const last = found.at(-1)?.[0];
        // What is behind the last entry of a full page is for the next one.
        const isEnd = last === undefined || found.length < PAGE;
        const [start, end] = isEnd ? [from, to] : range.reverse ? [last, to] : [from, after(last)];
        const page = view.page(range.reverse ? found.toReversed() : found, start, end);
        for (const entry of range.reverse ? page.toReversed() : page) {
          if (left-- <= 0) return;
          yield entry;
          this.#checkOpen();
        }
        if (isEnd) return;
        if (range.reverse) to = start;
        else from = end;
      }
    } finally {
      this.#views.delete(view);
    }
  }

  /** Up to {@link PAGE} entries of a range, in the order asked for, in one transaction. */
  async #read(from: Uint8Array, to: Uint8Array, reverse: boolean): Promise<readonly Entry[]> {
    try {
      const records = this.#database.transaction("records").objectStore("records");
      const range = IDBKeyRange.bound(keyOf(from), keyOf(to), false, true);
      if (reverse) return await readBackwards(records, range);
      const [keys, values] = await Promise.all([
        resultOf(records.getAllKeys(range, PAGE)),
        resultOf(records.getAll(range, PAGE)),
      ]);
      return keys.map((key, i) => [new Uint8Array(key as ArrayBuffer), values[i] as Uint8Array]);
    } catch (error) {
      throw storeError("can't be read", error);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#release();
    return this.#closing;
  }

  async #release(): Promise<void> {
    await this.#tail;
    this.#database.close();
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new MeshError("CLOSED", "the store is closed");
  }
}

interface WalkRange {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly reverse: boolean;
  readonly most: number;
}

/** IndexedDB refuses an empty range. */
const isOrdered = (from: Uint8Array, to: Uint8Array): boolean =>
  indexedDB.cmp(keyOf(from), keyOf(to)) < 0;

async function readBackwards(
  records: IDBObjectStore,
  range: IDBKeyRange,
): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  const request = records.openCursor(range, "prev");
  return new Promise((resolve, reject) => {
    request.addEventListener("error", () => {
      reject(request.error);
    });
    request.addEventListener("success", () => {
      const cursor = request.result;
      if (cursor === null || entries.length === PAGE) {
        resolve(entries);
        return;
      }
      entries.push([new Uint8Array(cursor.key as ArrayBuffer), cursor.value as Uint8Array]);
      cursor.continue();
    });
  });
}
