// SPDX-License-Identifier: Apache-2.0
import { contentRoot } from "@ctxmesh/ledger";
import { MeshError, parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type {
  ChangeEvent,
  Clock,
  ContextService,
  FactInput,
  ListQuery,
  NodeStatus,
  PeerStatus,
  WatchQuery,
  WriteReceipt,
} from "@ctxmesh/model";
import type { AppliedBatch, Replica } from "@ctxmesh/replica";
import { LatencyWindow } from "./latency-window.ts";

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
export class NodeService implements ContextService {
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
    this.#stopListening = options.replica.onApplied((applied) => {
      this.#onApplied(applied);
    });
  }

  #onApplied(applied: AppliedBatch): void {
    const { replica } = this.#options;
    if (applied.origin === "local") {
      this.#written += applied.facts;
    } else {
      this.#applied += applied.facts;
      this.#propagation.add(replica.ageMs(applied.firstHlc));
    }
    if (this.#watchers.size === 0) return;
    for (const { doc, key } of applied.changed) {
      let event: ChangeEvent | undefined;
      for (const { query, listener } of this.#watchers) {
        if (query.doc !== undefined && query.doc !== doc) continue;
        if (query.prefix !== undefined && !key.startsWith(query.prefix)) continue;
        event ??= this.#changeOf(doc, key, applied.origin);
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
    const { service, version, replica, peers, addresses, seals } = this.#options;
    return Promise.resolve({
      service,
      version,
      space: replica.space.id,
      spaceName: replica.space.genesis.name,
      policyEpoch: replica.space.policy.epoch,
      device: replica.device,
      incarnation: replica.incarnation,
      startedAt: this.#startedAt,
      ready: replica.failure === undefined,
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
      ...(seals === undefined ? {} : { seals: seals() }),
    });
  }

  /** Stops following the replica. */
  close(): void {
    this.#stopListening();
    this.#watchers.clear();
  }
}
