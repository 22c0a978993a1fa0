// SPDX-License-Identifier: Apache-2.0
/** What unpacks to this many bytes, 10 ms or so, is done in one turn of the event loop. */
const TURN_BYTES = 131_072;
/** What a batch takes besides, in the same unit: mostly the check of its signature. */
const BATCH_BYTES = 1_024;

/** Lets whatever else the process does have its turn while batches are checked, which may be many and dear. */
export class Pace {
  readonly #rest: (() => Promise<void>) | undefined;
  #done = 0;

  /** `rest` resolves once the event loop has gone round; without it nothing rests. */
  constructor(rest: (() => Promise<void>) | undefined) {
    this.#rest = rest;
  }

  /** A batch that unpacks to `bytes` was checked. What has to be awaited before the next one, if it is time to. */
  did(bytes: number): Promise<void> | undefined {
    this.#done += BATCH_BYTES + bytes;
    if (this.#done < TURN_BYTES) return undefined;
    this.#done = 0;
    return this.#rest?.();
  }
}
