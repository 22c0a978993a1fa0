// SPDX-License-Identifier: Apache-2.0
/**
 * One sync conversation as a state machine without I/O: `step(state, event, view)` returns the next
 * state and the effects that the driver has to carry out, in order.
 *
 * ```
 * greeting --hello--> open --close--> closed        anything else while greeting: violation
 * open:  applied (local, or relayed)  -> push, if it continues what the remote is known to have
 *        applied (else)               -> remembered; told as `have` on the next tick
 *        hello/digest that differs    -> heads that were not told yet
 *        heads/have                   -> pull what we lack, if no pull is outstanding
 *        batches                      -> deliver; when delivered: pull on while it helps
 *        pull                         -> serve
 * ```
 *
 * Pushing is only the fast path. The promise is anti-entropy: digests are compared on opening, every
 * `DIGEST_EVERY_MS`, and soon after something had to be held for a missing batch.
 */
import { LIMITS, toHex } from "@ctxmesh/model";
import type { SpaceId } from "@ctxmesh/model";
import type { ChainSpan } from "@ctxmesh/replica";
import { MAX_SPANS } from "./messages.ts";
import type { ChainSeq, SyncMessage } from "./messages.ts";

/** Anti-entropy with each open session this often. */
export const DIGEST_EVERY_MS = 10_000;
/** How long a held batch may wait for the fast path before we ask for heads. */
export const ASK_AFTER_HOLD_MS = 100;

/** What the machine may read of the local replica. */
export interface LocalView {
  readonly space: SpaceId;
  digest(): Uint8Array;
  heads(): readonly ChainSeq[];
  seqOf(chain: Pick<ChainSeq, "replica" | "incarnation">): number;
}

/** Heads by chain, in two layers: learning of one chain must not copy thousands of others. */
export interface KnownHeads {
  readonly settled: ReadonlyMap<string, ChainSeq>;
  /** Newer than what `settled` has; a few. */
  readonly recent: ReadonlyMap<string, ChainSeq>;
}

/** The state of one session; immutable. */
export interface SessionState {
  readonly phase: "greeting" | "open" | "closed";
  /** How far the remote is known to be, by chain. */
  readonly remote: KnownHeads;
  /** Our heads as the remote was told them; it remembers, so only what has moved since is told again. */
  readonly told: KnownHeads;
  /** The number of batches we lacked when the outstanding pull was sent; undefined: none is outstanding. */
  readonly pulling: number | undefined;
  /** Chains to tell the remote about. */
  readonly news: ReadonlyMap<string, ChainSeq>;
  /** When to compare digests next, Unix milliseconds; undefined before the first tick, since hello has just done it. */
  readonly digestDueMs: number | undefined;
}

/** What happens to a session. */
export type SessionEvent =
  | { readonly type: "opened" }
  | { readonly type: "message"; readonly message: SyncMessage }
  /** A batch became durable here: this remote brought it, should get it at once, or should hear of it. */
  | {
      readonly type: "applied";
      readonly head: ChainSeq;
      readonly batch: Uint8Array;
      readonly how: "brought" | "push" | "tell";
    }
  /** Batches up to these heads were sent in answer to a pull. */
  | { readonly type: "served"; readonly heads: readonly ChainSeq[] }
  /** The batches of the last answer are settled. */
  | { readonly type: "delivered" }
  /** A batch of this remote had to be held for a missing one. */
  | { readonly type: "held"; readonly nowMs: number }
  | { readonly type: "tick"; readonly nowMs: number };

/** What the driver has to do. */
export type SessionEffect =
  | { readonly type: "send"; readonly message: SyncMessage }
  /** Give batches to the replica; for a pulled answer report `delivered` afterwards. */
  | {
      readonly type: "deliver";
      readonly batches: readonly Uint8Array[];
      readonly pulled: boolean;
    }
  /** Read spans and send them as one `batches` message. */
  | { readonly type: "serve"; readonly spans: readonly ChainSpan[] }
  | { readonly type: "close"; readonly reason: string };

