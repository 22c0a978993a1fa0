// SPDX-License-Identifier: Apache-2.0
import { REFUSALS } from "@ctxmesh/model";
import type { ReceiveCounters, ReceiveOutcome, Refusal } from "@ctxmesh/model";

/**
 * One counter per outcome. A batch counts as received when its outcome is known, so that received =
 * accepted + duplicate + refused + held + dropped holds at every step.
 */
export class OutcomeCounters {
  #received = 0;
  #accepted = 0;
  #duplicate = 0;
  #dropped = 0;
  #held = 0;
  readonly #refused = Object.fromEntries(REFUSALS.map((reason) => [reason, 0])) as Record<
    Refusal,
    number
  >;

  /** Counts an outcome and returns it. */
  count(outcome: ReceiveOutcome): ReceiveOutcome {
    this.#received++;
    switch (outcome.kind) {
      case "accepted":
        this.#accepted++;
        break;
      case "duplicate":
        this.#duplicate++;
        break;
      case "dropped":
        this.#dropped++;
        break;
      case "held":
        this.#held++;
        break;
      case "refused":
        this.#refused[outcome.reason]++;
        break;
    }
    return outcome;
  }

  /** A held batch is looked at again: it is without an outcome until counted anew. */
  release(): void {
    this.#held--;
    this.#received--;
  }

  /** A held batch was dropped for another. */
  evict(): void {
    this.#held--;
    this.#dropped++;
  }

  /** The numbers now. */
  snapshot(): ReceiveCounters {
    return {
      received: this.#received,
      accepted: this.#accepted,
      duplicate: this.#duplicate,
      dropped: this.#dropped,
      held: this.#held,
      refused: { ...this.#refused },
    };
  }
}
