// SPDX-License-Identifier: Apache-2.0
/** A store in memory that remembers what was pruned from it, and so can tell what it would be without checkpoints. */
import type { Store, StoreChange, StoreRange } from "@ctxmesh/model";
import { toHex } from "@ctxmesh/model";
import { createMemoryStore } from "@ctxmesh/testing";
import type { MemoryStore } from "@ctxmesh/testing";
import { isBatchKey } from "../src/layout.ts";

const EVERYTHING: StoreRange = { gte: Uint8Array.of(1), lt: Uint8Array.of(0xff) };
const CHAIN_TAG = 3;
const isCheckpoint = (key: Uint8Array): boolean => key[0] === 0x0a || key[0] === 0x0b;

/** See the top of the file. */
export class FullStore implements Store {
  readonly inner: MemoryStore;
  /** What pruning removed, by key in hex. */
  readonly #removed: Map<string, StoreChange>;

  #failing: { number: number; readonly outcome: "lost" | "kept" } | undefined;

  constructor(inner: MemoryStore = createMemoryStore(), removed: Iterable<StoreChange> = []) {
    this.inner = inner;
    this.#removed = new Map([...removed].map((entry) => [toHex(entry.key), entry]));
  }

  /** The write that is so many away fails; 1 is the next one. See `MemoryStore.failNextWrite`. */
  failWrite(number: number, outcome: "lost" | "kept"): void {
    this.#failing = { number, outcome };
  }

  async write(changes: readonly StoreChange[]): Promise<void> {
    if (this.#failing !== undefined && --this.#failing.number === 0) {
      this.inner.failNextWrite(this.#failing.outcome);
    }
    for (const { key, value } of changes) {
      if (value !== undefined || (!isBatchKey(key) && key[0] !== CHAIN_TAG)) continue;
      const before = await this.inner.get(key);
      if (before !== undefined) this.#removed.set(toHex(key), { key, value: before });
    }
    await this.inner.write(changes);
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.inner.get(key);
  }

  scan(range: StoreRange): AsyncIterable<readonly [Uint8Array, Uint8Array]> {
    return this.inner.scan(range);
  }

  async close(): Promise<void> {
    await this.inner.close();
  }

  async reopen(): Promise<FullStore> {
    return new FullStore(await this.inner.reopen(), this.#removed.values());
  }

  /** As `MemoryStore.crash`. */
  crash(kept: number): FullStore {
    return new FullStore(this.inner.crash(kept), this.#removed.values());
  }

  /** A copy, as it would be had there never been a checkpoint. */
  async withoutCheckpoints(): Promise<MemoryStore> {
    const copy = createMemoryStore();
    for (const change of this.#removed.values()) await copy.write([change]);
    for await (const [key, value] of this.inner.scan(EVERYTHING)) {
      if (!isCheckpoint(key)) await copy.write([{ key, value }]);
    }
    return copy;
  }
}
