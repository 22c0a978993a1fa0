// SPDX-License-Identifier: Apache-2.0
import type { HlcClock } from "@ctxmesh/facts";
import { LIMITS } from "@ctxmesh/model";
import type {
  Clock,
  DeviceKey,
  HeaderHash,
  ReceiveOutcome,
  SignatureVerifier,
} from "@ctxmesh/model";
import { checkContext } from "./check-context.ts";
import { checkBatch, unpackedOf } from "./checks.ts";
import type { CheckResult, ParsedBatch } from "./checks.ts";
import type { Core } from "./core.ts";
import { OutcomeCounters } from "./counters.ts";
import { Glimpses } from "./glimpses.ts";
import type { Group } from "./group.ts";
import { HoldBuffer } from "./hold.ts";
import { Pace } from "./pace.ts";
import { outcomeOf } from "./received.ts";
import type { RecordsQueue } from "./records-queue.ts";
import { stateView } from "./state.ts";
import { releasedTask } from "./tasks.ts";
import type { ReceiveTask } from "./tasks.ts";
import type { Wants } from "./wants.ts";
import { WorkQueue } from "./work-queue.ts";

/** What received batches are looked at with. */
export interface ReceivesOptions {
  readonly core: Core;
  readonly device: DeviceKey;
  readonly verifier: SignatureVerifier;
  readonly clock: Clock;
  readonly hlc: HlcClock;
  /** What this replica wants of what others write; undefined for everything. */
  readonly wants: Wants | undefined;
  /** Where proofs go that a batch shows. */
  readonly records: RecordsQueue;
  /** See `ReplicaOptions.rest`. */
  readonly rest?: () => Promise<void>;
}

/** Foreign batches on their way in: those whose turn has not come, and those that wait for something. */
export class Receives {
  readonly #options: ReceivesOptions;
  readonly #queue = new WorkQueue<ReceiveTask>();
  readonly #glimpses = new Glimpses();
  readonly #pace: Pace;
  readonly counters: OutcomeCounters = new OutcomeCounters();
  /** Those that wait for something. */
  readonly hold: HoldBuffer;

  constructor(options: ReceivesOptions) {
    this.#options = options;
    this.#pace = new Pace(options.rest);
    this.hold = new HoldBuffer(() => {
      this.counters.evict();
    });
  }

  /** Number of those whose turn has not come. */
  get length(): number {
    return this.#queue.length;
  }

  /** Queues a batch; resolves with what became of it. See `Committer.receive`. */
  async add(batch: ParsedBatch, wanted: boolean): Promise<ReceiveOutcome> {
    const size = batch.bytes.length;
    if (this.#queue.isFull(size)) return this.counters.count({ kind: "dropped" });
    const { promise, resolve, reject } = Promise.withResolvers<ReceiveOutcome>();
    const unpacked = unpackedOf(batch);
    this.#queue.push({ batch, size, unpacked, released: false, wanted, resolve, reject });
    return promise;
  }

  /** Takes those of the next group. */
  take(): readonly ReceiveTask[] {
    return this.#queue.take(LIMITS.batchesPerGroup);
  }

  /** Checks a batch, which joins the group if it is good. What came of it is not counted yet. */
  async check(
    { batch, released, wanted }: ReceiveTask,
    group: Group,
  ): Promise<{ readonly result: CheckResult; readonly outcome: ReceiveOutcome }> {
    const { core, device: self, verifier, clock, hlc, wants, records } = this.#options;
    const { hold } = this;
    const isHeld = (hash: HeaderHash): boolean => hold.has(hash);
    const nowMs = clock.now();
    const context = checkContext({ core, self, wants, group, isHeld, verifier, nowMs });
    const result = await checkBatch(batch, context, released);
    if (result.kind === "accept") {
      group.add(result.batch);
      core.state.documents.stage(result.batch);
      hlc.observe(result.batch.header.hlc);
    }
    if (result.kind === "refused" && result.kept !== undefined) {
      // Others wait to know of it, or know of it and say so.
      const isWanted = wanted === true || hold.isMissing(batch.hash);
      if (isWanted) group.add(result.kept.batch, result.kept.reason);
    }
    const glimpses = this.#glimpses;
    return { result, outcome: outcomeOf(result, batch, { hold, records, glimpses, nowMs }) };
  }

  /** A batch was dealt with; a promise to wait for, when other work is to have its turn. */
  did({ unpacked }: ReceiveTask): Promise<void> | undefined {
    return this.#pace.did(unpacked);
  }

  /** What waited for a batch goes back into the queue. */
  release(hash: HeaderHash): void {
    this.#requeue(this.hold.takeWaitingFor(hash));
  }

  /** All that waits goes back into the queue. */
  releaseAll(): void {
    this.#requeue(this.hold.takeAll());
  }

  /** What waits for the clock, an act, room, or a rich operation that is settled goes back into the queue. */
  releaseTimed(): void {
    const { records, state, voidHeaders } = this.#options.core;
    const view = stateView(records, voidHeaders, state);
    this.#requeue(this.hold.takeTimed((missing) => state.documents.isSettled(missing, view)));
  }

  #requeue(batches: readonly ParsedBatch[]): void {
    for (const batch of batches) {
      this.counters.release();
      this.#queue.push(releasedTask(batch));
    }
  }
}
