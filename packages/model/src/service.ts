// SPDX-License-Identifier: Apache-2.0
/** What a running node (agent or hub) offers to local callers; the local API carries exactly this. */
import type { Candidate, FactInput, VisibleFact, WriteOptions, WriteReceipt } from "./facts.ts";
import type { CallOff } from "./history.ts";
import type { ChannelSecurity } from "./ports.ts";
import type { ReceiveCounters } from "./outcomes.ts";
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

/** A connected peer. */
export interface PeerStatus {
  readonly device: string;
  readonly address: string;
  readonly role: "agent" | "hub";
  readonly connectedSinceMs: number;
  /** The peer's last known frontier equals ours. */
  readonly inSync: boolean;
  /** What protects the connection, as negotiated; absent where the transport does not know. */
  readonly security?: ChannelSecurity;
}

/** A relay of an agent's configuration. */
export interface RelayStatus {
  readonly device: string;
  readonly address: string;
  readonly connected: boolean;
  /** Whether others can reach this agent through it. */
  readonly reserved: boolean;
}

/** A node's connections to agents, and those that did not come about. */
export interface TransportStatus {
  /** Refusals since the start, by kind: `membership`, `handshake`, `security`, `version`, `protocol`, `relay`, and `remote` for those of others. */
  readonly refusals: Readonly<Record<string, number>>;
  /** An agent's relays. */
  readonly relays?: readonly RelayStatus[];
  /** What a hub relays: agents that are reachable through it, and circuits between two of them. */
  readonly relaying?: { readonly reservations: number; readonly circuits: number };
}

/** What goes first over a link: what keeps peers in step, and then batches by their priority. */
export type LinkClass = "control" | "high" | "normal" | "low";

/** What waits in one class. */
export interface LinkQueue {
  readonly messages: number;
  readonly bytes: number;
}

/** Bytes that passed since the link was opened, and per second of late. */
export interface LinkRate {
  readonly bytes: number;
  readonly perSecond: number;
}

/** A link to a peer, and how busy it is. */
export interface LinkReport {
  readonly device: string;
  readonly address: string;
  readonly role: "agent" | "hub";
  readonly connectedSinceMs: number;
  readonly security?: ChannelSecurity;
  readonly inSync: boolean;
  /** Whether an answer to a pull is waited for. */
  readonly pulling: boolean;
  readonly traffic: {
    /** Bytes per second that may go out; absent without a limit. */
    readonly budget?: number;
    readonly in: LinkRate;
    readonly out: LinkRate;
    readonly queue: Readonly<Record<LinkClass, LinkQueue>>;
    /** Pushes that found no room since the link was opened, and about how many bytes of them the peer has yet to pull. */
    readonly deferred: { readonly pushes: number; readonly bytes: number };
    /** Bytes of facts that were not sent, since their time was over. */
    readonly expiredBytes: number;
    /** How long it takes to send what is known to wait, in milliseconds. */
    readonly drainMs: number;
  };
}

/** Milliseconds between a fact's HLC at its writer and its application here. */
export interface LatencySummary {
  readonly count: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly maxMs: number;
}

/** What a member may do, each including the ones before it. */
export type MemberRole = "read" | "append" | "write" | "manage";

/**
 * How a member stands: `active`; `expiring` within seven days; `expired`, with nothing to follow; `upcoming`, its
 * first grant has yet to begin; `revoked`, for ever.
 */
export type MemberState = "active" | "expiring" | "expired" | "upcoming" | "revoked";

/** A grant that was issued and is not filtered. Times are Unix milliseconds, both included. */
export interface GrantReport {
  /** Id of the act, hex. */
  readonly act: string;
  /** Number of the grant in the space, as its issuer counted. */
  readonly index: number;
  readonly service: "agent" | "hub";
  readonly role: MemberRole;
  readonly notBefore: number;
  readonly notAfter: number;
  /** The key that issued it: of a creator, a manager or an invite. */
  readonly by: string;
  /** Whether that was the key of an invite. */
  readonly invited: boolean;
}

