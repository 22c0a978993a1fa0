// SPDX-License-Identifier: Apache-2.0
import type { Role } from "@ctxmesh/codec";
import type { FactEngineName } from "@ctxmesh/facts";
import type { Space } from "@ctxmesh/membership";
import { MeshError, hlcToMs, parseDeviceKey, parseIncarnationId, toHex } from "@ctxmesh/model";
import type {
  CallOff,
  Candidate,
  DeviceKey,
  DocumentName,
  FactInput,
  HeaderHash,
  HistoryQuery,
  Hlc,
  IncarnationId,
  KeyHistory,
  ListQuery,
  ModuleStatus,
  ReceiveCounters,
  ReceiveOutcome,
  Subscription,
  VisibleFact,
  WriteOptions,
  WriteReceipt,
} from "@ctxmesh/model";
import type { CarriedContent, RichContent, RichRoots } from "@ctxmesh/rich";
import { assertAllowed, assertFits } from "./allowed.ts";
import type { Registry } from "@ctxmesh/schema";
import { CARRYING, parseBatch, unpackedOf } from "./checks.ts";
import { Bases } from "./bases.ts";
import { nameLog } from "./change-position.ts";
import { Changes } from "./changes.ts";
import type { BatchSource } from "./checks.ts";
import type { Retention } from "./checkpointer.ts";
import { chainStatuses, degradedChains } from "./chain-status.ts";
import type { ChainStatus, DegradedChain } from "./chain-status.ts";
import { Committer } from "./committer.ts";
import { DEFAULT_LIST_LIMIT, checkList } from "./documents.ts";
import { DocumentEngines } from "./document-engines.ts";
import type { ReplicaParts } from "./document-engines.ts";
import type { Fork } from "./evidence.ts";
import type { GatherWindows } from "./gather.ts";
import { headersFor } from "./header-answer.ts";
import { History } from "./history.ts";
import { incarnationChange } from "./layout.ts";
import { clientOf } from "./parts.ts";
import type { Head } from "./layout.ts";
import { joinWrites, prepareDelete, prepareRetract } from "./local-batch.ts";
import type { PreparedWrite } from "./local-batch.ts";
import { bytesCarried, closedError } from "./local-writer.ts";
import type { LocalWrite, WithWrite } from "./local-writer.ts";
import type { ChainSpan, StoredBatch } from "./log.ts";
import { OmittedContent } from "./omitted-content.ts";
import { openState } from "./open.ts";
import type { ReplicaOptions } from "./replica-options.ts";
import { Proposals } from "./proposals.ts";
import type { PruneOptions, PruneReport } from "./prune.ts";
import type { RecordBytes, RecordIds } from "./records.ts";
import { currentRoster } from "./roster.ts";
import type { Roster } from "./roster.ts";
import { prepareUnder } from "./schema-writes.ts";
import type { PutOptions } from "./schema-writes.ts";
import { takeHeaders } from "./take-headers.ts";
import type { AppliedBatch, RecordsChange, RecordsOutcome } from "./tasks.ts";

/** How a local write is made, and what goes with it. */
export interface WriteContext extends Pick<WriteOptions, "priority">, WithWrite {}

const withWrite = (also: WithWrite["also"]): WithWrite => (also === undefined ? {} : { also });

/** What a rich edit counts for before its size is known. */
const EDIT_BYTES = 1_024;
/** Hashes in one answer of {@link Replica.missing}. */
const MAX_MISSING = 64;
/** Headers in one answer of {@link Replica.signedHeaders}. */
const MAX_HEADERS = 1_024;

/**
 * One party's copy of a space: local writes, the one way in for foreign batches and records, and reads. See
 * {@link Committer} for how they are brought in order.
 */
