// SPDX-License-Identifier: Apache-2.0
/** Views, events and small helpers for tests of the state machine. */
import { parseDeviceKey, parseHeaderHash, parseIncarnationId, parseSpaceId } from "@ctxmesh/model";
import type { HeaderHash, SpaceId } from "@ctxmesh/model";
import { RangeIndex, initialState, rangeKey, step } from "@ctxmesh/sync";
import type {
  ChainHead,
  LocalView,
  RecordIds,
  SessionEffect,
  SessionEvent,
  SessionState,
  SyncMessage,
} from "@ctxmesh/sync";

/** Where the tests begin, Unix milliseconds. */
export const NOW_MS = 1_000_000;
/** The space of all views. */
export const SPACE: SpaceId = parseSpaceId("5a".repeat(32));
/** Bytes that nobody looks into. */
export const BATCH: Uint8Array = Uint8Array.of(1, 2, 3);
/** A header hash. */
export const HASH: HeaderHash = parseHeaderHash("ab".repeat(32));

/** The head of chain number `n`, on a branch of it. */
export const head = (n: number, seq: number, branch = 1): ChainHead => ({
  replica: parseDeviceKey(n.toString(16).padStart(64, "0")),
  incarnation: parseIncarnationId("0".repeat(32)),
  seq,
  hash: `${String(branch)}${String(seq)}`.padStart(32, "0"),
});

/** What a view may be told besides its chains. */
export interface ViewOptions {
  /** Acts by number; the digest over records is derived from them. */
  readonly acts?: readonly number[];
  readonly limits?: Readonly<Record<number, number>>;
  readonly branch?: number;
  /** The number of its own chain, or of each. */
  readonly own?: number | readonly number[];
  /** Chains of which a batch is held, and at which position. */
  readonly heldAt?: Readonly<Record<number, number>>;
  /** Chains that another session has asked for. */
  readonly claimed?: readonly number[];
  /** Whether it is a hub, with a seal over these chains. */
  readonly sealed?: Readonly<Record<number, number>>;
}

const numberOf = ({ replica }: Pick<ChainHead, "replica">): number => Number.parseInt(replica, 16);

/** A local replica with chains as given by number and length; its digest is derived from them. */
export function viewOf(
  chains: Readonly<Record<number, number>> = {},
  {
    acts = [],
    limits = {},
    branch = 1,
    own = 0xffff_ffff,
    heldAt = {},
    claimed = [],
    sealed,
  }: ViewOptions = {},
): LocalView {
  const heads = Object.entries(chains).map(([n, seq]) => head(Number(n), seq, branch));
  return {
    space: SPACE,
    subscription: undefined,
    digest: () => digestOf(chains),
    heads: () => heads,
    ranges: () => new RangeIndex(heads),
    headOf: ({ replica }) => heads.find((known) => known.replica === replica),
    headsByChain: () => new Map(heads.map((one) => [one.replica + one.incarnation, one])),
    own: () => [own].flat().map((n) => head(n, 1)),
    isHeld: ({ replica, seq }) => heldAt[numberOf({ replica })] === seq,
    isClaimed: ({ replica }) => claimed.includes(numberOf({ replica })),
    limitOf: (chain) => limits[numberOf(chain)] ?? Number.POSITIVE_INFINITY,
    recordsDigest: () => recordsOf(acts),
    recordIds: () => idsOf(acts),
    vouches: sealed !== undefined,
    sealed: () => Object.entries(sealed ?? {}).map(([n, seq]) => head(Number(n), seq, branch)),
  };
}

/** The digest over acts with these numbers. */
export const recordsOf = (acts: readonly number[]): Uint8Array =>
  new Uint8Array(32).map((_, n) => (acts.includes(n) ? 1 : 0));

/** Acts with these numbers, and no forks. */
export const idsOf = (acts: readonly number[]): RecordIds => ({
  acts: acts.map((n) => n.toString(16).padStart(64, "0")),
  forks: [],
});

/** The digest over chains as given by number and length. */
export function digestOf(chains: Readonly<Record<number, number>>): Uint8Array {
  const digest = new Uint8Array(32);
  for (const [n, seq] of Object.entries(chains)) digest[Number(n)] = seq;
  return digest;
}

/** A message of the remote. */
export const message = (of: SyncMessage): SessionEvent => ({ type: "message", message: of });
/** The digest over no acts. */
export const NO_RECORDS: Uint8Array = recordsOf([]);
/** The remote greets. */
export const hello = (digest = digestOf({}), records = NO_RECORDS): SessionEvent =>
  message({ type: "hello", space: SPACE, digest, records });
/** The remote tells its digests. */
export const compared = (digest: Uint8Array, records = NO_RECORDS, asks = false): SessionEvent =>
  message({ type: "digest", digest, records, asks });
/** The remote tells heads that moved. */
export const heads = (...all: ChainHead[]): SessionEvent => message({ type: "have", heads: all });
/** The remote lists all that it has, as the answer to a list of ours. */
export const lists = (...all: ChainHead[]): SessionEvent => {
  const sorted = all.toSorted((a, b) => (rangeKey(a) < rangeKey(b) ? -1 : 1));
  return message({
    type: "ranges",
    round: 2,
    ranges: [{ upper: "", mode: "listed", heads: sorted }],
  });
};
/** The remote answers a pull. */
export const batches = (): SessionEvent => message({ type: "batches", batches: [BATCH] });
/** An answer is settled. */
export const delivered = (accepted = false): SessionEvent => ({
  type: "delivered",
  accepted,
  settled: [],
});
/** Time passes. */
export const tick = (nowMs = NOW_MS): SessionEvent => ({ type: "tick", nowMs });
/** A batch was applied here. */
export const applied = (
  at: ChainHead,
  how: "brought" | "push" | "tell" = "push",
): SessionEvent => ({
  type: "applied",
  head: at,
  batch: BATCH,
  how,
});

/** Steps through events; returns the last state and the effects of the last event. */
export function run(
  view: LocalView,
  ...events: SessionEvent[]
): { state: SessionState; effects: readonly SessionEffect[] } {
  let result: ReturnType<typeof run> = { state: initialState, effects: [] };
  for (const event of events) result = step(result.state, event, view);
  return result;
}

/** Effects by their names, with the types of messages. */
export const names = (effects: readonly SessionEffect[]): string[] =>
  effects.map((effect) => (effect.type === "send" ? `send ${effect.message.type}` : effect.type));

/** The chain with a number. */
export const spanOf = (n: number): Pick<ChainHead, "replica" | "incarnation"> => {
  const { replica, incarnation } = head(n, 1);
  return { replica, incarnation };
};

/** Number of batches asked for. */
export const pulledBy = ({ pulling: out }: SessionState): number =>
  out?.spans.reduce((sum, { from, to }) => sum + to - from + 1, 0) ?? 0;
