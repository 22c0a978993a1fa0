// SPDX-License-Identifier: Apache-2.0
import { toBase64 } from "@ctxmesh/codec";
import { contentRoot } from "@ctxmesh/ledger";
import { encodeSpaceFile } from "@ctxmesh/membership";
import { MeshError, parseDeviceKey, parseDocumentName, toHex, toMeshError } from "@ctxmesh/model";
import type {
  ActsReceipt,
  CallOff,
  ChangeEvent,
  Clock,
  ContextService,
  EngineReport,
  EvidenceReport,
  FactInput,
  HistoryQuery,
  HistoryService,
  KeyHistory,
  LinkReport,
  ListQuery,
  MembershipReport,
  MembershipService,
  NodeStatus,
  PeerStatus,
  ScrubReport,
  TransportStatus,
  VisibleFact,
  WatchQuery,
  WriteOptions,
  WriteReceipt,
} from "@ctxmesh/model";
import type { AppliedBatch, ChangedKey, Replica } from "@ctxmesh/replica";
import type { Confirmations } from "@ctxmesh/sync";
import { AckReporter } from "./ack-summary.ts";
import { Covers } from "./cover.ts";
import { assertListQuery } from "./list-query.ts";
import { LatencyWindow } from "./latency-window.ts";
import { NodeWrites } from "./node-writes.ts";
import { partialSummary } from "./node-partial.ts";
import { reportChains, reportMembership, summarizeMembership } from "./membership-report.ts";

/** What a node's service is made of. */
export interface NodeServiceOptions {
  readonly service: "agent" | "hub";
  readonly version: string;
  readonly replica: Replica;
  readonly clock: Clock;
  /** Of the node's sync; without it no write gets further than `local`. */
  readonly confirmations?: Confirmations;
  /** Makes the writes, when there are others that share it. */
  readonly writes?: NodeWrites;
  readonly peers: () => readonly PeerStatus[];
  /** Of the node's sync; none without it. */
  readonly links?: () => readonly LinkReport[];
  readonly addresses: () => readonly string[];
  /** How connections to agents stand; absent for a hub that is no relay. */
  readonly transport?: () => TransportStatus;
  /** Batches of this device's earlier lives that peers brought. */
  readonly recovered?: () => number;
  /** How the checks of the store stand. */
  readonly scrub?: () => ScrubReport;
  /** Hub only: number of seals made. */
  readonly seals?: () => number;
  /** Of a hub that shares an engine with others. */
  readonly engine?: () => EngineReport;
}

const unscrubbed = (): ScrubReport => ({ findings: [] });

interface Watcher {
  readonly query: WatchQuery;
  readonly listener: (event: ChangeEvent) => void;
}

/** The operations of a node over its replica; the same for agent and hub. */
export class NodeService implements ContextService, HistoryService, MembershipService {
  readonly #options: NodeServiceOptions;
  readonly #startedAt: number;
  readonly #acks: AckReporter | undefined;
  readonly #propagation = new LatencyWindow();
  readonly #covers: Covers;
  readonly #writes: NodeWrites;
  readonly #watchers = new Set<Watcher>();
  readonly #stopListening: () => void;
  #written = 0;
  #applied = 0;

