// SPDX-License-Identifier: Apache-2.0
import type { Role } from "@ctxmesh/codec";
import { HlcClock } from "@ctxmesh/facts";
import {
  MeshError,
  hlcToMs,
  parseDeviceKey,
  parseIncarnationId,
  toHex,
  LIMITS,
} from "@ctxmesh/model";
import type {
  Candidate,
  Clock,
  DeviceKey,
  DeviceSigner,
  DocumentName,
  FactInput,
  Hlc,
  IncarnationId,
  ListQuery,
  Logger,
  RandomSource,
  ReceiveCounters,
  ReceiveOutcome,
  SignatureVerifier,
  Store,
  VisibleFact,
  WriteReceipt,
} from "@ctxmesh/model";
import type { RichContent, RichRoots } from "@ctxmesh/rich";
import { checkBatch, parseBatch } from "./checks.ts";
import type { CheckContext, CheckResult, CheckedBatch, ParsedBatch } from "./checks.ts";
import { OutcomeCounters } from "./counters.ts";
import type { ChangedKey, Documents } from "./documents.ts";
import type { Frontier } from "./frontier.ts";
import { Group } from "./group.ts";
import { HoldBuffer } from "./hold.ts";
import { incarnationChange } from "./layout.ts";
import type { Head } from "./layout.ts";
import { prepareDelete, preparePut, prepareRetract } from "./local-batch.ts";
import { LocalWriter } from "./local-writer.ts";
import type { LocalWrite } from "./local-writer.ts";
import { headOf } from "./log.ts";
import type { BatchLog, ChainSpan, StoredBatch } from "./log.ts";
import { openState } from "./open.ts";
import type { OpenState } from "./open.ts";
import { allows } from "./space.ts";
import type { Space } from "./space.ts";
import { WorkQueue } from "./work-queue.ts";
import type { Sized } from "./work-queue.ts";

/** What a replica is made of. */
export interface ReplicaOptions {
  /** Used by this replica alone; the replica does not close it. */
  readonly store: Store;
  readonly space: Space;
  readonly signer: DeviceSigner;
  readonly verifier: SignatureVerifier;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
}

/** A batch that became durable and visible. */
export interface AppliedBatch {
  readonly bytes: Uint8Array;
  /** What was given to {@link Replica.receive} with it. */
  readonly source: object | undefined;
  readonly head: Head;
  readonly origin: "local" | "remote";
  /** Facts in the batch. */
  readonly facts: number;
  /** HLC of its first fact. */
  readonly firstHlc: Hlc;
  readonly changed: readonly ChangedKey[];
}

interface WriteTask extends Sized {
  readonly write: LocalWrite;
  readonly resolve: (receipt: WriteReceipt) => void;
  readonly reject: (error: unknown) => void;
}

interface ReceiveTask extends Sized {
  readonly batch: ParsedBatch;
  /** It came out of the hold: its signature is verified and nobody waits for its outcome. */
  readonly released: boolean;
  readonly resolve: (outcome: ReceiveOutcome) => void;
  readonly reject: (error: unknown) => void;
}

const ignore = (): void => undefined;
const MAX_LIST = 10_000;
/** What a rich edit counts for before its size is known. */
const EDIT_BYTES = 1_024;

/**
 * One party's copy of a space. All ways in, a local write or a received batch, go through one queue
 * that is drained in groups: a group's batches are checked in order, written with one atomic, durable
 * store write, then applied to memory and announced. While a write is under way the next group gathers.
 */
export class Replica {
  readonly space: Space;
  readonly device: DeviceKey;
  /** This process life; fresh at every open, so that a copied or restored store never continues an old chain. */
  readonly incarnation: IncarnationId;
  readonly #options: ReplicaOptions;
  readonly #log: BatchLog;
  readonly #frontier: Frontier;
  readonly #documents: Documents;
  readonly #hlc: HlcClock;
  readonly #hold = new HoldBuffer();
  readonly #counters = new OutcomeCounters();
  readonly #listeners = new Set<(batch: AppliedBatch) => void>();
  readonly #writer: LocalWriter;
  readonly #writes = new WorkQueue<WriteTask>();
  readonly #receives = new WorkQueue<ReceiveTask>();
  #draining: Promise<void> | undefined;
  #closed = false;
  #failure: MeshError | undefined;

