// SPDX-License-Identifier: Apache-2.0
import { HlcClock } from "@ctxmesh/facts";
import { MeshError } from "@ctxmesh/model";
import type {
  DeviceKey,
  HeaderHash,
  IncarnationId,
  ReceiveOutcome,
  WriteReceipt,
} from "@ctxmesh/model";
import type { ParsedBatch } from "./checks.ts";
import { BaseInstalls } from "./base-installs.ts";
import { BaseShelf } from "./base-shelf.ts";
import { ChangeTail } from "./change-tail.ts";
import { Checkpointer } from "./checkpointer.ts";
import { Comparisons } from "./comparisons.ts";
import type { Core } from "./core.ts";
import type { ReplicaParts } from "./document-engines.ts";
import type { OutcomeCounters } from "./counters.ts";
import type { ChangedKey } from "./documents.ts";
import type { ParsedHeader } from "./evidence.ts";
import { Fills } from "./fills.ts";
import type { GatherWindows } from "./gather.ts";
import { Group } from "./group.ts";
import { GroupCommit } from "./group-commit.ts";
import { recordEntries } from "./journal.ts";
import { expectationMet } from "./layout.ts";
import { Listeners } from "./listeners.ts";
import { LocalQueue } from "./local-queue.ts";
import type { LocalWrite } from "./local-writer.ts";
import { rebuildState } from "./open.ts";
import type { OpenState } from "./open.ts";
import { ModuleWatch } from "./module-watch.ts";
import { OwnChains } from "./own-chains.ts";
import { RebuildPause } from "./rebuild-pause.ts";
import { Receives } from "./receives.ts";
import type { RecordBytes, Records } from "./records.ts";
import { RecordsQueue } from "./records-queue.ts";
import { reloadLost } from "./reload.ts";
import { addVoidChain, changesWhatCounts, voidCounts } from "./state.ts";
import { forksShownBy, takeAll } from "./take-records.ts";
import { changesWith, settleWrites } from "./tasks.ts";
import type {
  AppliedBatch,
  ReceiveTask,
  RecordsChange,
  RecordsOutcome,
  RecordsTask,
  WriteTask,
} from "./tasks.ts";
import { Wants } from "./wants.ts";

/**
 * The one writer of a replica's store. All ways in, a local write, a received batch or records, go through
 * queues that are drained in groups: a group's batches are checked in order, written with one atomic,
 * durable store write, then applied to memory and announced. While a write is under way the next group
 * gathers. Records are taken between two groups; when they change what counts, the state is rebuilt.
 */
export class Committer {
  readonly #options: ReplicaParts;
  readonly #device: DeviceKey;
  readonly #core: { -readonly [K in keyof Core]: Core[K] };
  #inEffect: Records;
  readonly #hlc: HlcClock;
  /** See `Replica.onApplied`. */
  readonly batchListeners: Listeners<AppliedBatch>;
  /** The newest changes, for those who follow them. */
  readonly tail: ChangeTail = new ChangeTail();
  /** See `Replica.onRecords`. */
  readonly recordListeners: Listeners<RecordsChange>;
  readonly #writes: LocalQueue;
  readonly #receives: Receives;
  readonly #records = new RecordsQueue();
  /** Bases that are received or handed on. */
  readonly shelf: BaseShelf;
  /** See `Bases`. */
  readonly installs: BaseInstalls;
  readonly #pause: RebuildPause;
  /** Makes checkpoints and prunes the log, between the groups. */
  readonly checkpointer: Checkpointer;
  /** Takes bodies that were left out, between the groups. */
  readonly fills: Fills;
  readonly #own: OwnChains;
  readonly #commits: GroupCommit;
  /** Decides writes with a condition, between the groups. */
  readonly comparisons: Comparisons;
  /** What the modules of the space do here. */
  readonly modules: ModuleWatch;
  /** A stored batch counts now that did not when the state was built. */
  #stale = false;
  #draining: Promise<void> | undefined;
  #closed = false;
  #failure: MeshError | undefined;

