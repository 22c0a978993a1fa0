// SPDX-License-Identifier: Apache-2.0
import { MeshError } from "@ctxmesh/model";
import type { DeviceKey, Store, StoreChange } from "@ctxmesh/model";
import type { ChangeTail } from "./change-tail.ts";
import type { Checkpointer } from "./checkpointer.ts";
import type { CheckedBatch } from "./checks.ts";
import type { Core } from "./core.ts";
import type { Group } from "./group.ts";
import { batchEntries } from "./journal.ts";
import type { Journal } from "./journal.ts";
import type { Listeners } from "./listeners.ts";
import { headOf } from "./log.ts";
import type { OwnChains } from "./own-chains.ts";
import type { Receives } from "./receives.ts";
import { changesPast, keepVoid } from "./state.ts";
import type { VoidReason } from "./state.ts";
import { appliedOf } from "./tasks.ts";
import type { AppliedBatch } from "./tasks.ts";

/** What groups are made durable and visible with. */
export interface GroupCommitOptions {
  readonly core: Core;
  readonly device: DeviceKey;
  readonly store: Store;
  readonly journal?: Journal;
  readonly own: OwnChains;
  readonly receives: Receives;
  readonly checkpointer: Checkpointer;
  readonly tail: ChangeTail;
  /** See `Replica.onApplied`. */
  readonly listeners: Listeners<AppliedBatch>;
  /** What counts has changed. */
  readonly rebuildSoon: () => void;
}

/** Makes the batches of groups durable, and then visible. */
export class GroupCommit {
  readonly #options: GroupCommitOptions;

  constructor(options: GroupCommitOptions) {
    this.#options = options;
  }

  /**
   * Makes the batches of a group durable, in the journal first unless they are there, and with what else is to be written, and then visible. Rejects only with
   * what fails the replica: with `INTERNAL` when they are durable and can't be made visible, so that nobody takes it for a refusal.
   */
  async commit(group: Group, also: readonly StoreChange[], isRecorded = false): Promise<void> {
    const { store, journal, core } = this.#options;
    const { log } = core;
    const changes = log.changesFor(group.batches);
    if (!isRecorded) await journal?.record(batchEntries(group.batches));
    await store.write([...also, ...changes]);
    const { position } = log;
    log.appended(group.batches);
    try {
      this.#show(group, position);
    } catch (cause) {
      throw new MeshError("INTERNAL", "what was written is durable, and could not be taken in", {
        remedy: "open the replica again",
        cause,
      });
    }
  }

  /** The batches of a group are in the log behind a position. */
  #show(group: Group, position: number): void {
    for (const [i, batch] of group.batches.entries()) {
      const reason = group.reasonAgainst(batch);
      if (reason === undefined) this.#apply(batch, position + i + 1);
      else this.#keep(batch, reason);
    }
  }

  /** A durable batch that does not count; what waited to know of it goes back into the queue. */
  #keep(batch: CheckedBatch, reason: VoidReason): void {
    const { core, device, checkpointer, receives, rebuildSoon } = this.#options;
    keepVoid(core.state, batch, reason);
    checkpointer.beforeApply({ ...batch, header: { ...batch.header, sections: [] } });
    receives.release(batch.hash);
    // What it states is stated again then, and what waits for what is behind it need not any more.
    const isOwn = batch.header.replica === device;
    if (isOwn || core.state.waiting.size > 0) rebuildSoon();
  }

  /** A durable batch becomes visible; what waited for it goes back into the queue. */
  #apply(batch: CheckedBatch, position: number): void {
    const { core, own, checkpointer, tail, receives, listeners, rebuildSoon } = this.#options;
    const { voidHeaders, state } = core;
    const { frontier, documents } = state;
    const head = headOf(batch);
    checkpointer.beforeApply(batch);
    if (voidHeaders.get(batch.hash) !== undefined) state.arrived.add(batch.hash);
    const origin = own.owns(head) ? "local" : "remote";
    frontier.advance(head, batch.header.deps, batch.header.lane);
    tail.beforeApply(batch, position, documents);
    const applied = appliedOf(batch, head, origin, documents.apply(batch));
    receives.release(batch.hash);
    if (changesPast(state, batch)) rebuildSoon();
    listeners.tell(applied);
  }
}
