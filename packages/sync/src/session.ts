// SPDX-License-Identifier: Apache-2.0
/**
 * One sync conversation as a state machine without I/O: `step(state, event, view)` returns the next
 * state and the effects that the driver has to carry out, in order.
 *
 * ```
 * greeting --hello--> open --close--> closed        anything else while greeting: violation
 * open:  applied (local, or relayed)  -> push, if it continues what the remote is known to have
 *        applied (else)               -> remembered; told as `have` on the next tick, or some ticks later if it should come on another way
 *        routes                       -> remembered: by them the driver says which of these it is   (`relay-choice.ts`)
 *        hello/digest that differs    -> records, if those differ; ranges, if heads do and it is on us to begin
 *        digest that is the same      -> digest, if it asks
 *        ranges                       -> ranges, as long as there is something to say; pull when that was the last of them
 *        records                      -> serve what the remote lacks; records in turn, if we lack something
 *        acts                         -> add; when added: records again while there is more and it helps, else pull
 *        applied (known to the remote, or brought by it), at a hub
 *                                     -> stored, at once or with what gathers behind the one on its way
 *        sealed (event)               -> sealed, likewise; on opening, all of the newest seal's frontier
 *        stored/sealed, have, ranges or an equal digest, from a hub
 *                                     -> confirm;   stored/sealed from anybody else: violation
 *        have                         -> pull what we lack, if no pull is outstanding and no records are waited for;
 *                                        what the last answer did not bring only after a comparison, or news of that chain
 *        batches                      -> deliver; when delivered: pull on while it helps
 *        pull                         -> serve
 *        records-changed              -> push the new ones; tell of chains that they moved; pull; compare soon
 *        compare (event)              -> digest
 *        missing                      -> want, each header less and less often
 *        want                         -> serve headers;   headers -> add
 *        fetch (event)                -> wanted, unless an answer is outstanding
 *        wanted                       -> serve bodies;   bodies -> add, if they were wished for
 *        ask (event)                  -> ask;             ask -> answer;   answer -> given to whoever asked, if anybody still waits for it
 *        base-pull                    -> serve a part;    base-part -> take it; then the next, or pull   (`session-base.ts`)
 * ```
 *
 * Pushing is only the fast path. The promise is anti-entropy: digests are compared on opening, soon after records changed or
 * something had to be held for what is missing, and when the driver says so. All of it is specified in `SPEC.md`.
 *
 * Of a chain that a revocation or a proof of equivocation speaks against, only what is up to its limit
 * counts, so its head may go down; nothing past the limit is pulled. Where a remote's head stands at the
 * position of ours with another hash, batches are pulled to find the fork (`forks.ts`).
 */
import { toHex } from "@ctxmesh/model";
import { Wants } from "@ctxmesh/replica";
import { chainKey, entriesOf, entryOf, isSameHead, withEntries } from "./chain-map.ts";
import { MAX_HEADS } from "./messages.ts";
import type { Chain, ChainHead, SyncMessage } from "./messages.ts";
import { onBodies, onFetch } from "./session-bodies.ts";
import { isNews, keyed, knownSeq, hear, noHead, reach } from "./session-heads.ts";
import {
  lookAtBase,
  onBaseElsewhere,
  onBasePart,
  onBasePull,
  onBaseServed,
  onBaseTaken,
} from "./session-base.ts";
import { onDelivered, pull, unstick } from "./session-pull.ts";
import { askDigest, onDigest, onGreeting, onRanges } from "./session-ranges.ts";
import { onActs, onRecords, onRecordsAdded, payRecords, pushRecords } from "./session-records.ts";
import { onRoutes, sendRoutes, tellLate, wake } from "./session-routes.ts";
import { appliedThere, onVouch, onVouched, vouch } from "./session-vouching.ts";
import { onMissing } from "./session-wants.ts";
import { andThen, send, stay } from "./session-state.ts";
import type {
  LocalView,
  SessionEffect,
  SessionEvent,
  SessionState,
  Step,
} from "./session-state.ts";

/** How long after a batch was held, or records changed, digests are compared. */
export const COMPARE_SOON_MS = 100;
const violation = (state: SessionState, reason: string): Step =>
  stay({ ...state, phase: "closed" }, { type: "close", reason });

/** Heads in messages of at most `MAX_HEADS`. */
function sendHave(heads: readonly ChainHead[]): SessionEffect[] {
  const effects: SessionEffect[] = [];
  for (let i = 0; i < heads.length; i += MAX_HEADS) {
    effects.push(send({ type: "have", heads: heads.slice(i, i + MAX_HEADS) }));
  }
  return effects;
}

