// SPDX-License-Identifier: Apache-2.0
import { toBase64 } from "@ctxmesh/codec";
import { contentRoot } from "@ctxmesh/ledger";
import { encodeSpaceFile } from "@ctxmesh/membership";
import { MeshError, parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type {
  ActsReceipt,
  ChangeEvent,
  Clock,
  ContextService,
  EvidenceReport,
  FactInput,
  ListQuery,
  MembershipReport,
  MembershipService,
  NodeStatus,
  PeerStatus,
  WatchQuery,
  WriteReceipt,
} from "@ctxmesh/model";
import type { AppliedBatch, ChangedKey, Replica } from "@ctxmesh/replica";
import { LatencyWindow } from "./latency-window.ts";
import { reportChains, reportMembership, summarizeMembership } from "./membership-report.ts";

/** What a node's service is made of. */
export interface NodeServiceOptions {
  readonly service: "agent" | "hub";
  readonly version: string;
  readonly replica: Replica;
  readonly clock: Clock;
  readonly peers: () => readonly PeerStatus[];
  readonly addresses: () => readonly string[];
  /** Hub only: number of seals made. */
  readonly seals?: () => number;
}

interface Watcher {
  readonly query: WatchQuery;
  readonly listener: (event: ChangeEvent) => void;
}

/** The operations of a node over its replica; the same for agent and hub. */
export class NodeService implements ContextService, MembershipService {
  readonly #options: NodeServiceOptions;
  readonly #startedAt: number;
  readonly #propagation = new LatencyWindow();
  readonly #watchers = new Set<Watcher>();
  readonly #stopListening: () => void;
  #written = 0;
  #applied = 0;

  constructor(options: NodeServiceOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
    const stops = [
      options.replica.onApplied((applied) => {
        this.#onApplied(applied);
      }),
      // What counts has changed: the watchers' keys may have other answers now.
      options.replica.onRecords(({ changed }) => {
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
    this.#tell(applied.changed, applied.origin);
  }

  #tell(changed: readonly ChangedKey[], origin: "local" | "remote"): void {
    if (this.#watchers.size === 0) return;
    for (const { doc, key } of changed) {
      let event: ChangeEvent | undefined;
      for (const { query, listener } of this.#watchers) {
        if (query.doc !== undefined && query.doc !== doc) continue;
        if (query.prefix !== undefined && !key.startsWith(query.prefix)) continue;
        event ??= this.#changeOf(doc, key, origin);
        listener(event);
      }
    }
  }

  #changeOf(doc: string, key: string, origin: "local" | "remote"): ChangeEvent {
    const fact = this.get(doc, key);
    return { doc, key, origin, ...(fact === undefined ? {} : { fact }) };
  }

  async put(doc: string, facts: readonly FactInput[]): Promise<WriteReceipt> {
    this.#assertAgent();
    return this.#options.replica.put(parseDocumentName(doc), facts);
  }

  async delete(doc: string, keys: readonly string[]): Promise<WriteReceipt> {
    this.#assertAgent();
    return this.#options.replica.delete(parseDocumentName(doc), keys);
  }

  async retract(doc: string, key: string, writer: string, reason: string): Promise<WriteReceipt> {
    this.#assertAgent();
    return this.#options.replica.retract(
      parseDocumentName(doc),
      key,
      parseDeviceKey(writer),
      reason,
    );
  }

  #assertAgent(): void {
    if (this.#options.service === "agent") return;
    throw new MeshError("POLICY_REFUSED", "a hub does not write facts", {
      remedy: "write at an agent; the hub receives it",
    });
  }

  get(doc: string, key: string): ReturnType<ContextService["get"]> {
    return this.#options.replica.get(parseDocumentName(doc), key);
  }

  candidates(doc: string, key: string): ReturnType<ContextService["candidates"]> {
    return this.#options.replica.candidates(parseDocumentName(doc), key);
  }

  list(query: ListQuery): ReturnType<ContextService["list"]> {
    if (query.doc !== undefined) parseDocumentName(query.doc);
    if (query.after !== undefined && query.doc === undefined) {
      throw new MeshError("INPUT_INVALID", "after needs doc", { field: "after" });
    }
    return this.#options.replica.list(query);
  }

  watch(query: WatchQuery, listener: (event: ChangeEvent) => void): () => void {
    if (query.doc !== undefined) parseDocumentName(query.doc);
    const watcher = { query, listener };
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  async status(options: { readonly digest?: boolean } = {}): Promise<NodeStatus> {
    const { service, version, replica, clock, peers, addresses, seals } = this.#options;
    const degraded = replica.degraded();
    return Promise.resolve({
      service,
      version,
      space: replica.space.id,
      spaceName: replica.space.genesis.name,
      policyEpoch: replica.space.policy.epoch,
      device: replica.device,
      incarnation: replica.incarnation,
      startedAt: this.#startedAt,
      ready: replica.failure === undefined && degraded.length === 0,
      degraded: degraded.map(({ replica: device, ...chain }) => ({ device, ...chain })),
      addresses: addresses(),
      peers: peers(),
      ...replica.count(),
      written: this.#written,
      applied: this.#applied,
      batches: replica.counters(),
      propagation: this.#propagation.summary(),
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
    });
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
