// SPDX-License-Identifier: Apache-2.0
/**
 * The hashes of the batches that an installed base stands for: what comes behind it may name any of them, and one that comes
 * again is known. Sorted, in blocks of 256, under a generation of their own, so that they are written aside and count
 * from the one write that installs the base. 32 bytes for each batch.
 */
import { LIMITS, fromHex } from "@ctxmesh/model";
import type { HeaderHash, Store, StoreChange } from "@ctxmesh/model";
import { HASH_BYTES } from "./base-format.ts";
import {
  allHashBlocksRange,
  baseHashesKey,
  hashBlockChange,
  hashBlockRange,
  hashBlocksRange,
  readHashBlockKey,
  readU64,
} from "./layout.ts";

/** Hashes in one block: 8 KiB, one read. */
const BLOCK_BYTES = 256 * HASH_BYTES;

/** The hashes of one store's base. */
export class BaseHashes {
  readonly #store: Store;
  #generation: number | undefined;

  private constructor(store: Store, generation: number | undefined) {
    this.#store = store;
    this.#generation = generation;
  }

  /** Those that a store has. */
  static async load(store: Store): Promise<BaseHashes> {
    const record = await store.get(baseHashesKey);
    return new BaseHashes(store, record === undefined ? undefined : readU64(record, 0));
  }

  /** Those of a generation, whether it counts or not. */
  static of(store: Store, generation: number): BaseHashes {
    return new BaseHashes(store, generation);
  }

  /** Another generation counts now, as the store says. */
  use(generation: number): void {
    this.#generation = generation;
  }

  /** Whether the base stands for a batch. */
  async has(hash: HeaderHash): Promise<boolean> {
    if (this.#generation === undefined) return false;
    const wanted = fromHex(hash);
    for await (const [, block] of this.#store.scan(hashBlockRange(this.#generation, wanted))) {
      return isIn(block, wanted);
    }
    return false;
  }

  /** All of them, rising; each is a view that holds until the next is taken. */
  async *all(): AsyncGenerator<Uint8Array> {
    if (this.#generation === undefined) return;
    for await (const [, block] of this.#store.scan(hashBlocksRange(this.#generation))) {
      for (let at = 0; at < block.length; at += HASH_BYTES) {
        yield block.subarray(at, at + HASH_BYTES);
      }
    }
  }

  /** The removal of blocks that don't count: what an earlier installation left. */
  async *loose(): AsyncGenerator<readonly StoreChange[]> {
    let changes: StoreChange[] = [];
    for await (const [key] of this.#store.scan(allHashBlocksRange)) {
      if (readHashBlockKey(key) === this.#generation) continue;
      changes.push({ key });
      if (changes.length < LIMITS.prunesPerWrite) continue;
      yield changes;
      changes = [];
    }
    if (changes.length > 0) yield changes;
  }
}

/** The changes that store rising hashes in blocks of a generation. */
export function hashBlocks(generation: number, hashes: Uint8Array): readonly StoreChange[] {
  const changes: StoreChange[] = [];
  for (let at = 0; at < hashes.length; at += BLOCK_BYTES) {
    changes.push(hashBlockChange(generation, hashes.slice(at, at + BLOCK_BYTES)));
  }
  return changes;
}

/** Whether rising hashes hold one. */
export function isIn(hashes: Uint8Array, wanted: Uint8Array): boolean {
  let low = 0;
  let high = hashes.length / HASH_BYTES;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = middle * HASH_BYTES;
    const order = Buffer.compare(hashes.subarray(at, at + HASH_BYTES), wanted);
    if (order === 0) return true;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return false;
}
