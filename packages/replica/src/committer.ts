// SPDX-License-Identifier: Apache-2.0
import { HlcClock } from "@ctxmesh/facts";
import { LIMITS, MeshError, parseIncarnationId, toHex } from "@ctxmesh/model";
import type {
  DeviceKey,
  HeaderHash,
  IncarnationId,
  ReceiveOutcome,
  StoreChange,
  WriteReceipt,
} from "@ctxmesh/model";
import { checkBatch } from "./checks.ts";
import type { CheckResult, CheckedBatch, ParsedBatch } from "./checks.ts";
import { checkContext } from "./check-context.ts";
import { Checkpointer } from "./checkpointer.ts";
import type { Core } from "./core.ts";
import { OutcomeCounters } from "./counters.ts";
import type { ChangedKey } from "./documents.ts";
import type { ParsedHeader } from "./evidence.ts";
import { Group } from "./group.ts";
import { HoldBuffer } from "./hold.ts";
import { expectationMet, incarnationChange } from "./layout.ts";
import { LocalWriter } from "./local-writer.ts";
import type { LocalWrite } from "./local-writer.ts";
import { headOf } from "./log.ts";
import { rebuildState } from "./open.ts";
import type { OpenState } from "./open.ts";
import { clientOf } from "./parts.ts";
import { RebuildPause } from "./rebuild-pause.ts";
import type { RecordBytes } from "./records.ts";
import { RecordsQueue } from "./records-queue.ts";
import type { ReplicaOptions } from "./replica.ts";
import { restatementsOf } from "./restate.ts";
import { changesWhatCounts } from "./state.ts";
import { takeAll } from "./take-records.ts";
import { settleWrites } from "./tasks.ts";
import type {
  AppliedBatch,
  ReceiveTask,
  RecordsChange,
  RecordsOutcome,
  RecordsTask,
  WriteTask,
} from "./tasks.ts";
import { WorkQueue } from "./work-queue.ts";

const ignore = (): void => undefined;

/**
 * The one writer of a replica's store. All ways in, a local write, a received batch or records, go through
 * queues that are drained in groups: a group's batches are checked in order, written with one atomic,
 * durable store write, then applied to memory and announced. While a write is under way the next group
 * gathers. Records are taken between two groups; when they change what counts, the state is rebuilt.
 */
export class Committer {
  readonly #options: ReplicaOptions;
  readonly #device: DeviceKey;
  readonly #core: { -readonly [K in keyof Core]: Core[K] };
  readonly #hlc: HlcClock;
  readonly #hold: HoldBuffer;
  readonly counters: OutcomeCounters = new OutcomeCounters();
  /** See `Replica.onApplied`. */
  readonly batchListeners: Set<(batch: AppliedBatch) => void> = new Set();
  /** See `Replica.onRecords`. */
  readonly recordListeners: Set<(change: RecordsChange) => void> = new Set();
  readonly #writes = new WorkQueue<WriteTask>();
  readonly #receives = new WorkQueue<ReceiveTask>();
  readonly #records = new RecordsQueue();
  readonly #pause: RebuildPause;
  /** Makes checkpoints and prunes the log, between the groups. */
  readonly checkpointer: Checkpointer;
  #incarnation: IncarnationId;
  #writer: LocalWriter;
  /** Somebody else writes in our incarnation. */
  #cloned = false;
  /** A stored batch counts now that did not when the state was built. */
  #stale = false;
  #draining: Promise<void> | undefined;
  #closed = false;
  #failure: MeshError | undefined;

