// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import { chainKey } from "./chain-map.ts";
import type { ChainSeq } from "./message-parts.ts";

/** So long a batch is believed to be held, in milliseconds; it may have been pushed out, and is asked for once more then. */
export const HELD_FOR_MS = 300_000;

/** Positions of one chain, both ends included. */
interface Span {
  readonly from: number;
  readonly to: number;
  readonly untilMs: number;
}

/**
 * Which batches are here and wait for a clock, a grant or room, as the replica said when it took them: to ask for them again is
 * no use, whichever peer has them. A replica does not say when it lets a batch go; those that it applies move their chain's head past them,
 * and the others are forgotten after `HELD_FOR_MS`. One run of positions for each chain, `LIMITS.heldBatches` chains at most.
 */
export class HeldPositions {
  readonly #spans = new Map<string, Span>();

  get isEmpty(): boolean {
    return this.#spans.size === 0;
  }

  /** A batch was held for a clock, a grant or room; `next` is the position behind its chain's head. */
  held(at: ChainSeq, next: number, nowMs: number): void {
    const chain = chainKey(at);
    const known = this.#spans.get(chain);
    if (known === undefined && this.#spans.size >= LIMITS.heldBatches) this.#forget(nowMs);
    if (known === undefined && this.#spans.size >= LIMITS.heldBatches) return;
    // What is behind the head was applied.
    const span = known !== undefined && known.to >= next ? known : undefined;
    if (span !== undefined && at.seq > span.to + 1) return;
    const isNear = span !== undefined && at.seq >= span.from - 1;
    this.#spans.set(chain, {
      from: isNear ? Math.min(span.from, at.seq) : at.seq,
      to: isNear ? Math.max(span.to, at.seq) : at.seq,
      untilMs: nowMs + HELD_FOR_MS,
    });
  }

  /** A batch came once more: if it was held, it still is. */
  again(at: ChainSeq, nowMs: number): void {
    const span = this.#spans.get(chainKey(at));
    if (span === undefined || at.seq < span.from || at.seq > span.to) return;
    this.#spans.set(chainKey(at), { ...span, untilMs: nowMs + HELD_FOR_MS });
  }

  /** Whether a batch is held, as far as is known. */
  has(at: ChainSeq, nowMs: number): boolean {
    const span = this.#spans.get(chainKey(at));
    if (span === undefined || at.seq < span.from || at.seq > span.to) return false;
    // A clock that was set back keeps nothing longer.
    return nowMs < span.untilMs && span.untilMs <= nowMs + HELD_FOR_MS;
  }

  #forget(nowMs: number): void {
    for (const [chain, { untilMs }] of this.#spans) if (untilMs <= nowMs) this.#spans.delete(chain);
  }
}