export class Replica {
  readonly device: DeviceKey;
  readonly #options: ReplicaOptions;
  readonly #committer: Committer;
  readonly #history: History;
  /** Bases: what hubs say that their logs come to, handed out and taken in. */
  readonly bases: Bases;
  readonly omitted: OmittedContent;
  /** Writes with a condition. */
  readonly proposals: Proposals;
  /** What was said, change by change, in the order of the log. */
  readonly changes: Changes;
  /** What keeps the facts of large documents. */
  readonly factEngine: FactEngineName;
  private constructor(
    options: ReplicaParts,
    device: DeviceKey,
    committer: Committer,
    logName: string,
  ) {
    this.#options = options;
    this.factEngine = options.engines.name;
    this.device = device;
    this.#committer = committer;
    this.#history = new History({ ...options, core: () => committer.core });
    this.bases = new Bases({ ...options, device, committer });
    this.omitted = new OmittedContent(options, committer);
    this.proposals = new Proposals({
      device,
      clock: options.clock,
      committer,
      prepare: (doc, facts) => this.preparePut(doc, facts),
      assertRoom: (write) => {
        this.#assertRoom(write, "append", write.bytes);
      },
    });
    const { tail } = committer;
    this.changes = new Changes({ ...options, tail, name: logName, core: () => committer.core });
  }

  /**
   * Opens the replica in a store: reads the newest checkpoint, walks and verifies the log behind it, and records a
   * fresh incarnation durably. Throws `STORE_CORRUPT`, `STORE_FAILED`, and `STORE_FORMAT` for a store of another space.
   */
  static async open(options: ReplicaOptions): Promise<Replica> {
    const { store, random, clock } = options;
    const device = parseDeviceKey(toHex(options.signer.publicKey));
    const nowMs = clock.now();
    const engines = DocumentEngines.of(options);
    const opened = await openState({ ...options, self: device, engines });
    const incarnation = parseIncarnationId(toHex(random.bytes(16)));
    const { logName, naming } = await nameLog(store, incarnation);
    await store.write([...opened.changes, incarnationChange(incarnation, nowMs), ...naming]);
    const committer = new Committer({ ...options, engines }, device, opened, incarnation);
    committer.resume();
    return new Replica({ ...options, engines }, device, committer, logName);
  }

  /** The space as its acts have it now. */
  get space(): Space {
    return this.#committer.inEffect.space;
  }

  /** The schemas of the space, by which the state is judged. */
  get schemas(): Registry {
    return this.#committer.core.state.documents.schemas;
  }

  /** What the modules of the space did here since the start, those that were called. */
  modules(): readonly ModuleStatus[] {
    return this.#committer.modules.status();
  }

  /** What of others' batches is kept; undefined for everything. */
  get subscription(): Subscription | undefined {
    return this.#options.subscription;
  }

  /** This process life without its lanes, which are incarnations of their own: fresh at every open, so that a copied or restored store never continues an old chain, and again when it is found to be forked. */
  get incarnation(): IncarnationId {
    return this.#committer.incarnation;
  }

  /** The incarnations of all chains that are written here: that one, and its lanes. */
  incarnations(): readonly IncarnationId[] {
    return this.#committer.incarnations();
  }

  /** Writes facts of one document as one unit; resolves when they are durable here. Throws `INPUT_INVALID`, `SCHEMA_INVALID`, `LIMIT_EXCEEDED`, `POLICY_REFUSED`, `STORE_FAILED`, `CLOSED`. */
  async put(
    doc: DocumentName,
    facts: readonly FactInput[],
    { also, ...options }: WriteContext = {},
  ): Promise<WriteReceipt> {
    return this.#enqueueWrite({ ...this.preparePut(doc, facts, options), ...withWrite(also) });
  }