/** A step's result. */
export interface Step {
  readonly state: SessionState;
  readonly effects: readonly SessionEffect[];
}

/** The state before anything happened. */
export const initialState: SessionState = {
  phase: "greeting",
  remote: { settled: new Map(), recent: new Map() },
  told: { settled: new Map(), recent: new Map() },
  pulling: undefined,
  news: new Map(),
  digestDueMs: undefined,
};

const chainOf = (head: ChainSeq): string => head.replica + head.incarnation;
const stay = (state: SessionState, ...effects: SessionEffect[]): Step => ({ state, effects });
const send = (message: SyncMessage): SessionEffect => ({ type: "send", message });

/** Heads in messages of at most `LIMITS.frontierHeads`; always one message, since an empty answer is one, too. */
function sendHeads(type: "heads" | "have", heads: readonly ChainSeq[]): SessionEffect[] {
  const effects: SessionEffect[] = [];
  for (let i = 0; i === 0 || i < heads.length; i += LIMITS.frontierHeads) {
    effects.push(send({ type, heads: heads.slice(i, i + LIMITS.frontierHeads) }));
  }
  return effects;
}

/** Tells of heads that the remote was not told yet. The message also makes it pull again, so it may be empty. */
function tell(state: SessionState, type: "heads" | "have", heads: readonly ChainSeq[]): Step {
  const news = heads.filter((head) => knownSeq(state.told, chainOf(head)) < head.seq);
  return stay({ ...state, told: merge(state.told, news) }, ...sendHeads(type, news));
}

const violation = (state: SessionState, reason: string): Step =>
  stay({ ...state, phase: "closed" }, { type: "close", reason });

/** Heads in the upper layer before it is merged into the lower one. */
const RECENT_HEADS = 64;

const knownSeq = ({ recent, settled }: KnownHeads, chain: string): number =>
  (recent.get(chain) ?? settled.get(chain))?.seq ?? 0;

function merge({ settled, recent: before }: KnownHeads, heads: readonly ChainSeq[]): KnownHeads {
  const recent = new Map(before);
  for (const head of heads) {
    const chain = chainOf(head);
    if (knownSeq({ settled, recent }, chain) < head.seq) recent.set(chain, head);
  }
  return recent.size <= RECENT_HEADS
    ? { settled, recent }
    : { settled: new Map([...settled, ...recent]), recent: new Map<string, ChainSeq>() };
}

const learn = (state: SessionState, heads: readonly ChainSeq[]): SessionState => ({
  ...state,
  remote: merge(state.remote, heads),
});

function lacking(state: SessionState, view: LocalView): { spans: ChainSpan[]; count: number } {
  const spans: ChainSpan[] = [];
  let count = 0;
  const { settled, recent } = state.remote;
  // A chain in both layers is counted in the upper one.
  const lower = [...settled].filter(([chain]) => !recent.has(chain)).map(([, head]) => head);
  for (const { replica, incarnation, seq } of [...lower, ...recent.values()]) {
    const ours = view.seqOf({ replica, incarnation });
    if (seq <= ours) continue;
    count += seq - ours;
    if (spans.length < MAX_SPANS) spans.push({ replica, incarnation, from: ours + 1, to: seq });
  }
  return { spans, count };
}

/** Whether the remote is known to have applied exactly what we have. */
export function isInSync(state: SessionState, view: LocalView): boolean {
  return (
    state.phase === "open" &&
    lacking(state, view).count === 0 &&
    view.heads().every((head) => knownSeq(state.remote, chainOf(head)) >= head.seq)
  );
}

/** Pulls what the remote has and we lack, unless an answer is outstanding. */
function pull(state: SessionState, view: LocalView): Step {
  if (state.pulling !== undefined) return stay(state);
  const { spans, count } = lacking(state, view);
  if (count === 0) return stay(state);
  return stay({ ...state, pulling: count }, send({ type: "pull", spans }));
}

