// SPDX-License-Identifier: Apache-2.0
/** What the sync protocol needs of a replica; `Replica` of `@ctxmesh/replica` satisfies it. */
import { decodeBatch } from "@ctxmesh/codec";
import type {
  Clock,
  DeviceKey,
  HeaderHash,
  Hlc,
  Hold,
  IncarnationId,
  ReceiveOutcome,
  SpaceId,
  Subscription,
} from "@ctxmesh/model";
import type {
  BaseNeed,
  BasePiece,
  BaseProgress,
  BatchSource,
  ChainSpan,
  OmittedContent,
} from "@ctxmesh/replica";
import { DIGEST_BYTES } from "./messages.ts";
import type { Chain, ChainHead, ChainSeq } from "./messages.ts";
import { chainKey, isSameHead } from "./chain-map.ts";
import { HeldPositions } from "./held-positions.ts";
import { PullClaims } from "./pull-claims.ts";
import { RangeIndex } from "./ranges.ts";
import type { LocalView } from "./session-state.ts";

/** Which records a replica has: ids of acts, hex, and for each forked chain the first position that does not count. */
export interface RecordIds {
  readonly acts: readonly string[];
  readonly forks: readonly ChainSeq[];
}

/** Records as bytes: acts in causal order, and proofs of equivocation. */
export interface Records {
  readonly acts: readonly Uint8Array[];
  readonly proofs: readonly Uint8Array[];
}

/** A chain's newest batch that counts; `hash` is that of its header, hex. */
export interface ReplicaHead extends ChainSeq {
  readonly hash: string;
}

/** A batch that became durable and visible. */
export interface SyncedBatch {
  readonly bytes: Uint8Array;
  /** What was given to `receive` with it. */
  readonly source: BatchSource | undefined;
  readonly head: ReplicaHead;
  readonly origin: "local" | "remote";
  /** Whether the bytes lack no body. */
  readonly whole: boolean;
  /** Clock of its first fact. */
  readonly firstHlc?: Hlc;
}

/** Membership as far as sync looks at it; changes when acts arrive. */
export interface SyncSpace {
  readonly id: SpaceId;
  readonly grants: { has(device: DeviceKey): boolean };
  readonly revocations: { has(device: DeviceKey): boolean };
}

/** Bases as a replica hands them out and takes them in; see `Bases` of `@ctxmesh/replica`. */
export interface SyncBases {
  offer(): Promise<BasePiece | undefined>;
  part(name: string, part: number, source?: BatchSource): Promise<BasePiece | undefined>;
  take(piece: BasePiece, need: BaseNeed): Promise<BaseProgress>;
}

/** The replica that a sync node runs for; see `Replica` for what each member promises. */
export interface SyncReplica {
  readonly space: SyncSpace;
  readonly device: DeviceKey;
  /** The chains that it writes now; others after a fork. */
  incarnations(): readonly IncarnationId[];
  heads(): readonly ReplicaHead[];
  frontierDigest(): Uint8Array;
  limitOf(replica: DeviceKey, incarnation: IncarnationId): number;
  /** The header at a chain position, hex, if that is here. */
  hashAt(
    replica: DeviceKey,
    incarnation: IncarnationId,
    seq: number,
  ): Promise<HeaderHash | undefined>;
  receive(batch: Uint8Array, source?: BatchSource): Promise<ReceiveOutcome>;
  read(spans: readonly ChainSpan[]): AsyncIterable<ChainSeq & { readonly bytes: Uint8Array }>;
  onApplied(listener: (applied: SyncedBatch) => void): () => void;
  recordIds(): RecordIds;
  recordsDigest(): Uint8Array;
  readRecords(known: RecordIds): Records;
  addRecords(records: Partial<Records>): Promise<{
    readonly added: number;
    readonly refused: readonly { readonly code: string; readonly message: string }[];
  }>;
  onRecords(listener: () => void): () => void;
  readonly bases: SyncBases;
  missing(olderThanMs: number): readonly HeaderHash[];
  signedHeaders(hash: HeaderHash, source?: BatchSource): Promise<readonly Uint8Array[]>;
  addHeaders(headers: readonly Uint8Array[], source?: BatchSource): Promise<void>;
  /** What of others' batches is kept; undefined for everything. */
  readonly subscription: Subscription | undefined;
  readonly omitted: Pick<OmittedContent, "isNone" | "find" | "add">;
}

/** Why a batch waits that nobody can bring anything for. */
const WAITING: ReadonlySet<Hold> = new Set<Hold>(["clock-ahead", "grant-time", "quota"]);

