// SPDX-License-Identifier: Apache-2.0
/** How late a process is: what waits for its turn of the event loop waits that long. */

/** How often it is measured, in milliseconds. */
const EVERY_MS = 500;
/** A process that is later than that does not serve anybody. */
const ALIVE_MS = 1_000;

/** Measures until it is stopped. */
export class LoopWatch {
  readonly #timer: NodeJS.Timeout;
  #expectedMs: number;
  #lateMs = 0;

  constructor() {
    this.#expectedMs = performance.now() + EVERY_MS;
    this.#timer = setInterval(() => {
      const now = performance.now();
      this.#lateMs = Math.max(0, now - this.#expectedMs);
      this.#expectedMs = now + EVERY_MS;
    }, EVERY_MS);
    this.#timer.unref();
  }

  /** By how much the last measurement came late, or the next one already is, in milliseconds. */
  get lateMs(): number {
    return Math.max(this.#lateMs, performance.now() - this.#expectedMs);
  }

  /** Whether that is little enough to serve. */
  get isAlive(): boolean {
    return this.lateMs < ALIVE_MS;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
