// SPDX-License-Identifier: Apache-2.0
/**
 * Makes checkpoints of a replica and prunes its log, one thing at a time, beside everything else: what is
 * written is gathered in short steps between which groups are committed. Anything that changes what counts breaks it off; what
 * it has written by then is loose, and no harm.
 */
import { LIMITS, MeshError, hlcToMs } from "@ctxmesh/model";
import type { DeviceKey, Hlc, Logger, Store, StoreChange, Vault } from "@ctxmesh/model";
import { CheckpointRun } from "./checkpoint-run.ts";
import { judgedBy } from "./checkpoints.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { ParsedBatch } from "./checks.ts";
import type { Core } from "./core.ts";
import { prunedBy } from "./log.ts";
import type { BatchLog } from "./log.ts";
import { prefixToPrune, staleChains } from "./prune.ts";
import type { Prefix, PruneOptions, PruneReport, StaleChain } from "./prune.ts";
import { checkpointOf } from "./state.ts";
import type { State } from "./state.ts";
import type { Chain } from "./void-content.ts";

/** What a checkpointer works on. */
export interface CheckpointerContext {
  readonly core: Core;
  readonly self: DeviceKey;
  readonly store: Store;
  readonly vault?: Vault;
  readonly logger: Logger;
  /** A write of it failed. */
  readonly failed: (error: unknown) => void;
  /** It has ended something, and {@link Checkpointer.isWanted} may say something else now. */
  readonly idle: () => void;
}

/** How far back the log reaches. */
export interface Retention {
  /** The log position of the newest checkpoint: opening reads what is behind it; 0 when there is none. */
  readonly checkpoint: number;
  /** Batches that are pruned. */
  readonly prunedBatches: number;
  /** All that is pruned was written before this, Unix milliseconds; absent when nothing is. */
  readonly prunedBeforeMs?: number;
  /** What is pruned and should not count any more. */
  readonly stale: readonly StaleChain[];
}

const ignore = (): void => undefined;
const NOTHING: PruneReport = { batches: 0, bytes: 0 };

/** See the top of the file. One for each replica. */
export class Checkpointer {
  readonly #context: CheckpointerContext;
  /** What opening would have to read, and from how many bytes on the next checkpoint is due at the earliest. */
  #batches = 0;
  #bytes = 0;
  #dueBytes = 0;
  #run: CheckpointRun | undefined;
  /** What is under way. */
  #task: Promise<void> | undefined;
  /** Those who asked for a checkpoint that was not begun yet. */
  #asking: (() => void)[] = [];
  /** Counts the changes of what counts. */
  #upheavals = 0;
  /** What counts has changed, and the state has not yet. */
  #rebuilding = false;
  #closing = false;
  /** Tasks of the committer that wait until nothing else is written here. */
  #waiting = 0;
  #stale: { readonly of: readonly unknown[]; readonly chains: readonly StaleChain[] } | undefined;

  constructor(context: CheckpointerContext) {
    this.#context = context;
    this.#behind(context.core.state.replayed);
  }