/** Tells of heads that the remote was not told yet. */
function tell(state: SessionState, heads: readonly ChainHead[]): Step {
  const news = heads.filter((head) => !isSameHead(head, entryOf(state.told, chainKey(head))));
  return stay({ ...state, told: withEntries(state.told, keyed(news)) }, ...sendHave(news));
}

function onHello(state: SessionState, message: SyncMessage, view: LocalView): Step {
  if (message.type !== "hello") return violation(state, "a message came before hello");
  if (message.space !== view.space) return violation(state, "the peer is in another space");
  const { subscription } = message;
  const keeps = subscription === undefined ? undefined : new Wants(subscription);
  return andThen(onGreeting({ ...state, phase: "open", keeps }, message, view), (next) =>
    view.vouches ? vouch(next, "sealed", view.sealed()) : stay(next),
  );
}

/** The remote's word about its heads; a hub's is a confirmation, too. */
const onHeads = (state: SessionState, heads: readonly ChainHead[], view: LocalView): Step =>
  andThen(appliedThere(hear(state, heads, view), heads), (next) => pull(next, view));

/** The remote's next word in a comparison; we pull when all is known that it may bring. */
function compareOn(
  state: SessionState,
  message: SyncMessage & { readonly type: "ranges" },
  view: LocalView,
): Step {
  // Its first word, or its first answer: what was asked for in vain may be asked for again.
  const first = message.round <= 2 ? unstick(state) : state;
  const { isOver, ...taken } = onRanges(first, message, view);
  return isOver ? andThen(taken, (next) => pull(next, view)) : taken;
}

function onMessage(state: SessionState, message: SyncMessage, view: LocalView): Step {
  if (state.phase === "greeting") return onHello(state, message, view);
  switch (message.type) {
    case "hello":
      return violation(state, "hello came twice");
    case "digest":
      return onDigest(state, message, view);
    case "ranges":
      return compareOn(state, message, view);
    case "have":
      return onHeads(state, message.heads, view);
    case "pull":
      return stay(state, { type: "serve", spans: message.spans });
    case "batches":
      return onBatches(state, message.batches);
    case "push":
      return stay(state, {
        type: "deliver",
        batches: [message.batch],
        pulled: false,
        probing: false,
      });
    case "records":
      return onRecords(state, message, view);
    case "acts":
      return onActs(state, message);
    case "want":
      return stay(state, { type: "serve-headers", hashes: message.hashes });
    case "headers":
      return state.wants === 0
        ? violation(state, "headers came that nobody wanted")
        : stay(
            { ...state, wants: state.wants - 1 },
            { type: "add-headers", headers: message.headers },
          );
    case "stored":
    case "sealed":
      return onVouch(state, message);
    case "routes":
      return onRoutes(state, message);
    case "wanted":
      return stay(state, { ...message, type: "serve-bodies" });
    case "bodies":
      return onBodies(state, message);
    case "ask":
      return stay(state, { ...message, type: "serve-ask" });
    case "answer":
      return stay(state, { ...message, type: "take-answer" });
    case "base-pull":
      return onBasePull(state, message);
    case "base-part":
      return thenPull(onBasePart(state, message), view);
  }
}

function onBatches(state: SessionState, batches: readonly Uint8Array[]): Step {
  const { pulling } = state;
  return pulling === undefined
    ? violation(state, "batches came that nobody pulled")
    : stay(state, { type: "deliver", batches, pulled: true, probing: pulling.probing });
}

const withNews = (state: SessionState, chains: readonly Chain[]): SessionState => ({
  ...state,
  news: new Map([...state.news, ...keyed(chains)]),
});

function onApplied(
  state: SessionState,
  event: SessionEvent & { readonly type: "applied" },
  view: LocalView,
): Step {
  const { head } = event;
  const known = knownSeq(state, chainKey(head));
  if (known >= head.seq || event.how === "brought") {
    const next = known >= head.seq ? state : reach(state, [head]);
    return view.vouches ? vouch(next, "stored", [head]) : stay(next);
  }
  if (event.how === "late") return stay(tellLate(state, head));
  // A push over a gap would only be held; `have` lets the remote pull it all in order.
  if (event.how === "tell" || known !== head.seq - 1) return stay(withNews(state, [head]));
  return stay(reach(state, [head]), send({ type: "push", batch: event.batch }));
}

/** New records may have moved any chain, either way. */
function onRecordsChanged(
  state: SessionState,
  event: SessionEvent & { readonly type: "records-changed" },
  view: LocalView,
): Step {
  const next = unstick(state);
  const gone = [...entriesOf(state.told)].flatMap(([, { seq, ...chain }]) =>
    seq > 0 && view.headOf(chain) === undefined ? noHead(chain) : [],
  );
  const moved = [...view.heads(), ...gone].filter((head) => isNews(next, head, view));
  return andThen(pushRecords(withNews(next, moved), event.records, view), (pushed) =>
    pull(compareSoon(pushed, event.nowMs), view),
  );
}

