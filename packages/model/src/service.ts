// SPDX-License-Identifier: Apache-2.0
/** What a running node (agent or hub) offers to local callers; the local API carries exactly this. */
import type { Candidate, FactInput, VisibleFact, WriteReceipt } from "./facts.ts";
import type { ReceiveCounters } from "./outcomes.ts";

/** Which facts to list. */
export interface ListQuery {
  /** All documents when absent. */
  readonly doc?: string;
  readonly prefix?: string;
  /** Keys that match: `*` is any text within a segment between slashes, `**` any text. */
  readonly pattern?: string;
  /** Keys with a candidate from this source model. */
  readonly source?: string;
  /** Keys with a candidate that has this tag. */
  readonly tag?: string;
  /** Keys after this one; needs `doc`. */
  readonly after?: string;
  /** At most this many, 1 to 10,000; default 1,000. */
  readonly limit?: number;
}

/** Which changes to watch. */
export interface WatchQuery {
  readonly doc?: string;
  readonly prefix?: string;
}

/** A key whose answer changed; `fact` is absent when nothing is visible any more. */
export interface ChangeEvent {
  readonly doc: string;
  readonly key: string;
  readonly fact?: VisibleFact;
  /** `local` for this node's own write. */
  readonly origin: "local" | "remote";
}

/** A connected peer. */
export interface PeerStatus {
  readonly device: string;
  readonly address: string;
  readonly role: "agent" | "hub";
  readonly connectedSinceMs: number;
  /** The peer's last known frontier equals ours. */
  readonly inSync: boolean;
}

/** Milliseconds between a fact's HLC at its writer and its application here. */
export interface LatencySummary {
  readonly count: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly maxMs: number;
}

/** A node's state at one moment. */
export interface NodeStatus {
  readonly service: "agent" | "hub";
  readonly version: string;
  readonly space: string;
  readonly spaceName: string;
  /** Epoch of the space's policy; nodes with different ones differ in their digests. */
  readonly policyEpoch: number;
  readonly device: string;
  readonly incarnation: string;
  /** Unix milliseconds. */
  readonly startedAt: number;
  readonly ready: boolean;
  readonly addresses: readonly string[];
  readonly peers: readonly PeerStatus[];
  readonly documents: number;
  readonly facts: number;
  readonly contested: number;
  /** Facts written here since the start, and facts of others applied since the start. */
  readonly written: number;
  readonly applied: number;
  readonly batches: ReceiveCounters;
  readonly propagation: LatencySummary;
  /** Number of chains, and SHA-256 over all heads: equal on replicas that applied the same batches. */
  readonly chains: number;
  readonly frontier: string;
  /** RFC 6962 root over the canonical leaves; present when asked for, since it reads every fact. */
  readonly digest?: string;
  /** Hub only: seals made. */
  readonly seals?: number;
}

/** The hub's answer to a seal request. */
export interface SealReceipt {
  readonly sequence: number;
  /** Snapshot root, hex. */
  readonly root: string;
  readonly leaves: number;
  readonly logIndex: number;
  readonly logSize: number;
  /** Unix milliseconds. */
  readonly sealedAt: number;
}

/**
 * The operations of a node. Errors are {@link MeshError}s: `INPUT_INVALID` and `LIMIT_EXCEEDED` for
 * bad arguments (strings are checked here, not by callers), `CLOSED` while shutting down.
 */
export interface ContextService {
  /** Writes facts of one document as one unit. `POLICY_REFUSED` without a grant to write, or on a hub. */
  put(doc: string, facts: readonly FactInput[]): Promise<WriteReceipt>;
  /** Deletes this writer's statements by writing tombstones. */
  delete(doc: string, keys: readonly string[]): Promise<WriteReceipt>;
  /**
   * Rules that what `writer` (device key, hex) has said about a key so far does not count, for a reason. It
   * stays among the candidates. Needs the role `manage`, else `POLICY_REFUSED`; `NOT_FOUND` when the writer
   * has said nothing.
   */
  retract(doc: string, key: string, writer: string, reason: string): Promise<WriteReceipt>;
  get(doc: string, key: string): VisibleFact | undefined;
  /** Every writer's candidate, newest first, with `dominated` ones included. */
  candidates(doc: string, key: string): readonly Candidate[];
  list(query: ListQuery): readonly VisibleFact[];
  /** Calls `listener` for each change until the returned function is called. The listener must not block. */
  watch(query: WatchQuery, listener: (event: ChangeEvent) => void): () => void;
  status(options?: { readonly digest?: boolean }): Promise<NodeStatus>;
}

/** What a hub offers besides. */
export interface SealingService {
  /** Seals the current state of the space and appends the seal to the log. */
  seal(): Promise<SealReceipt>;
  /** The bundle of a seal (the newest without a number) as file bytes. `NOT_FOUND`. */
  bundle(sequence?: number): Promise<Uint8Array>;
}
