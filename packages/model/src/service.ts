// SPDX-License-Identifier: Apache-2.0
/** What a running node (agent or hub) offers to local callers; the local API carries exactly this. */
import type { ScrubReport } from "./care.ts";
import type { Candidate, FactInput, VisibleFact, WriteOptions, WriteReceipt } from "./facts.ts";
import type { CallOff } from "./history.ts";
import type { LinkReport, PeerStatus, TransportStatus } from "./link-reports.ts";
import type { MembershipSummary } from "./membership-reports.ts";
import type { ReceiveCounters } from "./outcomes.ts";
import type { ModuleStatus } from "./schemas.ts";
import type { PartialSummary } from "./partial.ts";

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

/** Milliseconds between a fact's HLC at its writer and its application here. */
export interface LatencySummary {
  readonly count: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly maxMs: number;
}

/**
 * A chain that is not as it should be. `behind`: it has not come as far again as a damaged store had it. `stale`: more
 * of it was pruned than counts since a revocation or a fork became known, and what it said can't be taken back here.
 */
export type DegradedChainReport =
  | {
      readonly kind: "behind";
      readonly device: string;
      readonly incarnation: string;
      /** Batches that are here. */
      readonly seq: number;
      readonly expected: number;
    }
  | {
      readonly kind: "stale";
      readonly device: string;
      readonly incarnation: string;
      /** Batches that are pruned, and so count for good. */
      readonly seq: number;
      /** Those of them that should. */
      readonly limit: number;
    };

/** How far an agent's own batches have got at one level. */
export interface AckProgress {
  /** Batches that have reached it. */
  readonly batches: number;
  /** Those that have not, and the age of the oldest in milliseconds; absent when there are none. */
  readonly waiting?: { readonly batches: number; readonly oldestMs: number };
}

/** How far what an agent wrote, in all of its process lives, has got. */
export interface AckSummary {
  /** Batches that are durable here. */
  readonly local: number;
  /** As far as hubs have told. */
  readonly hub: AckProgress;
  readonly sealed: AckProgress;
}

