// SPDX-License-Identifier: Apache-2.0
/** The `Store` port over an open database. */
import type { Logger, Store, StoreChange, StoreRange } from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";
import type { AnchorKeeper } from "./anchor.ts";
import type { Database } from "./database.ts";
import { closedError, compactRange, operationError, textOf } from "./database.ts";
import type { Markers, Operation } from "./markers.ts";
import { writeDamageMark } from "./damage-mark.ts";
import { decodeRecord, encodeRecord } from "./record.ts";
import type { ScrubReport } from "./scrub.ts";
import { scrub } from "./scrub.ts";

type Entry = readonly [key: Uint8Array, value: Uint8Array];

/** A `Store` that can look for damage in what nobody has read for long. */
export interface LevelStore extends Store {
  /**
   * Checks every table and every record in the background, at a twenty-fifth of one core's time, and
   * reports what is damaged, or can't be read from the disk. It runs beside reads and writes, and ends
   * early, with what it found, when the store is closed. Damage found here is in the store still; it is
   * marked (damage-mark.ts), so that the next opening is refused with `STORE_CORRUPT`, to be healed.
   * Throws `CLOSED` after `close`, `STORE_FAILED` on other I/O errors.
   */
  scrub(): Promise<ScrubReport>;
  /** Rewrites what is under the keys `gte <= key <= lt` without what was overwritten or deleted there. Throws `CLOSED`, `STORE_FAILED`. */
  compact(range: Pick<StoreRange, "gte" | "lt">): Promise<void>;
}

/** What an {@link OpenStore} is made of. */
export interface StoreParts {
  readonly path: string;
  readonly database: Database;
  readonly markers: Markers;
  readonly anchor: AnchorKeeper;
  readonly logger: Logger | undefined;
}

/** What is used of a LevelDB iterator. */
interface EntryIterator {
  next(): Promise<Entry | undefined>;
  close(): Promise<void>;
}

/** The first key a caller may use; what sorts before it is the store's own. */
const FIRST_KEY = Uint8Array.of(1);

/** A store over an open database, which it closes. See `openLevelStore` for the promises. */
export class OpenStore implements LevelStore {
  readonly #path: string;
  readonly #database: Database;
  readonly #markers: Markers;
  readonly #anchor: AnchorKeeper;
  readonly #logger: Logger | undefined;
  /** Ends when the write called last has ended. LevelDB itself promises no order between calls under way. */
  #tail: Promise<void> = Promise.resolve();
  #failed = false;
  #closing: Promise<void> | undefined;

  constructor({ path, database, markers, anchor, logger }: StoreParts) {
    this.#path = path;
    this.#database = database;
    this.#markers = markers;
    this.#anchor = anchor;
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
    operations.push(...this.#markers.next(sizeOf(operations)));
    try {
      await this.#database.batch(operations, { sync: true });
      this.#anchor.raise(this.#markers.last);
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

  async scrub(): Promise<ScrubReport> {
    this.#checkOpen();
    const report = await scrub(this.#path, this.#database, () => this.#closing !== undefined);
    if (report.damaged > 0) await writeDamageMark(this.#path, report.findings);
    return report;
  }

  async compact({ gte, lt }: Pick<StoreRange, "gte" | "lt">): Promise<void> {
    this.#checkOpen();
    try {
      await compactRange(this.#database, gte.slice(), lt.slice());
    } catch (error) {
      throw operationError(this.#path, error);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#tail.then(() => this.#release());
    return this.#closing;
  }

  async #release(): Promise<void> {
    await this.#anchor.close();
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

/** Bytes of all keys and values. */
function sizeOf(operations: readonly Operation[]): number {
  let bytes = 0;
  for (const operation of operations) {
    bytes += operation.key.length + (operation.type === "put" ? operation.value.length : 0);
  }
  return bytes;
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