  #behind({ batches, bytes }: State["replayed"]): void {
    this.#batches = batches;
    this.#bytes = bytes;
    this.#dueBytes = 0;
  }

  /** A batch is about to be applied. */
  beforeApply({ header, bytes }: Pick<ParsedBatch, "header" | "bytes">): void {
    this.#batches++;
    this.#bytes += bytes.length;
    if (this.#run === undefined) return;
    for (const { doc } of header.sections) this.#run.save(doc);
  }

  /** Whether {@link begin} is to be called as soon as nothing is half done. */
  isWanted(): boolean {
    if (this.#task !== undefined) return false;
    return this.#asking.length > 0 || (this.#isPossible() && !this.#closing && this.#isDue());
  }

  /** What waits is in no checkpoint. */
  #isPossible(): boolean {
    return this.#context.core.state.waiting.size === 0;
  }

  /**
   * Much lies behind the last one; and not so little, compared with what would have to be written, that writing it
   * again and again costs more than reading the log once.
   */
  #isDue(): boolean {
    const isMuch =
      this.#batches >= LIMITS.checkpointEveryBatches || this.#bytes >= LIMITS.checkpointEveryBytes;
    if (!isMuch || this.#bytes < this.#dueBytes) return false;
    return this.#isCheap();
  }

  #isCheap(): boolean {
    const dirty = this.#context.core.state.documents.dirtyBytes();
    // It only grows, so there is no need to look again before.
    this.#dueBytes = dirty / LIMITS.checkpointCostFactor;
    return this.#bytes >= this.#dueBytes;
  }

  /** Begins a checkpoint of everything that is applied now. To be called between two groups, when {@link isWanted} says so. */
  begin(): void {
    const { core } = this.#context;
    const { state, log, checkpoints } = core;
    const asking = this.#asking.splice(0);
    const answer = (): void => {
      for (const each of asking) each();
    };
    const before = checkpoints.latest ?? checkpoints.base;
    const isDone = (before?.position ?? 0) === log.position;
    if (isDone || !this.#isPossible()) {
      if (isDone) this.#behind({ batches: 0, bytes: 0 });
      answer();
      return;
    }
    const newest = {
      position: log.position,
      head: ({ replica, incarnation }: Chain) => log.head(replica, incarnation),
    };
    const checkpoint = checkpointOf(state, newest, before?.documents ?? new Map());
    const run = new CheckpointRun(checkpoint, state.documents, state.documents.takeDirty());
    this.#run = run;
    this.#behind({ batches: 0, bytes: 0 });
    this.#start(async () => {
      await this.#write(run);
      if (!run.aborted) {
        answer();
        return;
      }
      // What was broken off is begun again, for those who wait for it; what had changed before it is in no checkpoint.
      core.state.documents.setDirty();
      this.#asking.push(...asking);
    }, answer);
  }

  #start(task: () => Promise<void>, onFailure: () => void): void {
    this.#task = task()
      .catch((error: unknown) => {
        onFailure();
        this.#context.failed(error);
      })
      .finally(() => {
        this.#task = undefined;
        this.#run = undefined;
        this.#context.idle();
      });
  }

  /** The documents, then what they are a checkpoint of. */
  async #write(run: CheckpointRun): Promise<void> {
    const { core, self, store, logger } = this.#context;
    await this.#writeDocuments(run, () => !run.aborted);
    if (run.aborted) return;
    const checkpoint = run.finish();
    await store.write(core.checkpoints.setLatest(checkpoint, judgedBy(core.records, self)));
    const { position, documents } = checkpoint;
    logger.info("replica.checkpoint", { position, documents: documents.size });
    await this.#removeLoose();
  }

  async #writeDocuments(run: CheckpointRun, isWanted: () => boolean): Promise<void> {
    const { core, store, vault } = this.#context;
    while (isWanted()) {
      const changes = run.next(core.checkpoints);
      if (changes.length === 0) return;
      await store.write([...changes, ...(vault?.takeChanges() ?? [])]);
    }
  }

  async #removeLoose(): Promise<void> {
    const { core, store } = this.#context;
    for (;;) {
      const changes = core.checkpoints.takeLoose(LIMITS.prunesPerWrite);
      if (changes.length === 0) return;
      await store.write(changes);
    }
  }

  /** Resolves when there is a checkpoint of everything that is applied now, or there can be none since something waits; or nothing more can be written. */
  async request(): Promise<void> {
    if (this.#closing) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#asking.push(resolve);
    this.#context.idle();
    await promise;
  }

  /** Nothing more can be written. */
  giveUp(): void {
    for (const each of this.#asking.splice(0)) each();
  }

  /**
   * Records are about to be written; returns what has to be written with them. When other batches count under
   * them, the newest checkpoint is dropped, and {@link rebuilt} has to be called once there is a new state.
   */
  recordsChange(changesWhatCounts: boolean): readonly StoreChange[] {
    const { core, self } = this.#context;
    const { checkpoints, records } = core;
    if (changesWhatCounts) {
      this.#upheavals++;
      this.#rebuilding = true;
      if (this.#run !== undefined) this.#run.aborted = true;
    }
    if (checkpoints.latest === undefined) return [];
    return changesWhatCounts
      ? checkpoints.dropLatest()
      : checkpoints.judge(judgedBy(records, self));
  }

  /**
   * Bodies are about to be written where they were left out; returns what has to be written with them. The newest checkpoint lacks
   * what they say, and so does one under way.
   */
  bodiesChange(): readonly StoreChange[] {
    const { core } = this.#context;
    const { checkpoints, state, log } = core;
    this.#upheavals++;
    if (this.#run !== undefined) this.#run.aborted = true;
    if (checkpoints.latest === undefined && this.#run === undefined) return [];
    state.documents.setDirty();
    // About what opening would have to read now.
    this.#batches = log.position - (checkpoints.base?.position ?? 0);
    this.#dueBytes = 0;
    return checkpoints.latest === undefined ? [] : checkpoints.dropLatest();
  }

  /** A document has to be read again, and can't be written as it was: a checkpoint that is under way ends. */
  documentLost(): void {
    if (this.#run !== undefined) this.#run.aborted = true;
  }

  /** The state is another one. */
  rebuilt(): void {
    this.#rebuilding = false;
    this.#behind(this.#context.core.state.replayed);
  }

  /** Runs a task of the committer while nothing else is written here; a removal that is under way ends early. Throws `CLOSED`. */
  async alone(task: () => Promise<void>): Promise<void> {
    this.#upheavals++;
    let ran = false;
    this.#waiting++;
    await this.#exclusively(async () => {
      ran = true;
      this.#waiting--;
      await task();
    });
    if (!ran) throw new MeshError("CLOSED", "the replica is closed");
  }

  /** Goes on with a removal of pruned batches that an earlier life did not end. */
  async resume(): Promise<void> {
    if (!this.#context.core.checkpoints.isPruning) return;
    await this.#exclusively(async () => {
      await this.#removePruned();
    });
  }

  /** See `Replica.prune`. */
  async prune(options: PruneOptions): Promise<PruneReport> {
    let report = NOTHING;
    await this.#exclusively(async () => {
      if (this.#context.core.checkpoints.isPruning) await this.#removePruned();
      report = await this.#prune(options);
    });
    return report;
  }

  async #prune(options: PruneOptions): Promise<PruneReport> {
    const { core, self, store } = this.#context;
    const { log, checkpoints } = core;
    if (this.#rebuilding || !this.#isPossible()) return NOTHING;
    const upheavals = this.#upheavals;
    const isWanted = (): boolean => !this.#closing && this.#upheavals === upheavals;
    const prefix = await prefixToPrune(core, self, options, isWanted);
    if (prefix === undefined) return NOTHING;
    const run = baseRun(prefix, checkpoints);
    await this.#writeDocuments(run, isWanted);
    if (run.aborted || !isWanted()) return NOTHING;
    const base = run.finish();
    const changes = checkpoints.setBase(base);
    log.prune(prunedBy(base));
    await store.write(changes);
    const { batches, bytes } = await this.#removePruned();
    await this.#removeLoose();
    return { batches, bytes };
  }

  async #removePruned(): ReturnType<BatchLog["remove"]> {
    const { core, store, logger } = this.#context;
    const removed = await core.log.remove(() => !this.#closing && this.#waiting === 0);
    if (removed.all) await store.write(core.checkpoints.setPruned());
    const { batches, bytes } = removed;
    logger.debug("replica.removed-pruned", { upTo: core.log.pruned.position, batches, bytes });
    return removed;
  }

  /** Runs a task when nothing else is under way; not at all when closed before. */
  async #exclusively(task: () => Promise<void>): Promise<void> {
    while (this.#task !== undefined) await this.#task;
    if (this.#closing) return;
    const running = task();
    this.#start(() => running.catch(ignore), ignore);
    await running;
  }

  /** How far back the log reaches. */
  retention(): Retention {
    const { latest, base } = this.#context.core.checkpoints;
    const heads = base?.heads ?? [];
    const newest = Math.max(0, ...heads.map(({ hlc }) => hlc)) as Hlc;
    return {
      checkpoint: (latest ?? base)?.position ?? 0,
      prunedBatches: heads.reduce((sum, { seq }) => sum + seq, 0),
      ...(base === undefined ? {} : { prunedBeforeMs: hlcToMs(newest) + 1 }),
      stale: this.stale(),
    };
  }

  /** What is pruned and should not count any more. */
  stale(): readonly StaleChain[] {
    const { checkpoints, records } = this.#context.core;
    const { base } = checkpoints;
    if (this.#stale?.of[0] !== base || this.#stale?.of[1] !== records) {
      const chains = staleChains(base, records, this.#context.self);
      this.#stale = { of: [base, records], chains };
    }
    return this.#stale.chains;
  }

  /** Ends what is under way, and makes a last checkpoint where it spares the next life much work. Nothing may be queued any more. */
  async close(isSound: boolean): Promise<void> {
    this.#closing = true;
    await this.#task;
    const isMuch =
      this.#batches >= LIMITS.checkpointBatchesAtClose ||
      this.#bytes >= LIMITS.checkpointBytesAtClose;
    if (isSound && ((isMuch && this.#isCheap() && this.#isPossible()) || this.#asking.length > 0)) {
      this.begin();
      await this.#task;
    }
  }
}

/** Writes a prefix of the log as the base. */
function baseRun({ position, state }: Prefix, { base, latest }: Checkpoints): CheckpointRun {
  const states = new Map(base?.documents);
  const dirty = state.documents.takeDirty();
  for (const doc of dirty) {
    const known = latest?.documents.get(doc);
    // The newest checkpoint is of later, and the document has not changed in between.
    if (latest === undefined || known === undefined || latest.position < position) continue;
    if (known <= position) {
      states.set(doc, known);
      dirty.delete(doc);
    }
  }
  // What does not count stays in the log, and so need not be in it.
  const checkpoint = checkpointOf(state, { position, head: () => undefined }, states);
  return new CheckpointRun({ ...checkpoint, ownVoid: [] }, state.documents, dirty);
}
