// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";

/** What a queue has to know of its items. */
export interface Sized {
  /** About the memory it holds. */
  readonly size: number;
}

/** A first-in-first-out queue, bounded in number (`LIMITS.queuedBatches`) and memory (`LIMITS.queuedBytes`). */
export class WorkQueue<T extends Sized> {
  #items: T[] = [];
  #bytes = 0;

  /** Number of waiting items. */
  get length(): number {
    return this.#items.length;
  }

  /** Whether an item of this size has no room. */
  isFull(size: number): boolean {
    return this.#items.length >= LIMITS.queuedBatches || this.#bytes + size > LIMITS.queuedBytes;
  }

  /** Adds an item; the caller asks {@link isFull} first where the item may be turned away. */
  push(item: T): void {
    this.#items.push(item);
    this.#bytes += item.size;
  }

  /** Removes and returns the oldest items: `count` at most, and up to `LIMITS.groupBytes`, but one at least. */
  take(count: number): readonly T[] {
    let bytes = 0;
    let taken = 0;
    for (const { size } of this.#items) {
      if (taken >= count || (taken > 0 && bytes + size > LIMITS.groupBytes)) break;
      bytes += size;
      taken++;
    }
    this.#bytes -= bytes;
    return this.#items.splice(0, taken);
  }
}
