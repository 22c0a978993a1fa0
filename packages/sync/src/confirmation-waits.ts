// SPDX-License-Identifier: Apache-2.0
/** Those who wait until a batch is confirmed. */
import type { Clock } from "@ctxmesh/model";
import { chainKey } from "./chain-map.ts";
import type { ChainSeq } from "./messages.ts";
import type { ConfirmedLevel } from "./session-state.ts";

/** How a wait ended. */
export type WaitOutcome = "reached" | "late" | "cut" | "ended";

/** What is waited for, and for how long at most. */
export interface Wait {
  readonly at: ChainSeq;
  readonly level: ConfirmedLevel;
  readonly timeoutMs: number;
}

interface Waiting extends Wait {
  deadlineMs: number;
  readonly resolve: (outcome: WaitOutcome) => void;
}

/** Says how a wait ends, if it does by now. */
type Judge = (at: ChainSeq, level: ConfirmedLevel) => WaitOutcome | undefined;

/** All waits, by chain. */
export class ConfirmationWaits {
  readonly #clock: Clock;
  readonly #byChain = new Map<string, Set<Waiting>>();
  #size = 0;
  #ended = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#size;
  }

  async add(wait: Wait): Promise<WaitOutcome> {
    if (this.#ended) return "ended";
    const { promise, resolve } = Promise.withResolvers<WaitOutcome>();
    const chain = chainKey(wait.at);
    const waiting = this.#byChain.get(chain) ?? new Set();
    this.#byChain.set(chain, waiting);
    waiting.add({ ...wait, deadlineMs: this.#clock.now() + wait.timeoutMs, resolve });
    this.#size++;
    return promise;
  }

  /** Ends those of a chain that `judge` has an outcome for. */
  settleChain(chain: string, judge: Judge): void {
    const waiting = this.#byChain.get(chain);
    if (waiting === undefined) return;
    for (const one of waiting) {
      const outcome = judge(one.at, one.level);
      if (outcome === undefined) continue;
      waiting.delete(one);
      this.#size--;
      one.resolve(outcome);
    }
    if (waiting.size === 0) this.#byChain.delete(chain);
  }

  /** Ends those that `judge` has an outcome for. */
  settle(judge: Judge): void {
    for (const chain of this.#byChain.keys()) this.settleChain(chain, judge);
  }

  /** Ends those whose time is over. A clock that was set back must not make anybody wait longer than was asked for. */
  expire(): void {
    const nowMs = this.#clock.now();
    for (const [chain, waiting] of this.#byChain) {
      for (const one of waiting) {
        one.deadlineMs = Math.min(one.deadlineMs, nowMs + one.timeoutMs);
        if (nowMs < one.deadlineMs) continue;
        waiting.delete(one);
        this.#size--;
        one.resolve("late");
      }
      if (waiting.size === 0) this.#byChain.delete(chain);
    }
  }

  /** Ends all, and those to come at once. */
  end(): void {
    this.#ended = true;
    this.settle(() => "ended");
  }
}