/** A head as it is told: half of its hash is enough to notice a difference, which the batches then prove. */
export const headToTell = ({ replica, incarnation, seq, hash }: ReplicaHead): ChainHead => ({
  replica,
  incarnation,
  seq,
  hash: hash.slice(0, 32),
});

/** The replica as sessions see it: the replica's own heads, indexed, since sessions look up one chain at a time. */
export class ReplicaView implements LocalView {
  readonly space: SpaceId;
  readonly subscription: Subscription | undefined;
  readonly vouches: boolean;
  readonly #replica: SyncReplica;
  readonly #clock: Clock;
  /** What sessions have asked for. */
  readonly claims: PullClaims = new PullClaims();
  readonly #held = new HeldPositions();
  #heads: Map<string, ChainHead> | undefined;
  #ranges: RangeIndex | undefined;
  /** The frontier of the newest seal, by chain. */
  #sealed = new Map<string, ChainHead>();

  constructor(replica: SyncReplica, vouches: boolean, clock: Clock) {
    this.space = replica.space.id;
    this.subscription = replica.subscription;
    this.#clock = clock;
    this.#replica = replica;
    this.vouches = vouches;
  }

  sealed(): readonly ChainHead[] {
    return [...this.#sealed.values()];
  }

  /** There is a new seal with this frontier; returns what of it has moved since the one before. */
  seal(frontier: readonly ReplicaHead[]): readonly ChainHead[] {
    const before = this.#sealed;
    const heads = frontier.map(headToTell);
    this.#sealed = new Map(heads.map((head) => [chainKey(head), head]));
    return heads.filter((head) => !isSameHead(head, before.get(chainKey(head))));
  }

  /** A batch moved a head; what sessions are to be told. */
  applied(head: ReplicaHead): ChainHead {
    const told = headToTell(head);
    this.#heads?.set(chainKey(told), told);
    if (this.#ranges?.move(told) === false) this.#ranges = undefined;
    return told;
  }

  /** Records changed what counts, so any head may have moved either way. */
  recordsChanged(): void {
    this.#heads = undefined;
    this.#ranges = undefined;
  }

  /** The replica has said what becomes of a batch. */
  received(batch: Uint8Array, outcome: ReceiveOutcome): void {
    const isHeld = outcome.kind === "held" && WAITING.has(outcome.reason);
    if (!isHeld && (outcome.kind !== "duplicate" || this.#held.isEmpty)) return;
    const { replica, incarnation, seq } = decodeBatch(batch).header;
    const at = { replica, incarnation, seq };
    const nowMs = this.#clock.now();
    if (isHeld) this.#held.held(at, (this.headOf(at)?.seq ?? 0) + 1, nowMs);
    else this.#held.again(at, nowMs);
  }

  isClaimed(chain: Chain, session: number): boolean {
    return this.claims.has(chain, session);
  }

  isHeld(at: ChainSeq): boolean {
    return this.#held.has(at, this.#clock.now());
  }

  own(): readonly Chain[] {
    const { device: replica } = this.#replica;
    return this.#replica.incarnations().map((incarnation) => ({ replica, incarnation }));
  }

  #index(): Map<string, ChainHead> {
    this.#heads ??= new Map(
      this.#replica.heads().map((head) => [chainKey(head), headToTell(head)]),
    );
    return this.#heads;
  }

  heads(): readonly ChainHead[] {
    return [...this.#index().values()];
  }

  headsByChain(): ReadonlyMap<string, ChainHead> {
    return this.#index();
  }

  /** Number of chains. */
  get size(): number {
    return this.#index().size;
  }

  ranges(): RangeIndex {
    this.#ranges ??= new RangeIndex(this.#index().values());
    return this.#ranges;
  }

  headOf(chain: Chain): ChainHead | undefined {
    return this.#index().get(chainKey(chain));
  }

  // What a device without a grant wrote would be refused, so it is never asked for: the peer that has it
  // knows of a grant that we do not, and tells us that first.
  limitOf({ replica, incarnation }: Chain): number {
    const { grants, revocations } = this.#replica.space;
    return grants.has(replica) || revocations.has(replica)
      ? this.#replica.limitOf(replica, incarnation)
      : 0;
  }

  digest(): Uint8Array {
    return this.#replica.frontierDigest().subarray(0, DIGEST_BYTES);
  }

  recordsDigest(): Uint8Array {
    return this.#replica.recordsDigest().subarray(0, DIGEST_BYTES);
  }

  recordIds(): RecordIds {
    return this.#replica.recordIds();
  }
}
