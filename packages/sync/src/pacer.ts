// SPDX-License-Identifier: Apache-2.0
/** How much may go over a link by now: a token bucket, and how fast it went of late. */

/** What a message costs besides its bytes: the headers of TCP/IP, TLS and the muxer around it, about. */
const MESSAGE_OVERHEAD = 64;
/** Unused budget that is kept, as a time: a node that was busy for so long makes up for it. */
const BURST_MS = 250;
/** Over how long a rate is taken. */
const RATE_MS = 5_000;

/** A token bucket in bytes per second. Time comes from its caller. */
export class Pacer {
  readonly budget: number;
  #tokens: number;
  #nowMs: number;

  constructor(budget: number, nowMs: number) {
    this.budget = budget;
    this.#tokens = this.#burst;
    this.#nowMs = nowMs;
  }

  get #burst(): number {
    return (this.budget * BURST_MS) / 1_000;
  }

  /** Whether anything may go now. What goes may be more than what is left, and is paid off by waiting. */
  isOpen(nowMs: number): boolean {
    // A clock that was set back must not stop the link.
    const passedMs = Math.max(0, nowMs - this.#nowMs);
    this.#nowMs = nowMs;
    this.#tokens = Math.min(this.#burst, this.#tokens + (this.budget * passedMs) / 1_000);
    return this.#tokens > 0;
  }

  /** A message of so many bytes goes. */
  spend(bytes: number): void {
    this.#tokens -= bytes + MESSAGE_OVERHEAD;
  }
}

/** Bytes that passed, and how many per second of late. */
export class Meter {
  bytes = 0;
  #perSecond = 0;
  #seen = 0;
  #seenMs: number;

  constructor(nowMs: number) {
    this.#seenMs = nowMs;
  }

  /** So many bytes passed. */
  add(bytes: number): void {
    this.bytes += bytes;
  }

  /** Bytes per second, weighted by how long ago they passed. Call it now and then: what passed between two calls counts as spread evenly. */
  rate(nowMs: number): number {
    const passedMs = nowMs - this.#seenMs;
    if (passedMs > 0) {
      const latest = ((this.bytes - this.#seen) * 1_000) / passedMs;
      const weight = 1 - Math.exp(-passedMs / RATE_MS);
      this.#perSecond += (latest - this.#perSecond) * weight;
    }
    if (passedMs !== 0) {
      this.#seen = this.bytes;
      this.#seenMs = nowMs;
    }
    return this.#perSecond;
  }
}
