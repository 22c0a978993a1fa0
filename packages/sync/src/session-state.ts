// SPDX-License-Identifier: Apache-2.0
/** What a session knows, what can happen to it, and what it may ask of its driver. */
import type { AckLevel, HeaderHash, SpaceId, Subscription } from "@ctxmesh/model";
import type {
  BaseNeed,
  BasePiece,
  BaseProgress,
  ChainSpan,
  FoundBody,
  SectionRef,
  Wants,
} from "@ctxmesh/replica";
import { noChains } from "./chain-map.ts";
import type { ChainMap } from "./chain-map.ts";
import type { Settled, Walks } from "./forks.ts";
import type { Chain, ChainHead, ChainSeq, SyncMessage } from "./messages.ts";
import { NO_ROUTES } from "./relay-choice.ts";
import type { Routes } from "./relay-choice.ts";
import type { RangeIndex } from "./ranges.ts";
import { noBase } from "./base-state.ts";
import type { BaseState } from "./base-state.ts";
import type { RecordIds, Records } from "./sync-replica.ts";

/** What only a hub can say of a batch. */
export type ConfirmedLevel = Exclude<AckLevel, "local">;

/** What the machine may read of the local replica. */
export interface LocalView {
  readonly space: SpaceId;
  /** What of others' batches is kept here; undefined for everything. */
  readonly subscription?: Subscription | undefined;
  /** Over all heads. */
  digest(): Uint8Array;
  heads(): readonly ChainHead[];
  /** The same heads, by key. */
  ranges(): RangeIndex;
  headOf(chain: Chain): ChainHead | undefined;
  /** The same heads by `chainKey`, for who goes over many chains: to make a key costs more than to look it up. */
  headsByChain(): ReadonlyMap<string, ChainHead>;
  /** The chains that we are writing: one, and one for each lane. */
  own(): readonly Chain[];
  /** Whether the batch at a position is here and waits for time, an act or room, so that to ask for it is no use. */
  isHeld(at: ChainSeq): boolean;
  /** Whether another session than this one has asked for a chain and waits for it. */
  isClaimed(chain: Chain, session: number): boolean;
  /** The highest position of a chain that can count here: Infinity as long as nothing speaks against it. */
  limitOf(chain: Chain): number;
  /** Over all records. */
  recordsDigest(): Uint8Array;
  recordIds(): RecordIds;
  /** Whether we are a hub, whose word remotes take for what is durable and sealed. */
  readonly vouches: boolean;
  /** The frontier of our newest seal; empty without one. */
  sealed(): readonly ChainHead[];
}

/** A pull without an answer yet. */
export interface Pulling {
  readonly spans: readonly ChainSpan[];
  /** Whether it is to find forks; then it asks for nothing else. */
  readonly probing: boolean;
}

/** A header that was asked for. */
export interface Wanted {
  /** How often. */
  readonly times: number;
  /** Not before this time is it asked for again, Unix milliseconds. */
  readonly afterMs: number;
}

