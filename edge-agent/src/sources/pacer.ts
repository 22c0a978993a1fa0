// SPDX-License-Identifier: Apache-2.0
/** When the rows of a replay are due. */

/** Shortest wait: faster rates write several rows at a time. */
const MIN_WAIT_MS = 5;
/** A replay that has fallen behind by more (slow disk, suspended machine) goes on from now. */
const MAX_LAG_MS = 1_000;

/** Decides how many rows are due; a clock that jumps back, or a long lag, starts the count anew. */
export class Pacer {
  readonly #rate: number;
  #startMs: number | undefined;
  #lastMs = 0;
  #taken = 0;

  constructor(rate: number) {
    this.#rate = rate;
  }

  /** Rows due at `nowMs` that were not taken yet. */
  due(nowMs: number): number {
    const behindMs = nowMs - this.#dueAt();
    if (this.#startMs === undefined || nowMs < this.#lastMs || behindMs > MAX_LAG_MS) {
      this.#startMs = nowMs;
      this.#taken = 0;
    }
    this.#lastMs = nowMs;
    return Math.floor(((nowMs - this.#startMs) * this.#rate) / 1_000) + 1 - this.#taken;
  }

  /** Counts rows as taken. */
  take(rows: number): void {
    this.#taken += rows;
  }

  /** Milliseconds from `nowMs` until the next row is due. */
  waitMs(nowMs: number): number {
    return Math.max(MIN_WAIT_MS, Math.ceil(this.#dueAt() - nowMs));
  }

  #dueAt(): number {
    return (this.#startMs ?? 0) + (this.#taken * 1_000) / this.#rate;
  }
}
