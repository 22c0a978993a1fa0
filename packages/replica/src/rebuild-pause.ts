// SPDX-License-Identifier: Apache-2.0
import type { Clock } from "@ctxmesh/model";

/** After a rebuild there is none for this many times as long as it took, within a bound. */
const TIMES = 9;
/** Whoever hands in an act waits for it to take effect. */
const LONGEST_MS = 10_000;

/** Sees to it that a flood of proofs or acts, each of which has the state rebuilt, leaves most of the time to everything else. */
export class RebuildPause {
  readonly #clock: Clock;
  /** When the last rebuild ended, and until when there is no other one. */
  #endedMs = Number.NEGATIVE_INFINITY;
  #dueMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether the next one may begin. A clock that was set back must not put it off. */
  isOver(): boolean {
    const now = this.#clock.now();
    return now >= this.#dueMs || now < this.#endedMs;
  }

  /** A rebuild that began at `startedMs` has ended; returns how long it took. */
  begin(startedMs: number): number {
    this.#endedMs = this.#clock.now();
    const tookMs = Math.max(0, this.#endedMs - startedMs);
    this.#dueMs = this.#endedMs + Math.min(LONGEST_MS, TIMES * tookMs);
    return tookMs;
  }
}
