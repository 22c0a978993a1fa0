// SPDX-License-Identifier: Apache-2.0
/** Virtual time: events in the order of their time, and of their making where that is the same. */

/** Events at one instant past which something goes round in circles. */
const MOST_PER_INSTANT = 100_000;

/** Something that is going to happen. */
interface Due {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

const isBefore = (a: Due, b: Due): boolean =>
  a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

/** Lets everything that only waits for promises come to rest. */
const drained = async (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

/**
 * The one source of order in a run. The code under simulation awaits nothing but promises, so after each event one
 * turn of the event loop drains all that the event set off, before the next one begins.
 */
export class Scheduler {
  /** Binary heap. */
  readonly #heap: Due[] = [];
  readonly #mostEvents: number;
  #order = 0;
  #nowMs = 0;
  #events = 0;
  #atInstant = 0;

  /** `mostEvents` bounds the whole run. */
  constructor(mostEvents: number) {
    this.#mostEvents = mostEvents;
  }

  /** Simulated milliseconds since the beginning. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events so far. */
  get events(): number {
    return this.#events;
  }

  /** Has something happen `delayMs` from now. */
  after(delayMs: number, run: () => void): void {
    this.#push({ atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, run });
  }

  /**
   * Lets all events up to a time happen, `settled` after each, once it has been drained; ends early when `settled`
   * returns true. Throws `Error` when more events happen at one instant, or in all, than any sound run has.
   */
  async runUntil(untilMs: number, settled: () => boolean): Promise<void> {
    for (let due = this.#heap[0]; due !== undefined && due.atMs <= untilMs; due = this.#heap[0]) {
      this.#pop();
      this.#count(due.atMs);
      due.run();
      await drained();
      if (settled()) return;
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  #count(atMs: number): void {
    this.#events += 1;
    this.#atInstant = atMs === this.#nowMs ? this.#atInstant + 1 : 0;
    this.#nowMs = atMs;
    if (this.#atInstant > MOST_PER_INSTANT) {
      throw new Error(`livelock: ${String(MOST_PER_INSTANT)} events at ${String(atMs)} ms`);
    }
    if (this.#events > this.#mostEvents) {
      throw new Error(`more than ${String(this.#mostEvents)} events by ${String(atMs)} ms`);
    }
  }

  #push(due: Due): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(due);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || !isBefore(due, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = due;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = heap[2 * at + 1];
      const right = heap[2 * at + 2];
      if (left === undefined) break;
      const rightFirst = right !== undefined && isBefore(right, left);
      const child = rightFirst ? right : left;
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = 2 * at + (rightFirst ? 2 : 1);
    }
    heap[at] = last;
  }
}