/** A device that has, or had, a grant. */
export interface MemberReport {
  readonly device: string;
  /** Number of its first grant. */
  readonly index: number;
  readonly service: "agent" | "hub";
  /** The role now; of the nearest grant where none covers this moment. */
  readonly role: MemberRole;
  readonly state: MemberState;
  /** End of the last grant, Unix milliseconds. */
  readonly until: number;
  /** By their beginning. */
  readonly grants: readonly GrantReport[];
}

/** A device or an invite that was shut out. */
export interface RevocationReport {
  /** The key of a device or an invite. */
  readonly device: string;
  /** Unix milliseconds, by the clock of whoever revoked it. */
  readonly time: number;
  readonly reason: string;
  readonly by: readonly string[];
  /** Number of its chains of which something stands. */
  readonly kept: number;
}

/** A key that lets whoever has it join. */
export interface InviteReport {
  readonly key: string;
  readonly service: "agent" | "hub";
  readonly role: MemberRole;
  /** Unix milliseconds. */
  readonly notAfter: number;
  readonly by: string;
  readonly state: "open" | "expired" | "revoked";
  /** Devices that joined with it. */
  readonly joined: readonly string[];
}

/** An act that is known and has no effect. */
export interface FilteredActReport {
  readonly act: string;
  readonly kind: string;
  readonly author: string;
  /** Unix milliseconds, by its author's clock. */
  readonly time: number;
  readonly problem: string;
}

/** One process life of a device, and what of it counts. */
export interface ChainReport {
  readonly device: string;
  readonly incarnation: string;
  /** Batches that count: those up to this number. */
  readonly seq: number;
  /** Hash of that batch's header, hex, and its time, Unix milliseconds; absent when none counts. */
  readonly hash?: string;
  readonly lastMs?: number;
  /** The most that can count: up to a revocation, below a proven fork; absent without a limit. */
  readonly limit?: number;
  /** Batches that are stored here and do not count, and why; `content`: one holds what it must not; `waiting`: for one that is not here yet. */
  readonly void: number;
  readonly reason?: "revoked" | "equivocation" | "grant" | "content" | "waiting";
}

/** Who belongs to a space, as one node knows it. */
export interface MembershipReport {
  readonly space: string;
  readonly name: string;
  readonly creators: readonly string[];
  /** Over all acts and known forks, hex: equal on nodes that know the same. */
  readonly digest: string;
  readonly policyEpoch: number;
  /** By index. */
  readonly members: readonly MemberReport[];
  readonly revocations: readonly RevocationReport[];
  readonly invites: readonly InviteReport[];
  readonly filtered: readonly FilteredActReport[];
  readonly chains: readonly ChainReport[];
}

/** What became of acts that were handed in. */
export interface ActsReceipt {
  /** Number of acts that were not known before. */
  readonly added: number;
  readonly refused: readonly { readonly code: string; readonly message: string }[];
}

/** A proof that a device signed two histories: `proof` is CBOR in base64, and convinces without anything else. */
export interface EvidenceReport {
  readonly device: string;
  readonly incarnation: string;
  /** The first batch of the chain that no longer counts. */
  readonly seq: number;
  readonly proof: string;
}

