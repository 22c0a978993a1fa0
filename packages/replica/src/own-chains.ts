// SPDX-License-Identifier: Apache-2.0
import type { HlcClock } from "@ctxmesh/facts";
import { parseIncarnationId, toHex } from "@ctxmesh/model";
import type {
  Clock,
  DeviceKey,
  DeviceSigner,
  IncarnationId,
  Logger,
  RandomSource,
  StoreChange,
} from "@ctxmesh/model";
import type { CheckResult } from "./checks.ts";
import type { Core } from "./core.ts";
import { Group } from "./group.ts";
import { chainKey, incarnationChange } from "./layout.ts";
import { LocalWriter } from "./local-writer.ts";
import type { PreparedWrite } from "./local-batch.ts";
import type { Attempt, BuiltWrites, LocalWrite } from "./local-writer.ts";
import { isClosed, logRenewal, restatementsOf } from "./restate.ts";
import type { Chain } from "./void-content.ts";

/** What the chains of a process life are made of. */
export interface OwnChainsOptions {
  readonly core: Core;
  readonly device: DeviceKey;
  readonly signer: DeviceSigner;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly hlc: HlcClock;
}

/** What is stated again, and what has to be written with it. */
export interface Restated {
  readonly group: Group;
  readonly renewed: readonly StoreChange[];
}

/**
 * The chains that this process life writes, and whether it may go on with them: where somebody else writes in one of them, or what is
 * in one does not count any more, all are left, and it goes on as another incarnation.
 */
export class OwnChains {
  readonly #options: OwnChainsOptions;
  #incarnation: IncarnationId;
  #writer: LocalWriter;
  /** Somebody else writes in one of them. */
  #cloned = false;

  constructor(options: OwnChainsOptions, incarnation: IncarnationId) {
    this.#options = options;
    this.#incarnation = incarnation;
    this.#writer = new LocalWriter({ ...options, incarnation });
  }

  /** This process life, or what it goes on as after a fork; without the lanes that it has besides. */
  get incarnation(): IncarnationId {
    return this.#incarnation;
  }

  /** The incarnations of all chains that are written here: that one, and its lanes. */
  incarnations(): readonly IncarnationId[] {
    return this.#writer.incarnations();
  }

  /** Whether a chain is written here. */
  owns({ replica, incarnation }: Chain): boolean {
    return replica === this.#options.device && this.#writer.owns(incarnation);
  }

  /** A batch was handed in: our own echo is a duplicate; whatever else is well signed in a chain of ours, another process wrote. */
  saw(chain: Chain, result: CheckResult): void {
    if (!this.owns(chain)) return;
    this.#cloned ||= result.kind === "accept" || result.kind === "hold" || "proof" in result;
  }

  /** There is more of these incarnations of this device than was written here. */
  found(incarnations: readonly IncarnationId[]): void {
    this.#cloned ||= incarnations.some((incarnation) => this.#writer.owns(incarnation));
  }

  /** Goes on as a new incarnation where somebody else writes in one of the chains; what has to be written with, or before, its first batch. */
  takeRenewal(): readonly StoreChange[] {
    return this.#cloned ? [this.#renew()] : [];
  }

  /** Adds the batches of local writes to a group. */
  build(writes: readonly LocalWrite[], group: Group): BuiltWrites {
    return this.#writer.build(writes, group);
  }

  /** Adds the batch of one write to a group, for it to be taken back perhaps. */
  attempt(write: PreparedWrite, group: Group): Attempt {
    return this.#writer.attempt(write, group);
  }

  /**
   * After a fork, or when what was written does not count any more: goes on as a new incarnation, and states there what is void
   * now. Undefined when there is nothing to do.
   */
  async restate(): Promise<Restated | undefined> {
    const { core, device, logger } = this.#options;
    const { log, records, state } = core;
    if (records.space.revocations.has(device) || records.isForkedOut(device)) return undefined;
    const { writes, lostEdits } = await restatementsOf(log, state.ownVoid, device, core);
    const closed = this.incarnations().some((incarnation) =>
      isClosed({ replica: device, incarnation }, core),
    );
    if (!closed && writes.length === 0) return undefined;
    const used = state.frontier.head(device, this.#incarnation) !== undefined;
    const renewed = closed || used ? [this.#renew()] : [];
    const group = new Group(state.frontier);
    // All of it without a lane, and so in the chain whose record is in the store, or is put there now.
    this.#writer.build(writes, group);
    logger.warn("replica.restated", { batches: group.batches.length, lostEdits });
    return { group, renewed };
  }

  /** Goes on as a new incarnation, in all lanes. */
  #renew(): StoreChange {
    const { core, device, random, clock, logger } = this.#options;
    const before = this.#incarnation;
    const incarnation = parseIncarnationId(toHex(random.bytes(16)));
    this.#incarnation = incarnation;
    this.#writer = new LocalWriter({ ...this.#options, incarnation });
    const isForked = this.#cloned || core.records.forks.has(chainKey(device, before));
    logRenewal(logger, before, incarnation, isForked);
    this.#cloned = false;
    return incarnationChange(incarnation, clock.now());
  }
}