  constructor(options: ReplicaParts, device: DeviceKey, opened: OpenState, inc: IncarnationId) {
    const { log, checkpoints, records, state, voidHeaders, expected } = opened;
    this.#options = options;
    this.#device = device;
    this.#core = { log, checkpoints, records, state, voidHeaders, expected };
    state.documents.modules.watch = this.modules = new ModuleWatch(options);
    this.#inEffect = records;
    const { subscription, logger } = options;
    this.batchListeners = new Listeners(logger);
    this.recordListeners = new Listeners(logger);
    this.shelf = new BaseShelf(options.store, options.vault);
    const parts = { ...options, core: this.#core, self: device };
    const wake = (): void => {
      if (this.#hasWork()) this.#drain();
    };
    this.checkpointer = new Checkpointer({
      ...parts,
      failed: (error) => {
        this.#fail(error, []);
      },
      idle: wake,
    });
    this.installs = new BaseInstalls({
      ...parts,
      shelf: this.shelf,
      checkpointer: this.checkpointer,
      wake,
      installed: async (recovered) => this.#rebased(recovered),
    });
    this.fills = new Fills({
      ...parts,
      checkpointer: this.checkpointer,
      rebuild: () => {
        this.#rebuildSoon();
      },
      queued: wake,
    });
    this.#pause = new RebuildPause(options.clock);
    this.#writes = new LocalQueue(options, wake);
    this.#hlc = new HlcClock(options.clock, state.maxHlc);
    const shared = { ...options, core: this.#core, device, hlc: this.#hlc };
    this.#receives = new Receives({
      ...shared,
      wants: subscription === undefined ? undefined : new Wants(subscription),
      records: this.#records,
    });
    this.#own = new OwnChains(shared, inc);
    this.#commits = this.#createCommits();
    this.comparisons = this.#createComparisons(this.#hlc);
    options.engines.onLost = () => {
      this.checkpointer.documentLost();
      wake();
    };
  }

  #createCommits(): GroupCommit {
    return new GroupCommit({
      ...this.#options,
      core: this.#core,
      device: this.#device,
      own: this.#own,
      receives: this.#receives,
      checkpointer: this.checkpointer,
      tail: this.tail,
      listeners: this.batchListeners,
      rebuildSoon: () => {
        this.#rebuildSoon();
      },
    });
  }

  #createComparisons(hlc: HlcClock): Comparisons {
    const parts = { ...this.#options, core: this.#core, device: this.#device, hlc, own: this.#own };
    return new Comparisons({
      ...parts,
      commit: async (group) => this.#commits.commit(group, [], true),
      queued: () => {
        this.#drain();
      },
    });
  }

  /** What the replica has now. */
  get core(): Core {
    return this.#core;
  }

  /** The records by which the state is judged: new ones are not told of before they are durable and what counts is worked out. */
  get inEffect(): Records {
    return this.#inEffect;
  }

  /** Counters of the receive pipeline. */
  get counters(): OutcomeCounters {
    return this.#receives.counters;
  }

  /** See `OwnChains`. */
  get incarnation(): IncarnationId {
    return this.#own.incarnation;
  }

  /** See `OwnChains`. */
  incarnations(): readonly IncarnationId[] {
    return this.#own.incarnations();
  }

  /** Why nothing is taken any more, if so. */
  get failure(): MeshError | undefined {
    return this.#failure;
  }