/** Membership in a node's status. */
export interface MembershipSummary {
  /** As in {@link MembershipReport}. */
  readonly digest: string;
  /** Devices that are not revoked. */
  readonly members: number;
  /** Devices that are. */
  readonly revoked: number;
  /** Forked chains, of which there is proof. */
  readonly forks: number;
  /** Whether one of them is of this device: two processes wrote as one. */
  readonly ownFork: boolean;
  readonly voidBatches: number;
  /** This device's own standing; absent when it has no grant at all. */
  readonly grant?: {
    readonly state: MemberState;
    readonly role: MemberRole;
    /** Unix milliseconds. */
    readonly until: number;
  };
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

/** The check of a store for what rots while nobody reads it. Times are Unix milliseconds. */
export interface ScrubReport {
  /** When the one under way was begun; absent when none is. */
  readonly startedAt?: number;
  /** The last one that was ended since the node was started. */
  readonly last?: {
    readonly endedAt: number;
    /** Files and records that were checked. */
    readonly tables: number;
    readonly records: number;
    /** How many of them are damaged. */
    readonly damaged: number;
    /** Why it came to no end, where it did not. */
    readonly failure?: string;
  };
  /** What is damaged, by any check since the store was opened: the file or the record, 100 at most. */
  readonly findings: readonly string[];
}

/** How a store is encrypted. Times are Unix milliseconds. */
export interface KeysReport {
  /** Without encryption nothing else is here. */
  readonly encrypted: boolean;
  readonly keys?: {
    /** The key that protects the store's key, such as `file:/etc/ctxmesh/store.key`. */
    readonly provider: string;
    /** Number of the store's key: 1, and one more for each new one; and when it was made. */
    readonly storeKey: number;
    readonly storeKeyMadeMs: number;
    /** A new store key was begun and does not wrap every data key yet; the next start goes on with it. */
    readonly rotating: boolean;
    readonly dataKeys: number;
    /** Documents, and generations of them, that have data keys. */
    readonly documents: number;
    /** The most epochs that one of them has had. */
    readonly epochs: number;
    /** Of the data keys that encrypt now: when the oldest and the newest were made; absent without any. */
    readonly oldestMs?: number;
    readonly newestMs?: number;
    /** Whether what was written before encryption was switched on is read as it is. */
    readonly acceptsPlain: boolean;
  };
}

/** What became of the data keys when their store key was replaced. */
export interface RewrapReport {
  /** The key that protects the store's key now. */
  readonly provider: string;
  /** Data keys that were wrapped anew, and those whose records are damaged and stayed as they are. */
  readonly rewrapped: number;
  readonly unreadable: number;
}

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
  /** Facts written here since the start, and facts of others applied since the start. */
  readonly written: number;
  readonly applied: number;
  /** Agent only. */
  readonly acknowledged?: AckSummary;
  readonly batches: ReceiveCounters;
  readonly propagation: LatencySummary;
  /** What is left out here; absent on a node that keeps everything. Content digests of nodes that keep less don't compare. */
  readonly partial?: PartialSummary;
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

/** What a node knows of the members of its space, and takes in about them. */
export interface MembershipService {
  membership(): MembershipReport;
  /**
   * Takes in signed membership acts (CBOR records); in effect and durable once it resolves, and passed on to
   * the peers. Wrong ones are named in the receipt. Rejects with `STORE_FAILED` or `CLOSED`.
   */
  addActs(records: readonly Uint8Array[]): Promise<ActsReceipt>;
  /** The text of a space file with every act that this node knows. */
  spaceFile(): string;
  /** Proofs of forked chains. */
  evidence(): readonly EvidenceReport[];
}

/** What a node offers for the care of its store. */
export interface CareService {
  /** How the store is encrypted. */
  keys(): KeysReport;
  /** Ends the epochs of all data keys; resolves with their number. `INPUT_INVALID` without encryption, `STORE_FAILED`. */
  rotateKeys(): Promise<number>;
  /**
   * Protects the store with another key, whose location is a text such as `file:/etc/ctxmesh/store.key`, and wraps
   * all data keys with a new store key. Payloads stay as they are. Rejects with `INPUT_INVALID`, with
   * `KEY_INVALID`, `CONFIG_INVALID`, `FILE_UNAVAILABLE` or `UNREACHABLE` of the key, and with `STORE_FAILED`.
   */
  rewrapKeys(to: string): Promise<RewrapReport>;
  /** Begins a check of the whole store unless one is under way; how it goes is in the report, and in the status. */
  scrub(): ScrubReport;
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