/** The state of one session; immutable. */
export interface SessionState {
  /** Number of the session among those of the node. */
  readonly id: number;
  /** Something was not asked for since another session is about to bring it. */
  readonly passedOver: boolean;
  readonly phase: "greeting" | "open" | "closed";
  /** The remote's last word about each chain. A later word may be lower, once something speaks against the chain. */
  readonly said: ChainMap<ChainHead>;
  /** How far we sent a chain, or the remote brought it, whatever it has said since. */
  readonly sent: ChainMap<ChainSeq>;
  /** Our heads as the remote was told them; it remembers, so only what has moved since is told again. */
  readonly told: ChainMap<ChainHead>;
  readonly pulling: Pulling | undefined;
  /** A pull of a chain of our own behind that one, which waits for nothing. */
  readonly alarm: Pulling | undefined;
  /** The remote's heads of chains of our own that we asked about, since they contradict us. */
  readonly doubted: ChainMap<ChainHead>;
  /** Chains of which the last answer brought nothing, with the remote's word about them: asked for again once something changes. */
  readonly stuck: ReadonlyMap<string, number>;
  /** What of others' batches the remote keeps; undefined for everything. */
  readonly keeps: Wants | undefined;
  /** Bodies that were wished for and not answered yet. */
  readonly fetching: readonly SectionRef[] | undefined;
  /** Searches for the position where a chain forks. */
  readonly walks: Walks;
  /** Chains to tell the remote about. */
  readonly news: ReadonlyMap<string, Chain>;
  /** Chains to tell the remote about, but not soon. */
  readonly late: ReadonlyMap<string, Chain>;
  /** When those become news, Unix milliseconds; undefined before the first tick that sees some. */
  readonly lateDueMs: number | undefined;
  /** What the remote wants pushed. */
  readonly routes: Routes;
  /** The digest over our heads as we told it in hello, hex. */
  readonly greeted: string | undefined;
  /** When digests were last compared, by the word of either end, Unix milliseconds; 0 before the first tick. */
  readonly comparedMs: number;
  /** When to compare digests without being told to, Unix milliseconds: soon after records changed or something had to be held. */
  readonly digestDueMs: number | undefined;
  /** The remote's digest over its records, hex, as it last said. */
  readonly remoteRecords: string | undefined;
  /** We said which records we know and wait for the rest; until then nothing is pulled that they may speak against. */
  readonly comparing: boolean;
  /** Our records are to be said as soon as `recordsAfterMs` allows. */
  readonly recordsOwed: boolean;
  /** Not before this time do we say again which records we know, Unix milliseconds. */
  readonly recordsAfterMs: number;
  /** The time of the last tick, Unix milliseconds; 0 before the first. */
  readonly clockMs: number;
  /** Headers that were asked for and are still missing. */
  readonly wanted: ReadonlyMap<HeaderHash, Wanted>;
  /** Not before this time do we ask for any headers again, Unix milliseconds. */
  readonly wantAfterMs: number;
  /** Wants without an answer. */
  readonly wants: number;
  /** Whether the remote is a hub, whose word we take for what is durable and sealed. */
  readonly believes: boolean;
  readonly owed: Owed;
  readonly base: BaseState;
}

/** What we as a hub have yet to tell a remote that waits for it. */
export interface Owed {
  readonly stored: ChainMap<ChainHead>;
  readonly sealed: ChainMap<ChainHead>;
  /** A message of either kind is on its way; what comes meanwhile gathers for the next one. */
  readonly sending: boolean;
}

/** What happens to a session. */
export type SessionEvent =
  | { readonly type: "opened" }
  | { readonly type: "message"; readonly message: SyncMessage }
  /** A batch became durable here: this remote brought it, should get it at once, or should hear of it, soon or late. */
  | {
      readonly type: "applied";
      readonly head: ChainHead;
      readonly batch: Uint8Array;
      readonly how: "brought" | "push" | "tell" | "late";
    }
  /** What we want pushed has changed. */
  | { readonly type: "routes"; readonly routes: Routes }
  /** Batches up to these positions were sent in answer to a pull. */
  | { readonly type: "served"; readonly heads: readonly ChainSeq[] }
  /** The batches of the last answer are settled. What became of each is told for probes, and when none was new. */
  | {
      readonly type: "delivered";
      readonly accepted: boolean;
      readonly settled: readonly Settled[];
    }
  /** A batch of this remote had to be held for something that is missing here. */
  | { readonly type: "held"; readonly nowMs: number }
  /** Records took effect: these, or too many to push. */
  | { readonly type: "records-changed"; readonly records: Records; readonly nowMs: number }
  /** The records of the last `acts` are settled; `more` of them are to be had. */
  | { readonly type: "records-added"; readonly added: number; readonly more: boolean }
  /** Digests are to be compared now. */
  | { readonly type: "compare"; readonly nowMs: number }
  /** Held batches wait for these headers. */
  | { readonly type: "missing"; readonly hashes: readonly HeaderHash[]; readonly nowMs: number }
  /** Bodies that were left out are wanted now; `only` those of facts of which it wants some. */
  | {
      readonly type: "fetch";
      readonly wanted: readonly SectionRef[];
      readonly only: Subscription | undefined;
    }
  /** The remote is to be asked something. */
  | { readonly type: "ask"; readonly id: number; readonly question: Uint8Array }
  /** Seals cover these now. */
  | { readonly type: "sealed"; readonly heads: readonly ChainHead[] }
  /** The channel took the last `vouch`. */
  | { readonly type: "vouched" }
  /** What became of the last part of a base. */
  | { readonly type: "base-taken"; readonly progress: BaseProgress }
  /** A part of a base was sent. */
  | { readonly type: "base-served" }
  /** Another session has begun to fetch a base, or has ended it. */
  | { readonly type: "base-elsewhere"; readonly elsewhere: boolean }
  /** What another session was about to bring may be asked for here now. */
  | { readonly type: "freed" }
  | { readonly type: "tick"; readonly nowMs: number };

