// SPDX-License-Identifier: Apache-2.0
import type { Clock } from "@ctxmesh/model";

/** The Unix time at which every run begins: 2026-01-01T00:00:00Z. */
export const START_MS = 1_767_225_600_000;

/** A machine's clock: goes a little too fast or slow, and jumps. */
export class NodeClock implements Clock {
  readonly #simulatedMs: () => number;
  #ppm: number;
  /** Shown at `#sinceMs`. */
  #shownMs: number;
  #sinceMs: number;

  constructor(simulatedMs: () => number, offMs: number, driftPpm: number) {
    this.#simulatedMs = simulatedMs;
    this.#sinceMs = simulatedMs();
    this.#shownMs = START_MS + this.#sinceMs + offMs;
    this.#ppm = driftPpm;
  }

  now(): number {
    return Math.floor(this.#exactMs());
  }

  #exactMs(): number {
    const passed = this.#simulatedMs() - this.#sinceMs;
    return this.#shownMs + passed + (passed * this.#ppm) / 1_000_000;
  }

  /** How far it is off, in milliseconds; positive is ahead. */
  get offMs(): number {
    return this.#exactMs() - START_MS - this.#simulatedMs();
  }

  /** Somebody sets it. */
  jump(byMs: number): void {
    this.#shownMs += byMs;
  }

  /** From now on it shows the right time. */
  correct(): void {
    this.#sinceMs = this.#simulatedMs();
    this.#shownMs = START_MS + this.#sinceMs;
    this.#ppm = 0;
  }
}