  constructor(options: ReplicaOptions, device: DeviceKey, opened: OpenState, inc: IncarnationId) {
    const { log, checkpoints, records, state, voidHeaders, expected } = opened;
    this.#options = options;
    this.#device = device;
    this.#core = { log, checkpoints, records, state, voidHeaders, expected };
    this.checkpointer = new Checkpointer({
      ...options,
      core: this.#core,
      self: device,
      failed: (error) => {
        this.#fail(error, []);
      },
      idle: () => {
        if (this.#hasWork()) this.#drain();
      },
    });
    this.#pause = new RebuildPause(options.clock);
    this.#hlc = new HlcClock(options.clock, state.maxHlc);
    this.#hold = new HoldBuffer(() => {
      this.counters.evict();
    });
    this.#incarnation = inc;
    this.#writer = this.#createWriter();
  }

  /** What the replica has now. */
  get core(): Core {
    return this.#core;
  }

  /** This process life, or what it goes on as after a fork. */
  get incarnation(): IncarnationId {
    return this.#incarnation;
  }

  /** Why nothing is taken any more, if so. */
  get failure(): MeshError | undefined {
    return this.#failure;
  }

  #createWriter(): LocalWriter {
    return new LocalWriter({
      ...this.#options,
      core: this.#core,
      device: this.#device,
      incarnation: this.#incarnation,
      hlc: this.#hlc,
    });
  }

  /** Throws `CLOSED`, or why the replica failed. */
  assertWritable(): void {
    if (this.#closed) throw new MeshError("CLOSED", "the replica is closed");
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Queues a local write; resolves once it is durable. Throws `LIMIT_EXCEEDED` when too many wait. */
  async write(write: LocalWrite, size: number): Promise<WriteReceipt> {
    if (this.#writes.isFull(size)) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `${String(this.#writes.length)} writes are waiting for the store; the limit is ${String(LIMITS.queuedBatches)} or ${String(LIMITS.queuedBytes)} bytes`,
        { remedy: "wait for the receipts of earlier writes" },
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<WriteReceipt>();
    this.#writes.push({ write, size, resolve, reject });
    this.#drain();
    return promise;
  }

  /** Queues a received batch; resolves with what became of it. */
  async receive(batch: ParsedBatch): Promise<ReceiveOutcome> {
    const size = batch.bytes.length;
    if (this.#receives.isFull(size)) return this.counters.count({ kind: "dropped" });
    const { promise, resolve, reject } = Promise.withResolvers<ReceiveOutcome>();
    this.#receives.push({ batch, size, released: false, resolve, reject });
    this.#drain();
    return promise;
  }

  /** Queues records and headers; resolves once they are durable and in effect. */
  async take(records: RecordBytes, headers: readonly ParsedHeader[] = []): Promise<RecordsOutcome> {
    const { promise, resolve, reject } = Promise.withResolvers<RecordsOutcome>();
    this.#records.push({ ...records, headers, resolve, reject });
    this.#drain();
    return promise;
  }

  /** Goes on with what an earlier life left: states again what it wrote in chains that are void now, prunes, makes a checkpoint that is due. Call once, after opening. */
  resume(): void {
    if (this.#core.state.ownVoid.length > 0) this.#records.pushOwn({ acts: [], proofs: [] });
    if (this.#hasWork()) this.#drain();
    this.checkpointer.resume().catch((error: unknown) => {
      this.#fail(error, []);
    });
  }

  /** Forgets the heads that a damaged store had. */
  async acceptLoss(): Promise<void> {
    await this.#options.store.write(this.#core.expected.map(expectationMet));
    this.#core.expected = [];
  }

  /** Looks again at what was held for the clock, an act or room, and at records that had to wait. */
  retryTimed(): void {
    if (this.#closed || this.#failure !== undefined) return;
    this.#requeue(this.#hold.takeTimed());
    this.#drain();
  }

  /** What held batches have waited for since a time, oldest first. */
  missing(sinceMs: number, most: number): readonly HeaderHash[] {
    return this.#hold.missing(sinceMs, most);
  }

  #isRecordsTurn(): boolean {
    return this.#records.length > 0 && this.#pause.isOver();
  }

  #hasWork(): boolean {
    return (
      this.#isRecordsTurn() ||
      this.#writes.length + this.#receives.length > 0 ||
      this.#isCheckpointWanted()
    );
  }

  #isCheckpointWanted(): boolean {
    return this.#failure === undefined && this.checkpointer.isWanted();
  }

  #drain(): void {
    this.#draining ??= this.#drainGroups().finally(() => {
      this.#draining = undefined;
      // Work that arrived between the last look and this line.
      if (this.#hasWork()) this.#drain();
    });
  }

  async #drainGroups(): Promise<void> {
    // One turn of the queue gathers what the same tick enqueued.
    await Promise.resolve();
    while (this.#hasWork()) {
      if (this.#isCheckpointWanted()) this.checkpointer.begin();
      const records = this.#isRecordsTurn() ? this.#records.takeAll() : [];
      const receives = this.#receives.take(LIMITS.batchesPerGroup);
      const writes = this.#writes.take(LIMITS.writesPerGroup);
      if (this.#failure !== undefined) {
        for (const task of [...records, ...receives, ...writes]) task.reject(this.#failure);
        continue;
      }
      try {
        if (records.length > 0) await this.#takeRecords(records);
        if (receives.length + writes.length > 0) await this.#commitGroup(receives, writes);
      } catch (error) {
        this.#fail(error, [...records, ...receives, ...writes]);
      }
    }
  }

  /** The state on disk is unknown now: refuse everything until the replica is opened again. */
  #fail(error: unknown, tasks: readonly { readonly reject: (error: unknown) => void }[]): void {
    this.#failure =
      error instanceof MeshError
        ? error
        : new MeshError("INTERNAL", "the replica stopped on an unexpected error", { cause: error });
    this.#options.logger.error("replica.failed", { error: this.#failure });
    this.checkpointer.giveUp();
    for (const task of tasks) task.reject(this.#failure);
  }

  async #commitGroup(
    receives: readonly ReceiveTask[],
    writes: readonly WriteTask[],
  ): Promise<void> {
    const group = new Group(this.#core.state.frontier);
    const accepted: (() => void)[] = [];
    for (const task of receives) {
      const outcome = await this.#checkReceived(task, group);
      const settle = (): void => task.resolve(this.counters.count(outcome));
      if (outcome.kind === "accepted") accepted.push(settle);
      else settle();
    }
    const fresh = this.#cloned ? [this.#renewIncarnation()] : [];
    const results = this.#writer.build(
      writes.map(({ write }) => write),
      group,
    );
    if (group.batches.length + fresh.length > 0) {
      const changes = this.#core.log.changesFor(group.batches);
      await this.#options.store.write([...fresh, ...changes]);
      this.#core.log.appended(group.batches);
      for (const batch of group.batches) this.#apply(batch);
      for (const settle of accepted) settle();
    }
    const { frontier } = this.#core.state;
    settleWrites(writes, results, {
      hlc: frontier.maxHlc,
      incarnation: this.#incarnation,
      seq: frontier.head(this.#device, this.#incarnation)?.seq ?? 0,
    });
  }

  async #checkReceived({ batch, released }: ReceiveTask, group: Group): Promise<ReceiveOutcome> {
    const { verifier, clock } = this.#options;
    const isHeld = (hash: HeaderHash): boolean => this.#hold.has(hash);
    const view = {
      core: this.#core,
      self: this.#device,
      group,
      isHeld,
      verifier,
      nowMs: clock.now(),
    };
    const result = await checkBatch(batch, checkContext(view), released);
    if (result.kind === "accept") {
      group.add(result.batch);
      this.#core.state.documents.stage(result.batch);
      this.#hlc.observe(result.batch.header.hlc);
    }
    const { replica, incarnation } = batch.header;
    // Our own echo is a duplicate; whatever else is well signed in this incarnation, another process wrote.
    if (replica === this.#device && incarnation === this.#incarnation) {
      this.#cloned ||= result.kind === "accept" || result.kind === "hold" || "proof" in result;
    }
    return this.#outcomeOf(result, batch);
  }

  #outcomeOf(result: CheckResult, batch: ParsedBatch): ReceiveOutcome {
    switch (result.kind) {
      case "accept":
        return { kind: "accepted" };
      case "hold":
        return this.#hold.add(result.batch, result.missing, this.#options.clock.now())
          ? { kind: "held", reason: result.reason }
          : { kind: "dropped" };
      case "duplicate":
        return result;
      case "refused":
        if (result.proof !== undefined) this.#records.pushProof(batch.header, result.proof);
        return { kind: "refused", reason: result.reason, detail: result.detail };
    }
  }

  /** A durable batch becomes visible; what waited for it goes back into the queue. */
  #apply(batch: CheckedBatch): void {
    const { voidHeaders, state } = this.#core;
    const { frontier, documents, waitingFor } = state;
    const head = headOf(batch);
    this.checkpointer.beforeApply(batch);
    if (voidHeaders.get(batch.hash) !== undefined) state.arrived.add(batch.hash);
    const origin = head.incarnation === this.#incarnation ? "local" : "remote";
    frontier.advance(head, batch.header.deps);
    const records = batch.parts.flatMap((part) =>
      part.kind === "facts" ? part.frame.records : [],
    );
    const applied: AppliedBatch = {
      bytes: batch.bytes,
      source: batch.source,
      head,
      origin,
      facts: records.length,
      firstHlc: records[0]?.hlc ?? head.hlc,
      changed: documents.apply(batch),
    };
    this.#requeue(this.#hold.takeWaitingFor(batch.hash));
    if (waitingFor.has(batch.hash)) {
      this.#stale = true;
      this.#records.pushOwn({ acts: [], proofs: [] });
    }
    for (const listener of this.batchListeners) this.#announce(listener, applied);
  }

  /** A listener that throws must not leave the rest of a durable group unapplied. */
  #announce<T>(listener: (event: T) => void, event: T): void {
    try {
      listener(event);
    } catch (error) {
      this.#options.logger.error("replica.listener-failed", { error });
    }
  }

  #requeue(batches: readonly ParsedBatch[]): void {
    for (const batch of batches) {
      this.counters.release();
      const size = batch.bytes.length;
      this.#receives.push({ batch, size, released: true, resolve: ignore, reject: ignore });
    }
  }

  /** Takes records and void headers; when they change what counts, everything is worked out anew. */
  async #takeRecords(tasks: readonly RecordsTask[]): Promise<void> {
    const { store, verifier, clock } = this.#options;
    const { records: before, voidHeaders, state } = this.#core;
    const context = { core: this.#core, hold: this.#hold, verifier, nowMs: clock.now() };
    const { records, results, headers, changes } = takeAll(tasks, context);
    this.#core.records = records;
    if (records !== before) voidHeaders.recordsChanged();
    const rebuild = this.#stale || changesWhatCounts(before, records, state);
    const also = rebuild || records !== before ? this.checkpointer.recordsChange(rebuild) : [];
    if (changes.length + also.length > 0) await store.write([...changes, ...also]);
    for (const header of headers) this.#useHeader(header);
    const changed = rebuild ? await this.#rebuild() : [];
    // What was held for a grant may be covered now, what was held for a device may be void.
    if (rebuild || records !== before) this.#requeue(this.#hold.takeAll());
    await this.#restate();
    for (const [i, { resolve }] of tasks.entries()) {
      resolve({ added: results[i]?.added ?? 0, refused: results[i]?.refused ?? [] });
    }
    if (records === before) return;
    for (const listener of this.recordListeners) this.#announce(listener, { changed });
  }

  #useHeader({ header, hash }: ParsedHeader): void {
    const { replica, incarnation } = header;
    const client = clientOf(replica, incarnation);
    this.#core.state.documents.voids.addChain(client, { replica, incarnation });
    this.#requeue(this.#hold.takeWaitingFor(hash));
  }

  async #rebuild(): Promise<readonly ChangedKey[]> {
    const { clock, logger } = this.#options;
    const { state: old } = this.#core;
    const startedMs = clock.now();
    this.#stale = false;
    this.#core.state = await rebuildState(this.#core, this.#device);
    this.checkpointer.rebuilt();
    const tookMs = this.#pause.begin(startedMs);
    const voids = [...this.#core.state.voids.values()];
    logger.info("replica.rebuilt", {
      tookMs,
      voidChains: voids.length,
      voidBatches: voids.reduce((sum, { batches }) => sum + batches, 0),
    });
    return old.documents.changedIn(this.#core.state.documents, clock.now());
  }

  /** After a fork of our own: goes on in a new incarnation, and states there what is void now. */
  async #restate(): Promise<void> {
    const { log, records, state } = this.#core;
    const { documents, frontier, ownVoid } = state;
    if (records.space.revocations.has(this.#device)) return;
    const { writes, lostEdits } = await restatementsOf(log, ownVoid, this.#device, documents);
    const closed =
      Number.isFinite(records.limitOf(this.#device, this.#incarnation)) ||
      documents.voids.hasPartOf(clientOf(this.#device, this.#incarnation));
    if (!closed && writes.length === 0) return;
    const used = frontier.head(this.#device, this.#incarnation) !== undefined;
    const fresh = closed || used ? [this.#renewIncarnation()] : [];
    const group = new Group(frontier);
    this.#writer.build(writes, group);
    this.#options.logger.warn("replica.restated", { batches: group.batches.length, lostEdits });
    await this.#options.store.write([...fresh, ...log.changesFor(group.batches)]);
    log.appended(group.batches);
    for (const batch of group.batches) this.#apply(batch);
  }

  /** Goes on as a new incarnation; the returned record must be written with, or before, its first batch. */
  #renewIncarnation(): StoreChange {
    const { random, clock, logger } = this.#options;
    const before = this.#incarnation;
    this.#incarnation = parseIncarnationId(toHex(random.bytes(16)));
    this.#writer = this.#createWriter();
    this.#cloned = false;
    logger.warn("replica.forked", {
      incarnation: before,
      now: this.#incarnation,
      remedy: "two processes have run on copies of one state; find the other one and stop it",
    });
    return incarnationChange(this.#incarnation, clock.now());
  }

  /** Refuses new work and waits until what was queued is settled. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    while (this.#draining !== undefined) await this.#draining;
    const error = new MeshError("CLOSED", "the replica is closed");
    for (const task of this.#records.takeAll()) task.reject(error);
    await this.checkpointer.close(this.#failure === undefined);
  }
}