  /** Throws `CLOSED`, or why the replica failed. */
  assertWritable(): void {
    if (this.#closed) throw new MeshError("CLOSED", "the replica is closed");
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Queues a local write; resolves once it is durable. Throws `LIMIT_EXCEEDED` when too many wait. */
  async write(write: LocalWrite, size: number): Promise<WriteReceipt> {
    this.#writes.assertRoom(size);
    const { promise, resolve, reject } = Promise.withResolvers<WriteReceipt>();
    this.#writes.push({ write, size, resolve, reject });
    if (this.#writes.isTurn()) this.#drain();
    return promise;
  }

  /** See `Replica.gather`. */
  gather(windows: GatherWindows): void {
    this.#writes.open(windows);
    if (this.#writes.isTurn()) this.#drain();
  }

  /** Queues a received batch; resolves with what became of it. One that is `wanted` is kept when its content alone speaks against it. */
  async receive(batch: ParsedBatch, wanted = false): Promise<ReceiveOutcome> {
    const outcome = this.#receives.add(batch, wanted);
    this.#drain();
    return outcome;
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

  /** Looks again at what was held for the clock, an act, room or a rich operation, and at records that had to wait. */
  retryTimed(): void {
    if (this.#closed || this.#failure !== undefined) return;
    this.#receives.releaseTimed();
    this.#drain();
  }

  /** What held batches have waited for since a time, oldest first. */
  missing(sinceMs: number, most: number): readonly HeaderHash[] {
    return this.#receives.hold.missing(sinceMs, most);
  }

  #isRecordsTurn(): boolean {
    return this.#records.length > 0 && this.#pause.isOver();
  }

  #hasWork(): boolean {
    return (
      this.#isRecordsTurn() ||
      this.#receives.length + this.fills.length + this.comparisons.length > 0 ||
      this.#writes.isTurn() ||
      this.installs.length + this.#options.engines.lost.size > 0 ||
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
      const records = this.#isRecordsTurn() ? this.#records.takeAll() : [];
      const receives = this.#receives.take();
      const writes = this.#writes.take();
      const compares = this.comparisons.take();
      const fills = this.fills.take();
      const bases = this.installs.take();
      const tasks = [...records, ...receives, ...writes, ...compares, ...fills, ...bases];
      if (this.#failure !== undefined) {
        for (const task of tasks) task.reject(this.#failure);
        this.#options.engines.reload();
        continue;
      }
      try {
        await reloadLost(this.#options, this.#core, this.fills.listeners);
        // Behind that, since none can be made of a document that is lost.
        if (this.#isCheckpointWanted()) this.checkpointer.begin();
        if (records.length > 0) await this.#takeRecords(records);
        if (receives.length + writes.length > 0) await this.#commitGroup(receives, writes);
        for (const task of compares) await this.comparisons.run(task);
        for (const task of fills) await this.fills.run(task);
        for (const task of bases) await this.installs.run(task);
      } catch (error) {
        this.#fail(error, tasks);
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
    const settled: (() => void)[] = [];
    for (const task of receives) {
      const { result, outcome } = await this.#receives.check(task, group);
      this.#own.saw(task.batch.header, result);
      const settle = (): void => task.resolve(this.counters.count(outcome));
      // A duplicate may be one of this group: whoever hears of it may take it for durable.
      const isHere = outcome.kind === "accepted" || outcome.kind === "duplicate";
      if (isHere) settled.push(settle);
      else settle();
      const pause = this.#receives.did(task);
      if (pause !== undefined) await pause;
    }
    const renewed = this.#own.takeRenewal();
    const local = writes.map(({ write }) => write);
    const { results, fresh } = this.#own.build(local, group);
    if (group.batches.length + renewed.length > 0)
      await this.#commits.commit(group, [...renewed, ...fresh, ...changesWith(writes, results)]);
    for (const settle of settled) settle();
    const { frontier } = this.#core.state;
    settleWrites(writes, results, {
      hlc: frontier.maxHlc,
      incarnation: this.incarnation,
      seq: frontier.head(this.#device, this.incarnation)?.seq ?? 0,
    });
  }

  #rebuildSoon(): void {
    this.#stale = true;
    this.#records.pushOwn({ acts: [], proofs: [] });
  }

  /** There is another base; in some incarnations of ours it has more than was here, so another process wrote it. */
  async #rebased(recovered: readonly IncarnationId[]): Promise<void> {
    this.#own.found(recovered);
    const changed = await this.#rebuild(true);
    this.#hlc.observe(this.#core.state.maxHlc);
    this.#receives.releaseAll();
    await this.#restate();
    this.recordListeners.tell({ changed, rebuilt: true });
    this.checkpointer.resume().catch((error: unknown) => {
      this.#fail(error, []);
    });
  }

  /** Takes records and void headers; when they change what counts, everything is worked out anew. */
  async #takeRecords(tasks: readonly RecordsTask[]): Promise<void> {
    const { store, journal, verifier, clock } = this.#options;
    const { records: before, voidHeaders, state } = this.#core;
    const { hold } = this.#receives;
    const context = { core: this.#core, hold, verifier, nowMs: clock.now() };
    const { records, results, headers, changes } = takeAll(tasks, context);
    this.#core.records = records;
    const taken = { records, headers };
    const rebuild = this.#stale || changesWhatCounts(before, taken, state, voidHeaders);
    const also = rebuild || records !== before ? this.checkpointer.recordsChange(rebuild) : [];
    if (changes.length > 0) await journal?.record(recordEntries(changes));
    if (changes.length + also.length > 0) await store.write([...changes, ...also]);
    for (const { header, hash } of headers) {
      addVoidChain(state.documents, header);
      this.#receives.release(hash);
    }
    for (const [header, proof] of await forksShownBy(headers, this.#core)) {
      this.#records.pushProof(header, proof);
    }
    const changed = rebuild ? await this.#rebuild() : [];
    this.#inEffect = records;
    // What was held for a grant may be covered now, what was held for a device may be void.
    if (rebuild || records !== before) this.#receives.releaseAll();
    await this.#restate();
    for (const [i, { resolve }] of tasks.entries()) {
      resolve({ added: results[i]?.added ?? 0, refused: results[i]?.refused ?? [] });
    }
    const listeners = records === before ? this.fills.listeners : this.recordListeners;
    listeners.tell({ changed, rebuilt: rebuild });
  }

  async #rebuild(isGap = false): Promise<readonly ChangedKey[]> {
    const { clock, logger, rest } = this.#options;
    const { state: old } = this.#core;
    const startedMs = clock.now();
    this.#stale = false;
    this.#options.engines.reload();
    this.#core.state = await rebuildState(this.#core, this.#device);
    this.#core.state.documents.modules.watch = this.modules;
    this.#inEffect = this.#core.records;
    this.#core.voidHeaders.judgeAnew();
    this.checkpointer.rebuilt();
    this.tail.rejudged(this.#core.log.position, isGap);
    const tookMs = this.#pause.begin(startedMs);
    logger.info("replica.rebuilt", { tookMs, ...voidCounts(this.#core.state) });
    return old.documents.changedIn(this.#core.state.documents, clock.now(), rest);
  }

  /** States again what does not count any more where it was said. */
  async #restate(): Promise<void> {
    const restated = await this.#own.restate();
    if (restated !== undefined) await this.#commits.commit(restated.group, restated.renewed);
  }

  /** Refuses new work and waits until what was queued is settled. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#writes.stop();
    if (this.#hasWork()) this.#drain();
    while (this.#draining !== undefined) await this.#draining;
    const error = new MeshError("CLOSED", "the replica is closed");
    for (const task of this.#records.takeAll()) task.reject(error);
    this.tail.close();
    await this.checkpointer.close(this.#failure === undefined);
  }
}
