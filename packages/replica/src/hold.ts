// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import type { HeaderHash } from "@ctxmesh/model";
import type { ParsedBatch } from "./checks.ts";

/**
 * Batches that are well signed but can't be applied yet, in memory and bounded. When it is full, new
 * ones are turned away: anti-entropy brings them again, in causal order, so progress never depends
 * on this buffer.
 */
export class HoldBuffer {
  /** Batches by the hash that they wait for. */
  readonly #byMissing = new Map<HeaderHash, ParsedBatch[]>();
  /** Batches that wait for time to pass or a grant to be renewed. */
  #timed: ParsedBatch[] = [];
  readonly #held = new Set<HeaderHash>();
  #bytes = 0;

  /** Number of held batches. */
  get size(): number {
    return this.#held.size;
  }

  /** Whether this batch is held. */
  has(hash: HeaderHash): boolean {
    return this.#held.has(hash);
  }

  /** Keeps a batch until `missing` is applied, or until {@link takeTimed} when that is undefined. False when full. */
  add(batch: ParsedBatch, missing: HeaderHash | undefined): boolean {
    const size = batch.bytes.length;
    if (this.#held.size >= LIMITS.heldBatches || this.#bytes + size > LIMITS.heldBytes) {
      return false;
    }
    this.#held.add(batch.hash);
    this.#bytes += size;
    if (missing === undefined) {
      this.#timed.push(batch);
    } else {
      const waiting = this.#byMissing.get(missing);
      if (waiting === undefined) this.#byMissing.set(missing, [batch]);
      else waiting.push(batch);
    }
    return true;
  }

  #release(batches: readonly ParsedBatch[]): readonly ParsedBatch[] {
    for (const batch of batches) {
      this.#held.delete(batch.hash);
      this.#bytes -= batch.bytes.length;
    }
    return batches;
  }

  /** Removes and returns the batches that waited for a hash. */
  takeWaitingFor(hash: HeaderHash): readonly ParsedBatch[] {
    const waiting = this.#byMissing.get(hash);
    if (waiting === undefined) return [];
    this.#byMissing.delete(hash);
    return this.#release(waiting);
  }

  /** Removes and returns the batches that wait for time or a grant. */
  takeTimed(): readonly ParsedBatch[] {
    const timed = this.#timed;
    this.#timed = [];
    return this.#release(timed);
  }
}