  /** Validates a put under the schemas of the moment; writes nothing. Throws what {@link put} would reject with for the facts by themselves. */
  preparePut(doc: DocumentName, facts: readonly FactInput[], how: PutOptions = {}): PreparedWrite {
    const who = { device: this.device, nowMs: this.#options.clock.now() };
    return prepareUnder(this.#documents, doc, facts, { ...how, ...who });
  }

  /** Withdraws this writer's statements by writing tombstones. Errors as {@link put}. */
  async delete(
    doc: DocumentName,
    keys: readonly string[],
    { also, priority }: WriteContext = {},
  ): Promise<WriteReceipt> {
    return this.#enqueueWrite({ ...prepareDelete(doc, keys, priority), ...withWrite(also) });
  }

  /** Writes and withdraws facts of one document as one unit. Errors as {@link put}. */
  async change(
    doc: DocumentName,
    { put, keys }: { readonly put: readonly FactInput[]; readonly keys: readonly string[] },
    { also, ...options }: WriteContext = {},
  ): Promise<WriteReceipt> {
    const parts = [
      ...(put.length === 0 ? [] : [this.preparePut(doc, put, options)]),
      ...(keys.length === 0 ? [] : [prepareDelete(doc, keys, options.priority)]),
    ];
    return this.#enqueueWrite({ ...joinWrites(doc, parts), ...withWrite(also) });
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
    { also }: WithWrite = {},
  ): Promise<WriteReceipt> {
    const upTo = this.#documents.statedAt(doc, key, writer);
    if (upTo === undefined) {
      throw new MeshError("NOT_FOUND", `${writer} has said nothing about ${key} in ${doc}`);
    }
    const write = prepareRetract(doc, key, { writer, upTo, reason });
    return this.#enqueueWrite({ ...write, ...withWrite(also) }, "manage");
  }

  /**
   * Edits a document's rich content. `edit` runs when its group is written, must be synchronous, and sees
   * what was written before; when it throws, the promise rejects with that and nothing is written. Needs the
   * role `write`, since an edit may delete what others wrote. Else as {@link put}.
   */
  async edit(
    doc: DocumentName,
    edit: (roots: RichRoots) => void,
    { also }: WithWrite = {},
  ): Promise<WriteReceipt> {
    return this.#enqueueWrite({ doc, edit, ...withWrite(also) }, "write", EDIT_BYTES);
  }

  /**
   * Takes rich content that stock Yjs clients made, as their gateway: whole or not at all, in as many batches as it has sections and
   * erasures. Throws `FORMAT_INVALID` for what no editor makes, `WRITE_BEHIND` for what builds on what is not here, else as {@link edit}.
   */
  async carry(doc: DocumentName, content: CarriedContent): Promise<WriteReceipt> {
    this.#assertCarries();
    return this.#enqueueWrite({ doc, carry: content }, CARRYING.role, bytesCarried(content));
  }

  /** Throws what {@link carry} would reject with now, and writes nothing. */
  judgeCarry(doc: DocumentName, content: CarriedContent): void {
    this.#assertCarries();
    this.#assertRoom({ doc, carry: content }, CARRYING.role, bytesCarried(content));
    if (this.#documents.omissions.isClosed(doc)) throw closedError(doc);
    this.#documents.judgeCarry(doc, clientOf(this.device, this.incarnation), content);
  }

  #assertCarries(): void {
    const { role, service } = CARRYING;
    const nowMs = this.#options.clock.now();
    assertAllowed(this.#committer.inEffect, this.device, role, nowMs, service);
  }

  /** The state of a document's rich content in one piece; undefined when there is none. Throws `POLICY_REFUSED` when it is left out on this node. */
  richState(doc: DocumentName): Uint8Array | undefined {
    if (this.#documents.omissions.isClosed(doc)) throw closedError(doc);
    return this.#documents.richState(doc);
  }

  async #enqueueWrite(
    write: LocalWrite,
    needed: Role = "append",
    bytes = "bytes" in write ? write.bytes : 0,
  ): Promise<WriteReceipt> {
    this.#assertRoom(write, needed, bytes);
    return this.#committer.write(write, bytes);
  }

  /** Throws unless a local write may be made, and its document has room for it. */
  #assertRoom(write: LocalWrite, needed: Role, bytes: number): void {
    this.#committer.assertWritable();
    assertAllowed(this.#committer.inEffect, this.device, needed, this.#options.clock.now());
    assertFits(write.doc, this.#documents.bytesOf(write.doc) + bytes);
  }

  /**
   * The one way in for foreign batches. Resolves with what became of them: `accepted` only once they are
   * durable and applied, `dropped` while the queue for the store is full. Rejects with
   * `STORE_FAILED` or `CLOSED` when nothing can be said. `source` comes back with the applied batch, even
   * when it was held in between; it is charged for what the bodies unpack to before this returns, and for what was in them later.
   */
  async receive(bytes: Uint8Array, source?: BatchSource): Promise<ReceiveOutcome> {
    this.#committer.assertWritable();
    const parsed = parseBatch(bytes, source);
    if ("kind" in parsed) {
      const { reason, detail } = parsed;
      return this.#committer.counters.count({ kind: "refused", reason, detail });
    }
    source?.charge({ bytes: unpackedOf(parsed), items: 0 });
    return this.#committer.receive(parsed);
  }

  /**
   * The one way in for membership acts and proofs of equivocation, foreign or our own. Those that verify are durable and
   * in effect when it resolves; what can't be taken is named. Acts whose parents are not known are left
   * out. Rejects like {@link receive}.
   */
  async addRecords(records: Partial<RecordBytes>): Promise<RecordsOutcome> {
    this.#committer.assertWritable();
    return this.#committer.take({ acts: records.acts ?? [], proofs: records.proofs ?? [] });
  }

  /** Which acts and proofs are here. */
  recordIds(): RecordIds {
    return this.#committer.inEffect.ids();
  }

  /** SHA-256 over the ids of all acts and the positions of all forks: equal exactly when both are. */
  recordsDigest(): Uint8Array {
    return this.#committer.inEffect.digest();
  }

  /** The acts, parents first, and proofs that whoever has `known` lacks. */
  readRecords(known: RecordIds): RecordBytes {
    return this.#committer.inEffect.lackedBy(known);
  }

  /** Calls `listener` after acts or proofs took effect. Returns how to stop. */
  onRecords(listener: (change: RecordsChange) => void): () => void {
    return this.#committer.recordListeners.add(listener);
  }

  /** The highest seq of a chain that can count: Infinity, or less after a proof or a revocation. */
  limitOf(replica: DeviceKey, incarnation: IncarnationId): number {
    return this.#committer.inEffect.limitOf(replica, incarnation);
  }

  /** Who is a member and from where on chains do not count, for devices that do not evaluate records. */
  roster(): Roster {
    return currentRoster(this.#committer.core);
  }

  /** The header at a chain position, whether it counts or not; undefined when it is not here. */
  async hashAt(
    replica: DeviceKey,
    incarnation: IncarnationId,
    seq: number,
  ): Promise<HeaderHash | undefined> {
    return this.#committer.core.log.hashAt(replica, incarnation, seq);
  }

  /** Hashes that held batches have waited for at least that long, oldest first, 64 at most. */
  missing(olderThanMs: number): readonly HeaderHash[] {
    return this.#committer.missing(this.#options.clock.now() - olderThanMs, MAX_MISSING);
  }

  /**
   * A stored header with its signature, and the void ones behind it, 1,024 or some 256 KiB at most, each before what it
   * names; and whole batches, where it takes their content to see that they are void: what {@link addHeaders} takes. Empty when
   * it is not here.
   */
  async signedHeaders(hash: HeaderHash, source?: BatchSource): Promise<readonly Uint8Array[]> {
    return headersFor(hash, this.#committer.core, MAX_HEADERS, source);
  }

  /**
   * Takes signed headers of void batches that held ones wait for, and of those behind them, and batches whose content alone
   * speaks against them; whatever else is among them is passed over. `source` is charged as by {@link receive}.
   */
  async addHeaders(items: readonly Uint8Array[], source?: BatchSource): Promise<void> {
    this.#committer.assertWritable();
    await takeHeaders(items, source, this.#committer);
  }

  /** The proven forks, with their portable proofs. */
  evidence(): readonly Fork[] {
    return [...this.#committer.inEffect.forks.values()];
  }

  /** The chains that are here, ordered by replica and incarnation: how much counts, and why the rest does not. */
  chains(): readonly ChainStatus[] {
    return chainStatuses(this.#committer.core);
  }

  /**
   * Chains that are behind what a damaged store had of them: the replica is degraded until anti-entropy has
   * brought the rest. What does not count any more is not waited for. And chains whose pruned part counts for more than it should:
   * only a new store, which peers fill, mends that.
   */
  degraded(): readonly DegradedChain[] {
    return degradedChains(this.#committer.core, this.#committer.checkpointer.stale());
  }

  /**
   * Writes what the log amounts to now into the store, so that the next opening begins there; this is done now and then
   * anyway. Nothing is written while a stored batch waits for one that is not here. Rejects like {@link receive}.
   */
  async checkpoint(): Promise<void> {
    this.#committer.assertWritable();
    await this.#committer.checkpointer.request();
    if (this.failure !== undefined) throw this.failure;
  }

  /**
   * Removes batches from the start of the log: as far as each of them is at most at the seq that `upTo` says of its chain, and
   * was written before `beforeMs`. What they amount to stays, and so do their hashes and the void ones among them; their content
   * can't be served to peers any more. Ends early, and may be called again, when it is closed or records change what counts.
   * Rejects like {@link receive}.
   */
  async prune(options: PruneOptions): Promise<PruneReport> {
    this.#committer.assertWritable();
    return this.#committer.checkpointer.prune(options);
  }

  /** How far back the log reaches, and what of the rest is not true any more. */
  retention(): Retention {
    return this.#committer.checkpointer.retention();
  }

  /** Reads the whole log once more and follows every chain through it; opening begins at a checkpoint. Throws `STORE_CORRUPT`, `STORE_FAILED`, `CLOSED`. */
  async verify(): Promise<void> {
    await this.#committer.core.log.verify();
  }

  /** Gives up what {@link degraded} waits for. Rejects like {@link receive}. */
  async acceptLoss(): Promise<void> {
    this.#committer.assertWritable();
    await this.#committer.acceptLoss();
  }

  /** Looks again at batches that were held for the clock, an act or room. Call about once a second. */
  retryTimed(): void {
    this.#committer.retryTimed();
  }

  /**
   * How long local writes that are not urgent wait from now on to share a batch with others; no time at all unless this says so. Call it about
   * every 50 ms, also with the same windows: that is what ends the waiting.
   */
  gather(windows: GatherWindows): void {
    this.#committer.gather(windows);
  }

  get #documents(): Committer["core"]["state"]["documents"] {
    return this.#committer.core.state.documents;
  }

  get #frontier(): Committer["core"]["state"]["frontier"] {
    return this.#committer.core.state.frontier;
  }

  /** The answer to reading a key now. */
  get(doc: DocumentName, key: string): VisibleFact | undefined {
    return this.#documents.get(doc, key, this.#options.clock.now());
  }

  /** Whether a fact of a document expires after one time and up to another, Unix milliseconds: then answers change that nobody has written to. */
  expires(doc: DocumentName, afterMs: number, upToMs: number): boolean {
    return this.#documents.expires(doc, afterMs, upToMs);
  }

  /** The documents of which something is here, by name, each with about its encoded size in bytes. */
  documents(): readonly { readonly doc: DocumentName; readonly bytes: number }[] {
    const documents = this.#documents;
    return documents.names().map((doc) => ({ doc, bytes: documents.bytesOf(doc) }));
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
    checkList(query);
    return this.#documents.list(query, this.#options.clock.now());
  }

  /**
   * The answer to reading a key at a moment (Unix milliseconds): of what had been said by then, is known here and
   * counts now, judged by now's policy and that moment's clock. Throws `INPUT_INVALID` for a moment to come,
   * `HISTORY_PRUNED` for one before what is kept, `ABORTED`, `STORE_CORRUPT`, `STORE_FAILED`, `CLOSED`.
   */
  async getAt(
    doc: DocumentName,
    key: string,
    atMs: number,
    options?: CallOff,
  ): Promise<VisibleFact | undefined> {
    const { facts, incomplete } = await this.#history.factsAt(doc, key, atMs, options);
    return facts.visible(key, atMs, incomplete);
  }

  /** As {@link list} of one document, at a moment. Errors as {@link getAt}. */
  async listAt(
    query: ListQuery & { readonly doc: DocumentName },
    atMs: number,
    options?: CallOff,
  ): Promise<readonly VisibleFact[]> {
    checkList(query);
    const { facts, incomplete } = await this.#history.factsAt(query.doc, undefined, atMs, options);
    return facts.list(query, atMs, query.limit ?? DEFAULT_LIST_LIMIT, incomplete);
  }

  /** What was said about a key, whether it counts or not, newest first. Throws as {@link getAt}. */
  async history(
    doc: DocumentName,
    key: string,
    query: HistoryQuery = {},
    options?: CallOff,
  ): Promise<KeyHistory> {
    return this.#history.page(doc, key, query, options);
  }

  /** Calls `listener` for each batch once it is durable and visible, in order. Returns how to stop. */
  onApplied(listener: (batch: AppliedBatch) => void): () => void {
    return this.#committer.batchListeners.add(listener);
  }

  /** Numbers of documents, visible facts, and contested ones. Reads every key. */
  count(): { readonly documents: number; readonly facts: number; readonly contested: number } {
    const now = this.#options.clock.now();
    return { documents: this.#documents.size, ...this.#documents.count(now) };
  }

  /** Counters of the receive pipeline. */
  counters(): ReceiveCounters {
    return this.#committer.counters.snapshot();
  }

  /** Why the replica stopped taking writes, if it did. */
  get failure(): MeshError | undefined {
    return this.#committer.failure;
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
    return this.#committer.core.log.read(spans);
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
    await this.#committer.close();
  }
}