const compareSoon = (state: SessionState, nowMs: number): SessionState => ({
  ...state,
  digestDueMs: Math.min(state.digestDueMs ?? Number.POSITIVE_INFINITY, nowMs + COMPARE_SOON_MS),
});

/** Pulls once no base is on its way any more. */
const thenPull = ({ idle = false, ...first }: Step & { idle?: boolean }, view: LocalView): Step =>
  idle ? andThen(first, (next) => pull(next, view)) : first;

/** Tells what is new. */
function tellNews(state: SessionState, view: LocalView): Step {
  if (state.news.size === 0) return stay(state);
  // Heads as they are by now; and the remote may have told us of the same ones in the meantime.
  const heads = [...state.news.values()].map((chain) => view.headOf(chain) ?? noHead(chain));
  const news = heads.filter((head) => isNews(state, head, view));
  const told: SessionState = { ...state, news: new Map<string, Chain>() };
  const telling = news.length === 0 ? stay(told) : tell(told, news);
  if (!view.vouches || news.length === heads.length) return telling;
  const heard = heads.filter((head) => head.seq > 0 && !isNews(state, head, view));
  return andThen(telling, (next) => vouch(next, "stored", heard));
}

/** Compares digests when it is time. */
function compare(state: SessionState, nowMs: number, view: LocalView): Step {
  const due = state.digestDueMs;
  // A clock that was set back must not put it off.
  const rests = due === undefined || (nowMs < due && due <= nowMs + COMPARE_SOON_MS);
  return rests ? stay(state) : askDigest(state, nowMs, view);
}

/** Time as the session knows it; what was compared before the first tick, was then. */
const atTime = (state: SessionState, nowMs: number): SessionState => ({
  ...state,
  clockMs: nowMs,
  comparedMs: state.comparedMs === 0 ? nowMs : state.comparedMs,
});

/** Whether nothing waits for time to pass. */
const isIdle = ({ late, recordsOwed, news, digestDueMs, base }: SessionState): boolean =>
  late.size + news.size === 0 &&
  !recordsOwed &&
  digestDueMs === undefined &&
  base.fetch === undefined;

function onTick(before: SessionState, nowMs: number, view: LocalView): Step {
  const state = atTime(before, nowMs);
  // Most ticks of most sessions, some twenty a second.
  if (isIdle(state)) return stay(state);
  return andThen(
    andThen(payRecords(wake(state, nowMs), view), (next) => tellNews(next, view)),
    (next) => andThen(compare(next, nowMs, view), lookAtBase),
  );
}

/** Events that mean something only once both ends have greeted. */
function onOpen(state: SessionState, event: SessionEvent, view: LocalView): Step {
  switch (event.type) {
    case "opened":
    case "message":
      return stay(state);
    case "applied":
      return onApplied(state, event, view);
    case "routes":
      return sendRoutes(state, event.routes);
    case "served":
      return stay(reach(state, event.heads));
    case "delivered":
      return onDelivered(state, event, view);
    case "held":
      return stay(compareSoon(state, event.nowMs));
    case "records-changed":
      return onRecordsChanged(state, event, view);
    case "records-added":
      return andThen(onRecordsAdded(state, event, view), (next) => pull(next, view));
    case "compare":
      return askDigest(state, event.nowMs, view);
    case "missing":
      return onMissing(state, event);
    case "fetch":
      return onFetch(state, event);
    case "ask":
      return stay(state, send({ ...event, type: "ask" }));
    case "sealed":
      return view.vouches ? vouch(state, "sealed", event.heads) : stay(state);
    case "vouched":
      return onVouched(state);
    case "base-taken":
      return thenPull(onBaseTaken(state, event.progress), view);
    case "base-served":
      return onBaseServed(state);
    case "base-elsewhere":
      return andThen(onBaseElsewhere(state, event.elsewhere), (next) => pull(next, view));
    case "freed":
      return pull(state, view);
    case "tick":
      return onTick(state, event.nowMs, view);
  }
}

/** The next state and effects. Total: every event is defined in every phase. */
export function step(state: SessionState, event: SessionEvent, view: LocalView): Step {
  if (state.phase === "closed") return stay(state);
  if (event.type === "message") return onMessage(state, event.message, view);
  if (event.type !== "opened")
    return state.phase === "open" ? onOpen(state, event, view) : stay(state);
  const [digest, records] = [view.digest(), view.recordsDigest()];
  return stay(
    { ...state, greeted: toHex(digest) },
    send({ type: "hello", space: view.space, digest, records, subscription: view.subscription }),
  );
}
