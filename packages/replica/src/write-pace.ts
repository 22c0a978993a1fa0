// SPDX-License-Identifier: Apache-2.0
import type { Clock } from "@ctxmesh/model";

/** A batch with so many bytes of writes costs little more for each fact than one with many times as many. */
const ENOUGH_BYTES = 16_384;
/** After a window in which nothing came, so many groups of writes go without one; each time twice as many. */
const FEWEST_SKIPS = 16;
const MOST_SKIPS = 256;

/**
 * When local writes are taken: at once, unless others were taken less than a window ago, since then more of them are to be
 * expected, and all that come within the window share a batch, which is signed, synced, sent and verified once. Where whoever
 * writes waits for one write before the next, nothing comes within a window, and it would only cost time: then there is
 * none for a while.
 */
export class WritePace {
  readonly #clock: Clock;
  #wait: ((ms: number) => Promise<void>) | undefined;
  readonly #over: () => void;
  #windowMs = 0;
  /** When writes were taken last. */
  #takenMs = Number.NEGATIVE_INFINITY;
  /** Writes that waited when the window began; undefined outside of one. */
  #before: number | undefined;
  /** Windows that have begun: the timer of one that was cut short ends no other. */
  #windows = 0;
  /** What waits is to be taken now. */
  #isDue = false;
  /** Groups yet to go without a window, and how many will the next time. */
  #skips = 0;
  #nextSkips = FEWEST_SKIPS;

  /** `wait` resolves after some milliseconds; without it nothing waits. `over` is called when a window has ended. */
  constructor(clock: Clock, wait: ((ms: number) => Promise<void>) | undefined, over: () => void) {
    this.#clock = clock;
    this.#wait = wait;
    this.#over = over;
  }

  /** The length of windows from now on; 0 for none. */
  open(windowMs: number): void {
    this.#windowMs = windowMs;
  }

  /** Whether the writes that wait, so many with so many bytes, are to be taken now; else a window is open. */
  isTurn(waiting: { readonly length: number; readonly bytes: number }): boolean {
    if (waiting.length === 0) return false;
    if (this.#wait === undefined || this.#isDue || waiting.bytes >= ENOUGH_BYTES) return true;
    if (this.#before !== undefined) return false;
    const leftMs = this.#windowMs - (this.#clock.now() - this.#takenMs);
    // A clock that was set back must not hold anything up.
    if (this.#skips > 0 || leftMs <= 0 || leftMs > this.#windowMs) return true;
    this.#before = waiting.length;
    const window = ++this.#windows;
    const end = (): void => {
      if (window !== this.#windows || this.#before === undefined) return;
      this.#isDue = true;
      this.#over();
    };
    this.#wait(leftMs).then(end, end);
    return false;
  }

  /** What waits must not wait any longer, since something urgent is among it. */
  hurry(): void {
    this.#isDue = true;
  }

  /** So many writes were taken. */
  taken(count: number): void {
    this.#takenMs = this.#clock.now();
    if (this.#before === undefined) {
      if (this.#skips > 0) this.#skips--;
    } else if (count > this.#before) {
      this.#nextSkips = FEWEST_SKIPS;
    } else {
      this.#skips = this.#nextSkips;
      this.#nextSkips = Math.min(MOST_SKIPS, 2 * this.#nextSkips);
    }
    this.#before = undefined;
    this.#isDue = false;
  }

  /** From now on nothing waits. */
  stop(): void {
    this.#wait = undefined;
  }
}
