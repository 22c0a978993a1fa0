// SPDX-License-Identifier: Apache-2.0
/** The part of a session that asks for batches: one pull at a time, and one more for what contradicts our own chain. */
import { chainKey, entryOf, isSameHead, withEntries } from "./chain-map.ts";
import { openWalks, planProbes, settleProbes } from "./forks.ts";
import type { Settled } from "./forks.ts";
import type { Chain, ChainHead } from "./message-parts.ts";
import { baseForPruned, baseInstead, isFetching } from "./session-base.ts";
import type { ChainSpan } from "@ctxmesh/replica";
import { keyed, survey } from "./session-heads.ts";
import { andThen, send, stay } from "./session-state.ts";
import type { LocalView, Pulling, SessionEvent, SessionState, Step } from "./session-state.ts";

/** The remote's head of a chain of our own, if it is not behind ours and another one: nobody else writes it, unless we have a twin. */
function contradictionOf(own: Chain, state: SessionState, view: LocalView): readonly ChainHead[] {
  const said = entryOf(state.said, chainKey(own));
  const ours = view.headOf(own);
  if (said === undefined || said.seq < (ours?.seq ?? 0) || said.seq === 0) return [];
  if (isSameHead(said, ours) || isSameHead(said, entryOf(state.doubted, chainKey(own)))) return [];
  return [said];
}

/**
 * Asks at once for the first batch that shows what is wrong with a chain of our own, whatever else is pulled: until that is known,
 * each further write of ours is void. Once for each head that the remote claims.
 */
function pullOurs(state: SessionState, view: LocalView): Step {
  if (state.alarm !== undefined) return stay(state);
  const claims = view.own().flatMap((own) => contradictionOf(own, state, view));
  const spans = claims.flatMap((claim): readonly ChainSpan[] => {
    const { replica, incarnation } = claim;
    const seq = Math.min(claim.seq, (view.headOf(claim)?.seq ?? 0) + 1);
    return view.limitOf(claim) < seq ? [] : [{ replica, incarnation, from: seq, to: seq }];
  });
  if (spans.length === 0) return stay(state);
  const asked: Pulling = { spans, probing: false };
  const place = state.pulling === undefined ? { pulling: asked } : { alarm: asked };
  const doubted = withEntries(state.doubted, keyed(claims));
  return stay({ ...state, ...place, doubted }, send({ type: "pull", spans }));
}

/** Pulls what finds a fork, else what the remote has and we lack; unless an answer is outstanding. */
function pullNext(state: SessionState, view: LocalView): Step {
  if (state.pulling !== undefined || state.comparing || isFetching(state)) return stay(state);
  let passedOver = false;
  const isUseless = ({ replica, incarnation, seq }: ChainHead, from: number): boolean => {
    const chain = { replica, incarnation };
    if (state.stuck.get(chainKey(chain)) === seq) return true;
    if (view.isHeld({ ...chain, seq: from })) return true;
    const isClaimed = view.isClaimed(chain, state.id);
    passedOver ||= isClaimed;
    return isClaimed;
  };
  const { spans, contradictions } = survey(state, view, isUseless);
  const { walks, probes } = planProbes(
    openWalks(state.walks, contradictions),
    (chain) => entryOf(state.said, chain),
    (chain) => view.headOf(chain),
  );
  const next = { ...state, walks, passedOver };
  const probing = probes.length > 0;
  const asked = probing ? probes : spans;
  if (asked.length === 0) return stay(next);
  const base = probing ? undefined : baseInstead(next, spans, view);
  if (base !== undefined) return base;
  return stay(
    { ...next, pulling: { spans: asked, probing } },
    send({ type: "pull", spans: asked }),
  );
}

/** Asks for what is to be asked for now. */
export const pull = (state: SessionState, view: LocalView): Step =>
  andThen(pullOurs(state, view), (next) => pullNext(next, view));

/** What was asked for in vain may be asked for again. */
export const unstick = (state: SessionState): SessionState =>
  state.stuck.size === 0 ? state : { ...state, stuck: new Map<string, number>() };

/** The chains of an answer without anything new that are still where they were; all that were asked for if it had none of them. */
function stuckBy(
  { spans }: Pulling,
  settled: readonly Settled[],
  view: LocalView,
): readonly ChainSpan[] {
  const seen = new Set(settled.map(chainKey));
  const answered = spans.filter((span) => seen.has(chainKey(span)));
  return (answered.length === 0 ? spans : answered).filter(
    (span) => (view.headOf(span)?.seq ?? 0) < span.from,
  );
}

/** Pulls on, but not for what an answer did not bring, so that nothing is asked for for ever. */
export function onDelivered(
  state: SessionState,
  { accepted, settled }: SessionEvent & { readonly type: "delivered" },
  view: LocalView,
): Step {
  const { pulling } = state;
  if (pulling === undefined) return stay(state);
  const next = { ...state, pulling: state.alarm, alarm: undefined };
  if (pulling.probing) {
    return pull({ ...next, walks: settleProbes(next.walks, pulling.spans, settled) }, view);
  }
  if (accepted) return pull(next, view);
  const stuck = new Map(next.stuck);
  const vain = stuckBy(pulling, settled, view);
  for (const chain of vain) {
    stuck.set(chainKey(chain), entryOf(next.said, chainKey(chain))?.seq ?? 0);
  }
  return andThen(baseForPruned({ ...next, stuck }, vain, settled, view), (after) =>
    pull(after, view),
  );
}
