// SPDX-License-Identifier: Apache-2.0
/**
 * One sync conversation as a state machine without I/O: `step(state, event, view)` returns the next
 * state and the effects that the driver has to carry out, in order.
 *
 * ```
 * greeting --hello--> open --close--> closed        anything else while greeting: violation
 * open:  applied (local, or relayed)  -> push, if it continues what the remote is known to have
 *        applied (else)               -> remembered; told as `have` on the next tick
 *        hello/digest that differs    -> records, if those differ; heads that were not told yet
 *        records                      -> serve what the remote lacks; records in turn, if we lack something
 *        acts                         -> add; when added: records again while there is more and it helps, else pull
 *        applied (known to the remote, or brought by it), at a hub
 *                                     -> stored, at once or with what gathers behind the one on its way
 *        sealed (event)               -> sealed, likewise; on opening, all of the newest seal's frontier
 *        stored/sealed, heads/have or an equal digest, from a hub
 *                                     -> confirm;   stored/sealed from anybody else: violation
 *        heads/have                   -> pull what we lack, if no pull is outstanding and no records are waited for;
 *                                        what the last answer did not bring only after heads, or news of that chain
 *        batches                      -> deliver; when delivered: pull on while it helps
 *        pull                         -> serve
 *        records-changed              -> push the new ones; tell of chains that they moved; pull; compare soon
 *        missing                      -> want, every `WANT_EVERY_MS` at most
 *        want                         -> serve headers;   headers -> add
 * ```
 *
 * Pushing is only the fast path. The promise is anti-entropy: digests are compared on opening, every
 * `DIGEST_EVERY_MS`, and soon after records changed or something had to be held for what is missing.
 *
 * Of a chain that a revocation or a proof of equivocation speaks against, only what is up to its limit
 * counts, so its head may go down; nothing past the limit is pulled. Where a remote's head stands at the
 * position of ours with another hash, batches are pulled to find the fork (`forks.ts`).
 */
import { toHex } from "@ctxmesh/model";
import { chainKey, entriesOf, entryOf, isSameHead, noChains, withEntries } from "./chain-map.ts";
import { openWalks, planProbes, settleProbes } from "./forks.ts";
import type { Settled } from "./forks.ts";
import { MAX_HEADS } from "./messages.ts";
import type { Chain, ChainHead, SyncMessage } from "./messages.ts";
import { isNews, keyed, knownSeq, hear, noHead, reach, survey } from "./session-heads.ts";
import {
  onActs,
  onRecords,
  onRecordsAdded,
  onRecordsDigest,
  payRecords,
  pushRecords,
} from "./session-records.ts";
import { appliedThere, onVouch, onVouched, vouch } from "./session-vouching.ts";
import { andThen, send, stay } from "./session-state.ts";
import type {
  LocalView,
  Pulling,
  SessionEffect,
  SessionEvent,
  SessionState,
  Step,
} from "./session-state.ts";

/** Anti-entropy with each open session this often. */
export const DIGEST_EVERY_MS = 10_000;
/** How long after a batch was held, or records changed, digests are compared. */
export const COMPARE_SOON_MS = 100;
/** Headers are asked for at most this often. */
export const WANT_EVERY_MS = 2_000;

const violation = (state: SessionState, reason: string): Step =>
  stay({ ...state, phase: "closed" }, { type: "close", reason });

/** Heads in messages of at most `MAX_HEADS`; always one message, since an empty answer is one, too. */
function sendHeads(type: "heads" | "have", heads: readonly ChainHead[]): SessionEffect[] {
  const effects: SessionEffect[] = [];
  for (let i = 0; i === 0 || i < heads.length; i += MAX_HEADS) {
    effects.push(send({ type, heads: heads.slice(i, i + MAX_HEADS) }));
  }
  return effects;
}

/** Tells of heads that the remote was not told yet. The message also makes it pull again, so it may be empty. */
function tell(state: SessionState, type: "heads" | "have", heads: readonly ChainHead[]): Step {
  const news = heads.filter((head) => !isSameHead(head, entryOf(state.told, chainKey(head))));
  return stay({ ...state, told: withEntries(state.told, keyed(news)) }, ...sendHeads(type, news));
}

/** Pulls what finds a fork, else what the remote has and we lack; unless an answer is outstanding. */
function pull(state: SessionState, view: LocalView): Step {
  if (state.pulling !== undefined || state.comparing) return stay(state);
  const { spans, contradictions } = survey(state, view, state.stuck);
  const { walks, probes } = planProbes(
    openWalks(state.walks, contradictions),
    (chain) => entryOf(state.said, chain),
    (chain) => view.headOf(chain),
  );
  const probing = probes.length > 0;
  const asked = probing ? probes : spans;
  if (asked.length === 0) return stay({ ...state, walks });
  return stay(
    { ...state, walks, pulling: { spans: asked, probing } },
    send({ type: "pull", spans: asked }),
  );
}

/** The remote's digest over its heads: it has just what we have, or it is told what it may not know. */
function onHeadsDigest(state: SessionState, digest: Uint8Array, view: LocalView): Step {
  const heads = view.heads();
  return toHex(digest) === toHex(view.digest())
    ? appliedThere({ ...state, said: withEntries(noChains, keyed(heads)) }, heads)
    : tell(state, "heads", heads);
}

