// SPDX-License-Identifier: Apache-2.0
/**
 * A `Store` in memory that tells what is durable from what is not, and fails on request. It refuses
 * the keys that the store on disk refuses, so that code tested with it holds there as well.
 */
import type { Store, StoreChange, StoreRange } from "@ctxmesh/model";
import { MeshError, toHex } from "@ctxmesh/model";
import { SortedTable } from "./sorted-table.ts";

/** Faults that hold for the whole life of a memory store. */
export interface MemoryStoreFaults {
  /**
   * Called once per write, before it becomes durable and visible; the write waits for it. Holding
   * it back keeps the write under way; a rejection fails the write, which is then lost.
   */
  readonly beforeSync?: () => Promise<void>;
}

/** The in-memory `Store`, with the handles of a test. */
export interface MemoryStore extends Store {
  /**
   * The machine stops: this store is closed, writes under way reject with `CLOSED`, and the returned
   * store has what was durable. Of the writes under way the first `kept` (in call order, default 0)
   * had reached the disk without being acknowledged.
   */
  crash(kept?: number): MemoryStore;
  /** Closes this store and opens it again with everything that is durable. */
  reopen(): Promise<MemoryStore>;
  /**
   * The next write rejects with `STORE_FAILED`. A `lost` one left no trace, a `kept` one is found
   * after the next reopen or crash, as when the disk wrote it and then failed to say so.
   */
  failNextWrite(outcome: "lost" | "kept"): void;
  /** Damages the record under `key`: reads of it throw `STORE_CORRUPT` until it is written again. Throws when there is none. */
  corrupt(key: Uint8Array): void;
}

/** An empty {@link MemoryStore}. */
export function createMemoryStore(
  options: { readonly faults?: MemoryStoreFaults } = {},
): MemoryStore {
  return new MemoryStoreImpl(new SortedTable(), options.faults ?? {});
}

class MemoryStoreImpl implements MemoryStore {
  /** What a reader of this store sees. */
  readonly #visible: SortedTable;
  /** Writes that reached the disk without being acknowledged; seen after a reopen only. */
  #unacknowledged: StoreChange[] = [];
  readonly #faults: MemoryStoreFaults;
  /** Writes in call order that are neither acknowledged nor refused. */
  readonly #underWay: (readonly StoreChange[])[] = [];
  #tail: Promise<void> = Promise.resolve();
  #nextFailure: "lost" | "kept" | undefined;
  #failed = false;
  #closed = false;
  #crashed = false;

  constructor(table: SortedTable, faults: MemoryStoreFaults) {
    this.#visible = table;
    this.#faults = faults;
  }

  async write(changes: readonly StoreChange[]): Promise<void> {
    this.#checkOpen();
    for (const change of changes) checkKey(change.key);
    const copies = changes.map(copyOf);
    this.#underWay.push(copies);
    const done = this.#tail.then(() => this.#apply(copies));
    this.#tail = done.catch(() => undefined);
    await done;
  }

  async #apply(changes: readonly StoreChange[]): Promise<void> {
    try {
      if (this.#crashed) throw closed();
      if (this.#failed) throw failed("an earlier write failed; reopen the store");
      const failure = this.#nextFailure;
      this.#nextFailure = undefined;
      if (failure !== undefined) {
        if (failure === "kept") this.#unacknowledged.push(...changes);
        throw failed("the write failed");
      }
      await this.#sync();
      if (this.#crashed) throw closed();
      this.#visible.apply(changes);
    } catch (error) {
      this.#failed = true;
      throw error;
    } finally {
      this.#underWay.shift();
    }
  }

  async #sync(): Promise<void> {
    try {
      await this.#faults.beforeSync?.();
    } catch (cause) {
      throw failed("the write failed", cause);
    }
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#checkOpen();
    checkKey(key);
    const entry = this.#visible.get(key);
    return await Promise.resolve(entry === undefined ? undefined : intact(entry).slice());
  }

  scan(range: StoreRange): AsyncIterable<readonly [key: Uint8Array, value: Uint8Array]> {
    this.#checkOpen();
    checkLimit(range.limit);
    return this.#walk(this.#visible.range(range));
  }

  async *#walk(
    entries: ReturnType<SortedTable["range"]>,
  ): AsyncGenerator<readonly [key: Uint8Array, value: Uint8Array], void, undefined> {
    for (const entry of entries) {
      this.#checkOpen();
      yield await Promise.resolve([entry.key.slice(), intact(entry).slice()] as const);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#tail;
  }

  async reopen(): Promise<MemoryStore> {
    await this.close();
    return this.#durable([]);
  }

  crash(kept = 0): MemoryStore {
    this.#closed = true;
    this.#crashed = true;
    return this.#durable(this.#failed ? [] : this.#underWay.slice(0, kept).flat());
  }

  #durable(more: readonly StoreChange[]): MemoryStore {
    const table = this.#visible.copy();
    table.apply([...this.#unacknowledged, ...more]);
    return new MemoryStoreImpl(table, this.#faults);
  }

  failNextWrite(outcome: "lost" | "kept"): void {
    this.#nextFailure = outcome;
  }

  corrupt(key: Uint8Array): void {
    if (!this.#visible.damage(key)) throw new Error(`no record under ${toHex(key)}`);
  }

  #checkOpen(): void {
    if (this.#closed) throw closed();
  }
}

function intact(entry: { key: Uint8Array; value: Uint8Array; damaged: boolean }): Uint8Array {
  if (!entry.damaged) return entry.value;
  throw new MeshError(
    "STORE_CORRUPT",
    `the record under key ${toHex(entry.key.subarray(0, 16))} does not match its hash`,
  );
}

function copyOf(change: StoreChange): StoreChange {
  const key = change.key.slice();
  return change.value === undefined ? { key } : { key, value: change.value.slice() };
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

function closed(): MeshError {
  return new MeshError("CLOSED", "the store is closed");
}

function failed(message: string, cause?: unknown): MeshError {
  return new MeshError("STORE_FAILED", message, { cause });
}