/** What the driver has to do. */
export type SessionEffect =
  | { readonly type: "send"; readonly message: SyncMessage }
  /** Give batches to the replica; for a pulled answer report `delivered` afterwards. */
  | {
      readonly type: "deliver";
      readonly batches: readonly Uint8Array[];
      readonly pulled: boolean;
      /** Report what became of each batch in any case. */
      readonly probing: boolean;
    }
  /** Read spans and send them as one `batches` message. */
  | { readonly type: "serve"; readonly spans: readonly ChainSpan[] }
  /** Send what the remote lacks of the records as one `acts` message; of a part that it did not name, nothing. */
  | {
      readonly type: "serve-records";
      readonly acts: readonly string[] | undefined;
      readonly forks: readonly ChainSeq[] | undefined;
    }
  /** Give records to the replica and report `records-added` afterwards. */
  | { readonly type: "add-records"; readonly records: Records; readonly more: boolean }
  /** Read headers and send them as one `headers` message. */
  | { readonly type: "serve-headers"; readonly hashes: readonly HeaderHash[] }
  /** Read bodies and send them as one `bodies` message. */
  | {
      readonly type: "serve-bodies";
      readonly wanted: readonly SectionRef[];
      readonly only: Subscription | undefined;
    }
  /** Give bodies, which were wished for, to whoever did. */
  | { readonly type: "add-bodies"; readonly bodies: readonly FoundBody[] }
  /** Give headers to the replica. */
  | { readonly type: "add-headers"; readonly headers: readonly Uint8Array[] }
  /** Send it, and report `vouched` once the channel took it. */
  | { readonly type: "vouch"; readonly message: SyncMessage }
  /** The remote, a hub, has these positions on its disk, or under a seal. */
  | {
      readonly type: "confirm";
      readonly level: ConfirmedLevel;
      readonly heads: readonly ChainHead[];
    }
  /** Read a part of a base, or the manifest of the newest, send it, and report `base-served`. */
  | { readonly type: "serve-base"; readonly base: string | undefined; readonly part: number }
  /** Give a part of a base to the replica and report `base-taken` afterwards. */
  | { readonly type: "take-base"; readonly piece: BasePiece; readonly need: BaseNeed }
  /** Answer a question of the remote with one `answer` message. */
  | { readonly type: "serve-ask"; readonly id: number; readonly question: Uint8Array }
  /** Give an answer to whoever asked. */
  | { readonly type: "take-answer"; readonly id: number; readonly answer: Uint8Array }
  | { readonly type: "close"; readonly reason: string };

/** A step's result. */
export interface Step {
  readonly state: SessionState;
  readonly effects: readonly SessionEffect[];
}

/** The state before anything happened. */
export const initialState: SessionState = {
  id: 0,
  passedOver: false,
  phase: "greeting",
  said: noChains,
  sent: noChains,
  told: noChains,
  pulling: undefined,
  alarm: undefined,
  doubted: noChains,
  stuck: new Map(),
  keeps: undefined,
  fetching: undefined,
  walks: new Map(),
  news: new Map(),
  late: new Map(),
  lateDueMs: undefined,
  routes: NO_ROUTES,
  greeted: undefined,
  comparedMs: 0,
  digestDueMs: undefined,
  remoteRecords: undefined,
  comparing: false,
  recordsOwed: false,
  recordsAfterMs: 0,
  clockMs: 0,
  wanted: new Map(),
  wantAfterMs: 0,
  wants: 0,
  believes: false,
  owed: { stored: noChains, sealed: noChains, sending: false },
  base: noBase,
};

/** A step that changes nothing but `state`. */
export const stay = (state: SessionState, ...effects: SessionEffect[]): Step => ({
  state,
  effects,
});

/** Sends a message. */
export const send = (message: SyncMessage): SessionEffect => ({ type: "send", message });

/** One step after another. */
export function andThen(first: Step, next: (state: SessionState) => Step): Step {
  const second = next(first.state);
  return { state: second.state, effects: [...first.effects, ...second.effects] };
}