  private constructor(options: ReplicaOptions, state: OpenState, incarnation: IncarnationId) {
    this.#options = options;
    this.space = options.space;
    this.device = parseDeviceKey(toHex(options.signer.publicKey));
    this.incarnation = incarnation;
    this.#log = state.log;
    this.#frontier = state.frontier;
    this.#documents = state.documents;
    this.#hlc = new HlcClock(options.clock, state.frontier.maxHlc);
    this.#writer = new LocalWriter({
      ...options,
      device: this.device,
      incarnation,
      hlc: this.#hlc,
      documents: state.documents,
    });
  }

  /**
   * Opens the replica in a store: walks and verifies the log, rebuilds the documents, and records a
   * fresh incarnation durably. Throws `STORE_CORRUPT`, `STORE_FAILED`, and `STORE_FORMAT` for a store of another space.
   */
  static async open(options: ReplicaOptions): Promise<Replica> {
    const state = await openState(options.store, options.space);
    const incarnation = parseIncarnationId(toHex(options.random.bytes(16)));
    await options.store.write([incarnationChange(incarnation, options.clock.now())]);
    return new Replica(options, state, incarnation);
  }

  /** Writes facts of one document as one unit; resolves when they are durable here. Throws `INPUT_INVALID`, `LIMIT_EXCEEDED`, `POLICY_REFUSED`, `STORE_FAILED`, `CLOSED`. */
  async put(doc: DocumentName, facts: readonly FactInput[]): Promise<WriteReceipt> {
    return this.#enqueueWrite(preparePut(doc, facts));
  }

  /** Withdraws this writer's statements by writing tombstones. Errors as {@link put}. */
  async delete(doc: DocumentName, keys: readonly string[]): Promise<WriteReceipt> {
    return this.#enqueueWrite(prepareDelete(doc, keys));
  }

  /**
   * Rules that what a writer has said about a key so far does not count. Throws `NOT_FOUND` when it has
   * said nothing, `POLICY_REFUSED` without the role `manage`, else as {@link put}.
   */
  async retract(
    doc: DocumentName,
    key: string,
    writer: DeviceKey,
    reason: string,
  ): Promise<WriteReceipt> {
    const upTo = this.#documents.statedAt(doc, key, writer);
    if (upTo === undefined) {
      throw new MeshError("NOT_FOUND", `${writer} has said nothing about ${key} in ${doc}`);
    }
    return this.#enqueueWrite(prepareRetract(doc, key, { writer, upTo, reason }), "manage");
  }

  /**
   * Edits a document's rich content. `edit` runs when its group is written, must be synchronous, and sees
   * what was written before; when it throws, the promise rejects with that and nothing is written. Needs the
   * role `write`, since an edit may delete what others wrote. Else as {@link put}.
   */
  async edit(doc: DocumentName, edit: (roots: RichRoots) => void): Promise<WriteReceipt> {
    return this.#enqueueWrite({ doc, edit }, "write", EDIT_BYTES);
  }

  async #enqueueWrite(
    write: LocalWrite,
    needed: Role = "append",
    bytes = "bytes" in write ? write.bytes : 0,
  ): Promise<WriteReceipt> {
    this.#assertWritable();
    const grant = this.space.grants.get(this.device);
    if (grant === undefined || !allows(grant, needed)) {
      throw new MeshError(
        "POLICY_REFUSED",
        grant === undefined
          ? "this device has no grant in the space"
          : `this device's role is ${grant.role}, and this needs ${needed}`,
        { remedy: `ask whoever runs the space for a grant with the role ${needed} or more` },
      );
    }
    const size = this.#documents.bytesOf(write.doc) + bytes;
    if (size > LIMITS.documentBytes) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `document ${write.doc} would grow to ${String(size)} bytes, the limit is ${String(LIMITS.documentBytes)}`,
        { field: "doc", remedy: "spread the keys over more documents" },
      );
    }
    if (this.#writes.isFull(bytes)) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `${String(this.#writes.length)} writes are waiting for the store; the limit is ${String(LIMITS.queuedBatches)} or ${String(LIMITS.queuedBytes)} bytes`,
        { remedy: "wait for the receipts of earlier writes" },
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<WriteReceipt>();
    this.#writes.push({ write, size: bytes, resolve, reject });
    this.#drain();
    return promise;
  }

  /**
   * The one way in for foreign bytes. Resolves with what became of them: `accepted` only once they are
   * durable and applied, `dropped` while the queue for the store is full. Rejects with
   * `STORE_FAILED` or `CLOSED` when nothing can be said. `source` comes back with the applied batch, even
   * when it was held in between.
   */
  async receive(bytes: Uint8Array, source?: object): Promise<ReceiveOutcome> {
    this.#assertWritable();
    const parsed = parseBatch(bytes, source);
    if ("kind" in parsed) return this.#counters.count(parsed);
    const size = parsed.bytes.length;
    if (this.#receives.isFull(size)) {
      return this.#counters.count({ kind: "dropped" });
    }
    const { promise, resolve, reject } = Promise.withResolvers<ReceiveOutcome>();
    this.#receives.push({ batch: parsed, size, released: false, resolve, reject });
    this.#drain();
    return promise;
  }

  /** Looks again at batches that were held for the clock or a grant. Call about once a second. */
  retryTimed(): void {
    if (this.#closed || this.#failure !== undefined) return;
    this.#requeue(this.#hold.takeTimed());
    this.#drain();
  }

  #assertWritable(): void {
    if (this.#closed) throw new MeshError("CLOSED", "the replica is closed");
    if (this.#failure !== undefined) throw this.#failure;
  }

  #drain(): void {
    this.#draining ??= this.#drainGroups().finally(() => {
      this.#draining = undefined;
      // Work that arrived between the last look and this line.
      if (this.#writes.length + this.#receives.length > 0) this.#drain();
    });
  }

  async #drainGroups(): Promise<void> {
    // One turn of the queue gathers what the same tick enqueued.
    await Promise.resolve();
    while (this.#writes.length + this.#receives.length > 0) {
      const receives = this.#receives.take(LIMITS.batchesPerGroup);
      const writes = this.#writes.take(LIMITS.writesPerGroup);
      if (this.#failure !== undefined) {
        for (const task of [...receives, ...writes]) task.reject(this.#failure);
        continue;
      }
      try {
        await this.#commitGroup(receives, writes);
      } catch (error) {
        this.#fail(error, receives, writes);
      }
    }
  }

  /** The state on disk is unknown now: refuse everything until the replica is opened again. */
  #fail(error: unknown, receives: readonly ReceiveTask[], writes: readonly WriteTask[]): void {
    this.#failure =
      error instanceof MeshError
        ? error
        : new MeshError("INTERNAL", "the replica stopped on an unexpected error", { cause: error });
    this.#options.logger.error("replica.failed", { error: this.#failure });
    for (const task of [...receives, ...writes]) task.reject(this.#failure);
  }

  async #commitGroup(
    receives: readonly ReceiveTask[],
    writes: readonly WriteTask[],
  ): Promise<void> {
    const group = new Group(this.#frontier);
    const accepted: (() => void)[] = [];
    for (const task of receives) {
      const outcome = await this.#checkReceived(task, group);
      const settle = (): void => task.resolve(this.#counters.count(outcome));
      if (outcome.kind === "accepted") accepted.push(settle);
      else settle();
    }
    const results = this.#writer.build(
      writes.map(({ write }) => write),
      group,
    );
    if (group.batches.length === 0) {
      this.#settleWrites(writes, results);
      return;
    }
    await this.#options.store.write(this.#log.changesFor(group.batches));
    this.#log.appended(group.batches.length);
    for (const batch of group.batches) this.#apply(batch);
    for (const settle of accepted) settle();
    this.#settleWrites(writes, results);
  }

  #settleWrites(writes: readonly WriteTask[], results: readonly (Hlc | Error | undefined)[]): void {
    for (const [i, { write, resolve, reject }] of writes.entries()) {
      const result = results[i];
      const hlc = typeof result === "number" ? result : this.#frontier.maxHlc;
      const facts = "drafts" in write ? write.drafts.length : 0;
      if (result instanceof Error) reject(result);
      else resolve({ acknowledged: "local", hlc, facts });
    }
  }

  async #checkReceived(task: ReceiveTask, group: Group): Promise<ReceiveOutcome> {
    const result = await checkBatch(task.batch, this.#contextFor(group), task.released);
    if (result.kind === "accept") {
      group.add(result.batch);
      this.#documents.stage(result.batch);
      this.#hlc.observe(result.batch.header.hlc);
    }
    return this.#outcomeOf(result);
  }

  #outcomeOf(result: CheckResult): ReceiveOutcome {
    switch (result.kind) {
      case "accept":
        return { kind: "accepted" };
      case "hold":
        return this.#hold.add(result.batch, result.missing)
          ? { kind: "held", reason: result.reason }
          : { kind: "dropped" };
      case "duplicate":
      case "refused":
        return result;
    }
  }

  #contextFor(group: Group): CheckContext {
    return {
      space: this.space,
      verifier: this.#options.verifier,
      nowMs: this.#options.clock.now(),
      head: (replica, incarnation) => group.head(replica, incarnation),
      has: async (hash) => group.isRecent(hash) || (await this.#log.has(hash)),
      hashAt: async (replica, incarnation, seq) =>
        group.hashAt(replica, incarnation, seq) ??
        (await this.#log.hashAt(replica, incarnation, seq)),
      isHeld: (hash) => this.#hold.has(hash),
      checkRich: this.#documents.checkRich,
    };
  }

  /** A durable batch becomes visible; what waited for it goes back into the queue. */
  #apply(batch: CheckedBatch): void {
    const head = headOf(batch);
    const origin = head.incarnation === this.incarnation ? "local" : "remote";
    this.#frontier.advance(head, batch.header.deps);
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
      changed: this.#documents.apply(batch),
    };
    this.#requeue(this.#hold.takeWaitingFor(batch.hash));
    for (const listener of this.#listeners) this.#announce(listener, applied);
  }

  /** A listener that throws must not leave the rest of a durable group unapplied. */
  #announce(listener: (batch: AppliedBatch) => void, applied: AppliedBatch): void {
    try {
      listener(applied);
    } catch (error) {
      this.#options.logger.error("replica.listener-failed", { error });
    }
  }

  #requeue(batches: readonly ParsedBatch[]): void {
    for (const batch of batches) {
      this.#counters.release();
      const size = batch.bytes.length;
      this.#receives.push({ batch, size, released: true, resolve: ignore, reject: ignore });
    }
  }

  /** The answer to reading a key now. */
  get(doc: DocumentName, key: string): VisibleFact | undefined {
    return this.#documents.get(doc, key, this.#options.clock.now());
  }

  /** The plain content of a document's rich roots. */
  content(doc: DocumentName): readonly RichContent[] {
    return this.#documents.content(doc);
  }

  /** Every writer's candidate, newest first. */
  candidates(doc: DocumentName, key: string): readonly Candidate[] {
    return this.#documents.candidates(doc, key, this.#options.clock.now());
  }

  /** Visible facts in document and key order. Throws `INPUT_INVALID` for a bad limit. */
  list(query: ListQuery): readonly VisibleFact[] {
    const { limit } = query;
    if (limit !== undefined && !(Number.isInteger(limit) && limit >= 1 && limit <= MAX_LIST)) {
      throw new MeshError("INPUT_INVALID", `limit must be 1 to ${String(MAX_LIST)}`, {
        field: "limit",
      });
    }
    return this.#documents.list(query, this.#options.clock.now());
  }

  /** Calls `listener` for each batch once it is durable and visible, in order. Returns how to stop. */
  onApplied(listener: (batch: AppliedBatch) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Numbers of documents, visible facts, and contested ones. Reads every key. */
  count(): { readonly documents: number; readonly facts: number; readonly contested: number } {
    const now = this.#options.clock.now();
    return { documents: this.#documents.size, ...this.#documents.count(now) };
  }

  /** Counters of the receive pipeline. */
  counters(): ReceiveCounters {
    return this.#counters.snapshot();
  }

  /** Why the replica stopped taking writes, if it did. */
  get failure(): MeshError | undefined {
    return this.#failure;
  }

  /** The heads of all chains, ordered by replica and incarnation. */
  heads(): readonly Head[] {
    return this.#frontier.heads();
  }

  /** A chain's applied length. */
  seqOf(replica: DeviceKey, incarnation: IncarnationId): number {
    return this.#frontier.head(replica, incarnation)?.seq ?? 0;
  }

  /** SHA-256 over all heads: equal exactly when the same batches were applied. */
  frontierDigest(): Uint8Array {
    return this.#frontier.digest();
  }

  /** Stored batches of chain spans, in causal order. */
  read(spans: readonly ChainSpan[]): AsyncGenerator<StoredBatch> {
    return this.#log.read(spans);
  }

  /** The canonical leaves at the frontier's own time, with that time and the frontier. */
  snapshot(): {
    readonly leaves: readonly string[];
    readonly asOf: Hlc;
    readonly heads: readonly Head[];
  } {
    const asOf = this.#frontier.maxHlc;
    return { leaves: this.#documents.leaves(asOf), asOf, heads: this.heads() };
  }

  /** Milliseconds since an HLC by this replica's clock. */
  ageMs(hlc: Hlc): number {
    return this.#options.clock.now() - hlcToMs(hlc);
  }

  /** Refuses new work and waits until what was queued is settled. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    while (this.#draining !== undefined) await this.#draining;
  }
}
