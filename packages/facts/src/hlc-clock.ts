// SPDX-License-Identifier: Apache-2.0
import { HLC_COUNTERS_PER_MS, hlcFromMs } from "@ctxmesh/model";
import type { Clock, Hlc } from "@ctxmesh/model";

/**
 * A hybrid logical clock: follows the wall clock, never runs backwards, and is always ahead of
 * everything it has seen. When a millisecond's counter is used up it borrows from the next one.
 */
export class HlcClock {
  readonly #clock: Clock;
  #last: Hlc;

  /** `last` is the highest value this replica knows of, so that a restart stays ahead of itself. */
  constructor(clock: Clock, last: Hlc) {
    this.#clock = clock;
    this.#last = last;
  }

  /** A fresh value, above every earlier one. */
  tick(): Hlc {
    const wall = hlcFromMs(this.#clock.now());
    this.#last = Math.max(wall, this.#last + 1) as Hlc;
    return this.#last;
  }

  /** Learns of a value that was accepted from elsewhere. */
  observe(hlc: Hlc): void {
    if (hlc > this.#last) this.#last = hlc;
  }

  /** How far a value is ahead of the wall clock, in milliseconds; negative when behind. */
  aheadMs(hlc: Hlc): number {
    return (hlc - hlcFromMs(this.#clock.now())) / HLC_COUNTERS_PER_MS;
  }
}
