// SPDX-License-Identifier: Apache-2.0
/** What a checker sees of a run, and where a test may put something else in place of a part. */
import type { SealKeys } from "@ctxmesh/hub";
import type { Space } from "@ctxmesh/membership";
import type {
  Channel,
  Clock,
  CompareReceipt,
  DeviceKey,
  DeviceSigner,
  JsonValue,
  LevelService,
  LeveledFact,
  RandomSource,
  SealReceipt,
  SealingService,
  SignatureVerifier,
  Store,
  VisibleFact,
  WriteReceipt,
} from "@ctxmesh/model";
import type { AppliedBatch, Replica } from "@ctxmesh/replica";
import type { NodeService } from "@ctxmesh/service";
import type { SyncNode, SyncReplica } from "@ctxmesh/sync";
import type { DiskImage } from "./disk-image.ts";
import type { Plan, PlannedEvent, WorkStep } from "./plan.ts";
import type { NetworkCounts } from "./virtual-network.ts";

/**
 * Parts of a node that a test may wrap, so as to plant a bug outside the code under test. Each gets the node's id and
 * the part, and returns what the node is to use; each is called at every start of the node, `channel` for every channel.
 */
export interface Collaborators {
  readonly store?: (node: string, store: Store) => Store;
  readonly channel?: (node: string, channel: Channel) => Channel;
  readonly clock?: (node: string, clock: Clock) => Clock;
  readonly verifier?: (node: string, verifier: SignatureVerifier) => SignatureVerifier;
  readonly random?: (node: string, random: RandomSource) => RandomSource;
  readonly signer?: (node: string, signer: DeviceSigner) => DeviceSigner;
  /** The space file from which the node starts. */
  readonly space?: (node: string, space: Space) => Space;
  /** The replica as clients and checkers see it; what sync is given is made of it. */
  readonly replica?: (node: string, replica: Replica) => Replica;
  /** The replica as sync sees it. */
  readonly syncReplica?: (node: string, replica: SyncReplica) => SyncReplica;
  readonly sealKeys?: (node: string, keys: SealKeys) => SealKeys;
  readonly sealing?: (node: string, sealing: SealingService) => SealingService;
}

/** The running process of a node. */
export interface ProcessView {
  readonly replica: Replica;
  readonly sync: SyncNode;
  readonly service: NodeService;
  readonly levels: LevelService;
  /** Hubs only. */
  readonly sealing?: SealingService;
  /** Simulated milliseconds. */
  readonly startedMs: number;
}

/** A node as a checker sees it. */
export interface NodeView {
  readonly id: string;
  readonly kind: "agent" | "hub";
  readonly device: DeviceKey;
  /** The original of which this is a clone. */
  readonly cloneOf: string | undefined;
  /** Absent while it is down or starting. */
  readonly process: ProcessView | undefined;
  readonly isPaused: boolean;
  readonly clock: Clock;
  /** What is durable on its disk. */
  readonly image: DiskImage;
  /** When something on its disk rotted, or it was restored from a backup, in simulated milliseconds: from then on it may lack what it had acknowledged. */
  readonly lostMediaMs: number | undefined;
  /** Batches in hold, sent and unread bytes of its channels: what must stay bounded. */
  queues(): { readonly held: number; readonly unreadBytes: number; readonly channels: number };
}

/** A write that a client was told is durable. */
export interface Acknowledged {
  readonly id: number;
  readonly atMs: number;
  readonly node: string;
  readonly device: DeviceKey;
  readonly what: "put" | "delete" | "retract" | "edit";
  readonly doc: string;
  /** Absent for edits. */
  readonly key?: string;
  readonly value?: JsonValue;
  readonly ttlMs?: number;
  readonly receipt: WriteReceipt;
}

/** A seal that a hub has told somebody of. */
export interface Sealed {
  readonly atMs: number;
  readonly node: string;
  readonly receipt: SealReceipt;
  readonly bundle: Uint8Array;
}

/** What happens in a run; `node` is an id. */
export type SimEvent =
  /** A planned step is about to be taken. */
  | { readonly type: "step"; readonly step: PlannedEvent }
  | { readonly type: "opened"; readonly node: string; readonly healed: boolean }
  | { readonly type: "stopped"; readonly node: string; readonly why: string }
  | { readonly type: "applied"; readonly node: string; readonly batch: AppliedBatch }
  | { readonly type: "records"; readonly node: string }
  | { readonly type: "acknowledged"; readonly node: string; readonly write: Acknowledged }
  | {
      readonly type: "refused";
      readonly node: string;
      readonly what: string;
      readonly code: string;
    }
  | {
      readonly type: "read";
      readonly node: string;
      readonly client: string;
      readonly doc: string;
      readonly key: string;
      readonly fact: VisibleFact | undefined;
    }
  /** The answer to a read at a level, which was asked for at a simulated time. */
  | {
      readonly type: "answered";
      readonly node: string;
      readonly step: WorkStep & { readonly do: "ask" };
      readonly askedMs: number;
      readonly answer: LeveledFact;
    }
  /** What became of a strong write; without a receipt the code of why not. */
  | {
      readonly type: "decided";
      readonly node: string;
      readonly step: WorkStep & { readonly do: "set" };
      readonly expected: string | null;
      readonly receipt?: CompareReceipt;
      readonly code?: string;
    }
  | { readonly type: "sealed"; readonly node: string; readonly seal: Sealed }
  /** The faults are over; everybody is being started and connected. */
  | { readonly type: "healing" }
  /** Everything that the last event set off has come to rest. */
  | { readonly type: "settled" };

/** All that a checker may look at. */
export interface World {
  readonly plan: Plan;
  /** Simulated milliseconds. */
  readonly nowMs: number;
  readonly phase: "safety" | "healing" | "end";
  /** In the order of the plan, then clones. */
  readonly nodes: readonly NodeView[];
  node(id: string): NodeView | undefined;
  /** The device of a node or a hostile peer. */
  deviceOf(name: string): DeviceKey;
  readonly acknowledged: readonly Acknowledged[];
  readonly seals: readonly Sealed[];
  networkCounts(): NetworkCounts;
  /** What happened so far, by name: each kind of step that was carried out, and effects of faults. */
  readonly counts: ReadonlyMap<string, number>;
}

/** Looks on, and throws when something is that must not be. One is made for each run. */
export interface Checker {
  /** Such as `I1`. */
  readonly name: string;
  onEvent?(event: SimEvent, world: World): void;
  /** After faults have stopped and everything has come to rest. */
  atEnd?(world: World): void | Promise<void>;
}