  constructor(options: NodeServiceOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
    const { service, replica, confirmations } = options;
    this.#writes = options.writes ?? new NodeWrites(options);
    this.#covers = new Covers(replica);
    if (service === "agent" && confirmations !== undefined) {
      this.#acks = new AckReporter(replica, confirmations);
    }
    const stops = [
      options.replica.onApplied((applied) => {
        this.#onApplied(applied);
      }),
      // What counts has changed: the watchers' keys may have other answers now.
      options.replica.onRecords(({ changed }) => {
        this.#tell(changed, "remote");
      }),
      options.replica.omitted.onAdded(({ changed }) => {
        this.#tell(changed, "remote");
      }),
    ];
    this.#stopListening = () => {
      for (const stop of stops) stop();
    };
  }

  #onApplied(applied: AppliedBatch): void {
    const { replica } = this.#options;
    if (applied.origin === "local") {
      this.#written += applied.facts;
    } else {
      this.#applied += applied.facts;
      this.#propagation.add(replica.ageMs(applied.firstHlc));
    }
    // Its keys are not even made into texts while nobody watches.
    if (this.#watchers.size > 0) this.#tell(applied.changed, applied.origin);
  }

  #tell(changed: readonly ChangedKey[], origin: "local" | "remote"): void {
    if (this.#watchers.size === 0) return;
    for (const { doc, key } of changed) {
      let event: ChangeEvent | undefined;
      for (const { query, listener } of this.#watchers) {
        if (query.doc !== undefined && query.doc !== doc) continue;
        if (query.prefix !== undefined && !key.startsWith(query.prefix)) continue;
        event ??= this.#changeOf(doc, key, origin);
        if (event === undefined) break;
        listener(event);
      }
    }
  }

  /** Undefined where the document is being read again: all of its keys are told after that. */
  #changeOf(doc: string, key: string, origin: "local" | "remote"): ChangeEvent | undefined {
    try {
      const fact = this.get(doc, key);
      return { doc, key, origin, ...(fact === undefined ? {} : { fact }) };
    } catch (error) {
      if (toMeshError(error).code !== "READ_BEHIND") throw error;
      return undefined;
    }
  }

  async put(
    doc: string,
    facts: readonly FactInput[],
    options: WriteOptions = {},
  ): Promise<WriteReceipt> {
    return this.#writes.run(options, ["put", doc, facts], async (replica, context) =>
      replica.put(parseDocumentName(doc), facts, context),
    );
  }

  async delete(
    doc: string,
    keys: readonly string[],
    options: WriteOptions = {},
  ): Promise<WriteReceipt> {
    return this.#writes.run(options, ["delete", doc, keys], async (replica, context) =>
      replica.delete(parseDocumentName(doc), keys, context),
    );
  }

  async retract(
    doc: string,
    key: string,
    writer: string,
    reason: string,
    options: Omit<WriteOptions, "priority"> = {},
  ): Promise<WriteReceipt> {
    const content = ["retract", doc, key, writer, reason] as const;
    return this.#writes.run(options, content, async (replica, context) =>
      replica.retract(parseDocumentName(doc), key, parseDeviceKey(writer), reason, context),
    );
  }

  /** Ends what waits for a hub or a seal, or for what was written elsewhere, with `CLOSED`. */
  endWaits(): void {
    this.#covers.end();
    this.#options.confirmations?.endWaits();
  }

  async covered(token: string, options?: CallOff): Promise<void> {
    return this.#covers.wait(token, options);
  }

  get(doc: string, key: string): ReturnType<ContextService["get"]> {
    return this.#options.replica.get(parseDocumentName(doc), key);
  }

  candidates(doc: string, key: string): ReturnType<ContextService["candidates"]> {
    return this.#options.replica.candidates(parseDocumentName(doc), key);
  }

  list(query: ListQuery): ReturnType<ContextService["list"]> {
    assertListQuery(query);
    return this.#options.replica.list(query);
  }

  async getAt(
    doc: string,
    key: string,
    atMs: number,
    options?: CallOff,
  ): Promise<VisibleFact | undefined> {
    return this.#options.replica.getAt(parseDocumentName(doc), key, atMs, options);
  }

  async listAt(query: ListQuery, atMs: number, options?: CallOff): Promise<readonly VisibleFact[]> {
    if (query.doc === undefined) {
      throw new MeshError("INPUT_INVALID", "at needs doc", { field: "at" });
    }
    const doc = parseDocumentName(query.doc);
    return this.#options.replica.listAt({ ...query, doc }, atMs, options);
  }

  async history(
    doc: string,
    key: string,
    query?: HistoryQuery,
    options?: CallOff,
  ): Promise<KeyHistory> {
    return this.#options.replica.history(parseDocumentName(doc), key, query, options);
  }

  watch(query: WatchQuery, listener: (event: ChangeEvent) => void): () => void {
    if (query.doc !== undefined) parseDocumentName(query.doc);
    const watcher = { query, listener };
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Whether the node takes writes, has all that it ever had, and no damage was found in its store. */
  get ready(): boolean {
    const { replica, scrub = unscrubbed } = this.#options;
    return (
      replica.failure === undefined &&
      replica.degraded().length === 0 &&
      scrub().findings.length === 0
    );
  }

  async status(options: { readonly digest?: boolean } = {}): Promise<NodeStatus> {
    const { service, version, replica, clock, peers, addresses, seals, engine } = this.#options;
    const { recovered = () => 0, scrub = unscrubbed, transport } = this.#options;
    const acknowledged = await this.#acks?.summary();
    const degraded = replica.degraded();
    const partial = partialSummary(replica);
    const modules = replica.modules();
    const { prunedBatches, prunedBeforeMs } = replica.retention();
    return {
      service,
      version,
      space: replica.space.id,
      spaceName: replica.space.genesis.name,
      policyEpoch: replica.space.policy.epoch,
      device: replica.device,
      incarnation: replica.incarnation,
      startedAt: this.#startedAt,
      ready: this.ready,
      degraded: degraded.map(({ replica: device, ...chain }) => ({ device, ...chain })),
      recovered: recovered(),
      pruned: {
        batches: prunedBatches,
        ...(prunedBeforeMs === undefined ? {} : { beforeMs: prunedBeforeMs }),
      },
      scrub: scrub(),
      addresses: addresses(),
      peers: peers(),
      ...(transport === undefined ? {} : { transport: transport() }),
      ...replica.count(),
      factEngine: replica.factEngine,
      written: this.#written,
      applied: this.#applied,
      ...(acknowledged === undefined ? {} : { acknowledged }),
      batches: replica.counters(),
      propagation: this.#propagation.summary(),
      ...(partial === undefined ? {} : { partial }),
      ...(modules.length === 0 ? {} : { modules }),
      chains: replica.heads().length,
      frontier: toHex(replica.frontierDigest()),
      ...(options.digest === true ? { digest: toHex(contentRoot(replica.snapshot().leaves)) } : {}),
      membership: summarizeMembership(
        replica.space,
        {
          device: replica.device,
          digest: toHex(replica.recordsDigest()),
          forked: replica.evidence().map((fork) => fork.replica),
          chains: replica.chains(),
        },
        clock.now(),
      ),
      ...(seals === undefined ? {} : { seals: seals() }),
      ...(engine === undefined ? {} : { engine: engine() }),
    };
  }

  links(): readonly LinkReport[] {
    return this.#options.links?.() ?? [];
  }

  membership(): MembershipReport {
    const { replica, clock } = this.#options;
    const known = {
      digest: toHex(replica.recordsDigest()),
      chains: reportChains(replica.chains(), replica.heads()),
    };
    return reportMembership(replica.space, known, clock.now());
  }

  async addActs(records: readonly Uint8Array[]): Promise<ActsReceipt> {
    return this.#options.replica.addRecords({ acts: records });
  }

  spaceFile(): string {
    return encodeSpaceFile(this.#options.replica.space);
  }

  evidence(): readonly EvidenceReport[] {
    return this.#options.replica.evidence().map(({ replica, incarnation, seq, proof }) => ({
      device: replica,
      incarnation,
      seq,
      proof: toBase64(proof),
    }));
  }

  /** Stops following the replica. */
  close(): void {
    this.#stopListening();
    this.#watchers.clear();
  }
}