/** How a hub stands to the engine that it shares with others. */
export interface EngineReport {
  /** Whether the engine answered when it was last asked. */
  readonly reachable: boolean;
  /** Since when that is so, Unix milliseconds. */
  readonly sinceMs: number;
  /** Why it does not answer. */
  readonly failure?: string;
  /** The newest position of the shared log that is known here, and up to which everything is here. */
  readonly head: number;
  readonly applied: number;
  /** The number of the lease under which this hub seals; absent while another one does. */
  readonly sealingEpoch?: number;
  /** There while another hub runs with the same device key. */
  readonly twin?: true;
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
  /** It takes writes, has all that it ever had, and no damage was found in its store. */
  readonly ready: boolean;
  /** Chains that are behind what a damaged store had of them, until peers bring the rest; and those that say too much. */
  readonly degraded: readonly DegradedChainReport[];
  /** Batches of this device's own earlier lives that its peers had and its store had not: what was lost here, and came back. */
  readonly recovered: number;
  /** Batches that are not kept any more, by the policy on what to retain; all were written before `beforeMs`, Unix milliseconds. */
  readonly pruned: { readonly batches: number; readonly beforeMs?: number };
  readonly scrub: ScrubReport;
  readonly addresses: readonly string[];
  readonly peers: readonly PeerStatus[];
  /** Connections to agents; absent for a hub that is no relay. */
  readonly transport?: TransportStatus;
  readonly documents: number;
  readonly facts: number;
  readonly contested: number;
  /** What keeps the facts of large documents here: WebAssembly, or JavaScript alone. */
  readonly factEngine: "js" | "wasm";
  /** Facts written here since the start, and facts of others applied since the start. */
  readonly written: number;
  readonly applied: number;
  /** Agent only. */
  readonly acknowledged?: AckSummary;
  readonly batches: ReceiveCounters;
  readonly propagation: LatencySummary;
  /** What is left out here; absent on a node that keeps everything. Content digests of nodes that keep less don't compare. */
  readonly partial?: PartialSummary;
  /** Modules that were called here since the start; absent when none was. */
  readonly modules?: readonly ModuleStatus[];
  /** Number of chains, and SHA-256 over all heads: equal on replicas that applied the same batches. */
  readonly chains: number;
  readonly frontier: string;
  /** RFC 6962 root over the canonical leaves; present when asked for, since it reads every fact. */
  readonly digest?: string;
  readonly membership: MembershipSummary;
  /** Hub only: seals made. */
  readonly seals?: number;
  /** Of a hub that shares an engine with others. */
  readonly engine?: EngineReport;
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
  /**
   * Writes facts of one document as one unit. Resolves at the level of acknowledgement that `options` ask for. Rejects
   * with `POLICY_REFUSED` without a grant to write, or on a hub; with `ACK_TIMEOUT` when the write is durable here and has
   * not got further in time: it goes on by itself, and must not be made again. With `POLICY_REFUSED` also when it is
   * durable here and turns out not to count, since a revocation or a fork cut its chain. While links with a budget have a
   * backlog, a write that is not `high` may wait for others to share its batch: `LIMITS.gatherNormalMs` or `LIMITS.gatherLowMs`.
   */
  put(doc: string, facts: readonly FactInput[], options?: WriteOptions): Promise<WriteReceipt>;
  /** Deletes this writer's statements by writing tombstones. Else as {@link put}. */
  delete(doc: string, keys: readonly string[], options?: WriteOptions): Promise<WriteReceipt>;
  /**
   * Rules that what `writer` (device key, hex) has said about a key so far does not count, for a reason. It
   * stays among the candidates. Needs the role `manage`, else `POLICY_REFUSED`; `NOT_FOUND` when the writer
   * has said nothing. Else as {@link put}.
   */
  retract(
    doc: string,
    key: string,
    writer: string,
    reason: string,
    options?: Omit<WriteOptions, "priority">,
  ): Promise<WriteReceipt>;
  /**
   * Resolves once everything that a token names is applied here. Rejects with `INPUT_INVALID` for what is no token, with
   * `READ_BEHIND` after `LIMITS.coverWaitMs`, which is also what becomes of batches that don't count, with
   * `LIMIT_EXCEEDED` while too many wait, with `CLOSED` when the node stops, and with the signal's reason.
   */
  covered(token: string, options?: CallOff): Promise<void>;
  get(doc: string, key: string): VisibleFact | undefined;
  /** Every writer's candidate, newest first, with `dominated` ones included. */
  candidates(doc: string, key: string): readonly Candidate[];
  list(query: ListQuery): readonly VisibleFact[];
  /** Calls `listener` for each change until the returned function is called. The listener must not block. */
  watch(query: WatchQuery, listener: (event: ChangeEvent) => void): () => void;
  status(options?: { readonly digest?: boolean }): Promise<NodeStatus>;
  /** The links to peers, and how busy they are. */
  links(): readonly LinkReport[];
}

/** What a hub offers besides. */
export interface SealingService {
  /**
   * Seals the current state of the space and appends the seal to the log. `after` is the number of the newest
   * seal that anybody has: a hub that was restored or healed needs it once, and one that does not have that seal
   * refuses. `SEALING_UNSAFE` for that, and while a damaged store is not whole again; `INPUT_INVALID` for a number
   * below that of the newest seal here.
   */
  seal(options?: { readonly after?: number }): Promise<SealReceipt>;
  /**
   * The bundle of a seal (the newest without a number) as file bytes; with `batches` those of the sealed chains are
   * enclosed, as far as the hub has kept them. `NOT_FOUND`, `LIMIT_EXCEEDED`.
   */
  bundle(sequence?: number, options?: { readonly batches?: boolean }): Promise<Uint8Array>;
}
