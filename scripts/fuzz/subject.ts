// SPDX-License-Identifier: Apache-2.0
import { toHex } from "@ctxmesh/model";
import type { ReceiveOutcome } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { setImmediate } from "node:timers/promises";
import { unaccounted } from "../../test/attacks/support/attack.ts";

const MOST_TURNS = 10_000;

/** Whether a batch was refused since its chain forks, which voids a part of the chain. */
export const isFork = (outcome: ReceiveOutcome): boolean =>
  outcome.kind === "refused" && outcome.reason === "equivocation";

/** A replica with a count of what it was given. */
export class Subject {
  readonly replica: Replica;
  #given = 0;

  constructor(replica: Replica) {
    this.replica = replica;
  }

  /** Hands a batch in, and waits until what it released from the hold is settled, too. */
  async receive(bytes: Uint8Array): Promise<ReceiveOutcome> {
    this.#given++;
    const outcome = await this.replica.receive(bytes);
    const mayMove = outcome.kind === "accepted" || isFork(outcome);
    await (mayMove ? this.rest() : this.settle());
    return outcome;
  }

  /** Has timed batches looked at again. */
  async retry(): Promise<void> {
    this.replica.retryTimed();
    await this.rest();
  }

  /**
   * Waits until nothing moves any more: what is accepted, or proven to fork, can let held batches go, which
   * can prove more forks, and so on.
   */
  async rest(): Promise<void> {
    for (let before = ""; before !== this.#standing();) {
      before = this.#standing();
      await this.replica.addRecords({});
      await this.settle();
    }
  }

  #standing(): string {
    const { replica } = this;
    const digests = [replica.recordsDigest(), replica.frontierDigest()].map(toHex);
    return [...digests, JSON.stringify(replica.counters())].join();
  }

  /** A batch that leaves the hold is not counted as received until its outcome is known. */
  async settle(): Promise<void> {
    for (let turns = 0; this.replica.counters().received !== this.#given; turns++) {
      if (this.replica.failure !== undefined) throw this.replica.failure;
      if (turns > MOST_TURNS) throw new Error("a batch is never settled");
      await setImmediate();
    }
    if (this.replica.failure !== undefined) throw this.replica.failure;
    if (unaccounted(this.replica.counters()) !== 0) throw new Error("a batch is not accounted for");
  }

  /** All that the replica shows of what it applied. */
  digest(): string {
    return `${toHex(this.replica.frontierDigest())}\n${this.replica.snapshot().leaves.join("\n")}`;
  }
}