const onDigests = (
  state: SessionState,
  message: { readonly digest: Uint8Array; readonly records: Uint8Array },
  view: LocalView,
): Step =>
  andThen(onRecordsDigest(state, message.records, view), (next) =>
    onHeadsDigest(next, message.digest, view),
  );

function onHello(state: SessionState, message: SyncMessage, view: LocalView): Step {
  if (message.type !== "hello") return violation(state, "a message came before hello");
  if (message.space !== view.space) return violation(state, "the peer is in another space");
  return andThen(onDigests({ ...state, phase: "open" }, message, view), (next) =>
    view.vouches ? vouch(next, "sealed", view.sealed()) : stay(next),
  );
}

/** The remote's word about its heads; a hub's is a confirmation, too. */
const onHeads = (state: SessionState, heads: readonly ChainHead[], view: LocalView): Step =>
  andThen(appliedThere(hear(state, heads, view), heads), (next) => pull(next, view));

/** What was asked for in vain may be asked for again. */
const unstick = (state: SessionState): SessionState =>
  state.stuck.size === 0 ? state : { ...state, stuck: new Map<string, number>() };

function onMessage(state: SessionState, message: SyncMessage, view: LocalView): Step {
  if (state.phase === "greeting") return onHello(state, message, view);
  switch (message.type) {
    case "hello":
      return violation(state, "hello came twice");
    case "digest":
      return onDigests(state, message, view);
    case "heads":
      return onHeads(unstick(state), message.heads, view);
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
  }
}

function onBatches(state: SessionState, batches: readonly Uint8Array[]): Step {
  const { pulling } = state;
  return pulling === undefined
    ? violation(state, "batches came that nobody pulled")
    : stay(state, { type: "deliver", batches, pulled: true, probing: pulling.probing });
}

/** The chains of an answer without anything new that are still where they were; all that were asked for if it had none of them. */
function stuckBy(
  { spans }: Pulling,
  settled: readonly Settled[],
  view: LocalView,
): readonly Chain[] {
  const seen = new Set(settled.map(chainKey));
  const answered = spans.filter((span) => seen.has(chainKey(span)));
  return (answered.length === 0 ? spans : answered).filter(
    (span) => (view.headOf(span)?.seq ?? 0) < span.from,
  );
}

/** Pulls on, but not for what an answer did not bring, so that nothing is asked for for ever. */
function onDelivered(
  state: SessionState,
  { accepted, settled }: SessionEvent & { readonly type: "delivered" },
  view: LocalView,
): Step {
  const { pulling } = state;
  if (pulling === undefined) return stay(state);
  const idle = { ...state, pulling: undefined };
  if (pulling.probing) {
    return pull({ ...idle, walks: settleProbes(idle.walks, pulling.spans, settled) }, view);
  }
  if (accepted) return pull(idle, view);
  const stuck = new Map(idle.stuck);
  for (const chain of stuckBy(pulling, settled, view)) {
    stuck.set(chainKey(chain), entryOf(idle.said, chainKey(chain))?.seq ?? 0);
  }
  return pull({ ...idle, stuck }, view);
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

/** Tells what is new. */
function tellNews(state: SessionState, view: LocalView): Step {
  if (state.news.size === 0) return stay(state);
  // Heads as they are by now; and the remote may have told us of the same ones in the meantime.
  const heads = [...state.news.values()].map((chain) => view.headOf(chain) ?? noHead(chain));
  const news = heads.filter((head) => isNews(state, head, view));
  const told: SessionState = { ...state, news: new Map<string, Chain>() };
  const telling = news.length === 0 ? stay(told) : tell(told, "have", news);
  if (!view.vouches || news.length === heads.length) return telling;
  const heard = heads.filter((head) => head.seq > 0 && !isNews(state, head, view));
  return andThen(telling, (next) => vouch(next, "stored", heard));
}

/** Compares digests when it is time. */
function compare(state: SessionState, nowMs: number, view: LocalView): Step {
  const due = state.digestDueMs;
  if (due === undefined) return stay({ ...state, digestDueMs: nowMs + DIGEST_EVERY_MS });
  // A clock that was set back must not put anti-entropy off.
  if (nowMs < due && due <= nowMs + DIGEST_EVERY_MS) return stay(state);
  const message = { type: "digest", digest: view.digest(), records: view.recordsDigest() } as const;
  return stay({ ...state, digestDueMs: nowMs + DIGEST_EVERY_MS }, send(message));
}

const onTick = (state: SessionState, nowMs: number, view: LocalView): Step =>
  andThen(
    andThen(payRecords({ ...state, clockMs: nowMs }, view), (next) => tellNews(next, view)),
    (next) => compare(next, nowMs, view),
  );

function onMissing(
  state: SessionState,
  { hashes, nowMs }: SessionEvent & { readonly type: "missing" },
): Step {
  const rests = nowMs < state.wantAfterMs && state.wantAfterMs <= nowMs + WANT_EVERY_MS;
  if (rests || hashes.length === 0) return stay(state);
  return stay(
    { ...state, wants: state.wants + 1, wantAfterMs: nowMs + WANT_EVERY_MS },
    send({ type: "want", hashes }),
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
    case "missing":
      return onMissing(state, event);
    case "sealed":
      return view.vouches ? vouch(state, "sealed", event.heads) : stay(state);
    case "vouched":
      return onVouched(state);
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
  return stay(state, send({ type: "hello", space: view.space, digest, records }));
}
