// SPDX-License-Identifier: Apache-2.0
import { LIMITS, MeshError } from "@ctxmesh/model";

/** What a queue has to know of its items. */
export interface Sized {
  /** About the memory it holds. */
  readonly size: number;
  /** What the bodies of a received batch unpack to at most, in bytes. */
  readonly unpacked?: number;
}

/** A first-in-first-out queue, bounded in number (`LIMITS.queuedBatches`) and memory (`LIMITS.queuedBytes`). */
export class WorkQueue<T extends Sized> {
  #items: T[] = [];
  #bytes = 0;

  /** Number of waiting items. */
  get length(): number {
    return this.#items.length;
  }

  /** Memory that the waiting items hold. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether an item of this size has no room. */
  isFull(size: number): boolean {
    return this.#items.length >= LIMITS.queuedBatches || this.#bytes + size > LIMITS.queuedBytes;
  }

  /** Throws `LIMIT_EXCEEDED`, saying what is too much of, when an item of this size has no room. */
  assertRoom(size: number, what: string): void {
    if (!this.isFull(size)) return;
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `${String(this.#items.length)} ${what} are waiting for the store; the limit is ${String(LIMITS.queuedBatches)} or ${String(LIMITS.queuedBytes)} bytes`,
      { remedy: `wait until earlier ${what} are done` },
    );
  }

  /** Adds an item; the caller asks {@link isFull} first where the item may be turned away. */
  push(item: T): void {
    this.#items.push(item);
    this.#bytes += item.size;
  }

  /**
   * Removes and returns the oldest items: `count` at most, up to `LIMITS.groupBytes` and `LIMITS.groupUnpackedBytes`, but
   * one at least.
   */
  take(count: number): readonly T[] {
    let bytes = 0;
    let unpacked = 0;
    let taken = 0;
    for (const { size, unpacked: more = 0 } of this.#items) {
      const isFull =
        bytes + size > LIMITS.groupBytes || unpacked + more > LIMITS.groupUnpackedBytes;
      if (taken >= count || (taken > 0 && isFull)) break;
      bytes += size;
      unpacked += more;
      taken++;
    }
    this.#bytes -= bytes;
    return this.#items.splice(0, taken);
  }
}