function onDigest(state: SessionState, digest: Uint8Array, view: LocalView): Step {
  const heads = view.heads();
  return toHex(digest) === toHex(view.digest())
    ? stay(learn(state, heads))
    : tell(state, "heads", heads);
}

function onMessage(state: SessionState, message: SyncMessage, view: LocalView): Step {
  if (state.phase === "greeting") {
    if (message.type !== "hello") return violation(state, "a message came before hello");
    if (message.space !== view.space) return violation(state, "the peer is in another space");
    return onDigest({ ...state, phase: "open" }, message.digest, view);
  }
  switch (message.type) {
    case "hello":
      return violation(state, "hello came twice");
    case "digest":
      return onDigest(state, message.digest, view);
    case "heads":
    case "have":
      return pull(learn(state, message.heads), view);
    case "pull":
      return stay(state, { type: "serve", spans: message.spans });
    case "batches":
      return state.pulling === undefined
        ? violation(state, "batches came that nobody pulled")
        : stay(state, {
            type: "deliver",
            batches: message.batches,
            pulled: true,
          });
    case "push":
      return stay(state, { type: "deliver", batches: [message.batch], pulled: false });
  }
}

/** Goes on pulling while each answer brings us closer; a fruitless one waits for the next digest. */
function onDelivered(state: SessionState, view: LocalView): Step {
  const before = state.pulling ?? 0;
  const idle = { ...state, pulling: undefined };
  return lacking(idle, view).count < before ? pull(idle, view) : stay(idle);
}

function onApplied(state: SessionState, event: SessionEvent & { readonly type: "applied" }): Step {
  const { head } = event;
  const known = knownSeq(state.remote, chainOf(head));
  if (known >= head.seq) return stay(state);
  if (event.how === "brought") return stay(learn(state, [head]));
  // A push over a gap would only be held; `have` lets the remote pull it all in order.
  if (event.how === "tell" || known !== head.seq - 1) {
    return stay({ ...state, news: new Map(state.news).set(chainOf(head), head) });
  }
  return stay(learn(state, [head]), send({ type: "push", batch: event.batch }));
}

function onTick(state: SessionState, nowMs: number, view: LocalView): Step {
  const effects: SessionEffect[] = [];
  let next = state;
  if (state.news.size > 0) {
    // The remote may have told us of the same heads in the meantime.
    const news = [...state.news].filter(([chain, { seq }]) => knownSeq(state.remote, chain) < seq);
    if (news.length > 0) {
      const told = tell(
        next,
        "have",
        news.map(([, head]) => head),
      );
      effects.push(...told.effects);
      next = told.state;
    }
    next = { ...next, news: new Map() };
  }
  const due = state.digestDueMs;
  // A clock that was set back must not put anti-entropy off.
  const now = due !== undefined && (nowMs >= due || due > nowMs + DIGEST_EVERY_MS);
  if (now) effects.push(send({ type: "digest", digest: view.digest() }));
  if (now || due === undefined) next = { ...next, digestDueMs: nowMs + DIGEST_EVERY_MS };
  return { state: next, effects };
}

/** The next state and effects. Total: every event is defined in every phase. */
export function step(state: SessionState, event: SessionEvent, view: LocalView): Step {
  if (state.phase === "closed") return stay(state);
  switch (event.type) {
    case "opened":
      return stay(state, send({ type: "hello", space: view.space, digest: view.digest() }));
    case "message":
      return onMessage(state, event.message, view);
    case "applied":
      return state.phase === "open" ? onApplied(state, event) : stay(state);
    case "served":
      return stay(learn(state, event.heads));
    case "delivered":
      return onDelivered(state, view);
    case "held":
      return stay({
        ...state,
        digestDueMs: Math.min(
          state.digestDueMs ?? Number.POSITIVE_INFINITY,
          event.nowMs + ASK_AFTER_HOLD_MS,
        ),
      });
    case "tick":
      return state.phase === "open" ? onTick(state, event.nowMs, view) : stay(state);
  }
}
