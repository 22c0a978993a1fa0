// SPDX-License-Identifier: Apache-2.0
import type { RandomSource } from "@ctxmesh/model";

/** One open session, drawn at random, is compared this often. */
export const COMPARE_EVERY_MS = 30_000;
/** And each one at least this often, by either end. */
export const COMPARE_AT_LEAST_EVERY_MS = 300_000;

/** What the schedule looks at in a session. */
export interface Comparable {
  /** Unix milliseconds. */
  readonly comparedMs: number;
}

/** A number from 0 to `count` - 1; the bias of 32 bits over some thousand sessions is nothing. */
function draw(random: RandomSource, count: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = random.bytes(4);
  return (((a << 24) | (b << 16) | (c << 8) | d) >>> 0) % count;
}

/** Says which sessions are to be compared, so that idle peers cost little and none is forgotten. */
export class Schedule {
  readonly #random: RandomSource;
  #drawnMs: number;

  constructor(random: RandomSource, nowMs: number) {
    this.#random = random;
    this.#drawnMs = nowMs;
  }

  /**
   * The sessions to compare now: each `COMPARE_EVERY_MS` one at random of those that neither end has compared for so long, and
   * whichever have waited too long. A clock that jumps brings it forward.
   */
  due<T extends Comparable>(sessions: readonly T[], nowMs: number): ReadonlySet<T> {
    const waiting = (ms: number): readonly T[] =>
      sessions.filter(({ comparedMs }) => Math.abs(nowMs - comparedMs) >= ms);
    const due = new Set(waiting(COMPARE_AT_LEAST_EVERY_MS));
    if (Math.abs(nowMs - this.#drawnMs) < COMPARE_EVERY_MS) return due;
    this.#drawnMs = nowMs;
    const idle = waiting(COMPARE_EVERY_MS);
    const drawn = idle.length === 0 ? undefined : idle[draw(this.#random, idle.length)];
    if (drawn !== undefined) due.add(drawn);
    return due;
  }
}
