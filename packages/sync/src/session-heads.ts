// SPDX-License-Identifier: Apache-2.0
/** The part of a session that is about heads: what each end has, as far as the other knows. */
import { LIMITS } from "@ctxmesh/model";
import type { ChainSpan } from "@ctxmesh/replica";
import { chainKey, entriesOf, entryOf, isSameHead, withEntries } from "./chain-map.ts";
import { NO_HASH } from "./message-parts.ts";
import type { Chain, ChainHead, ChainSeq } from "./message-parts.ts";
import { MAX_SPANS } from "./messages.ts";
import { hasOurRecords } from "./session-records.ts";
import type { LocalView, SessionState } from "./session-state.ts";

/** Chains of one remote that are remembered; past it, new ones are not. */
export const MAX_SAID: number = 4 * LIMITS.frontierHeads;

/** Whether something speaks against a chain. */
export const isLimited = (view: LocalView, chain: Chain): boolean =>
  view.limitOf(chain) !== Number.POSITIVE_INFINITY;

/** Entries of a map by chain. */
export const keyed = <T extends Chain>(heads: readonly T[]): (readonly [string, T])[] =>
  heads.map((head) => [chainKey(head), head]);

/** How far the remote is known to be. */
export const knownSeq = ({ said, sent }: SessionState, chain: string): number =>
  Math.max(entryOf(said, chain)?.seq ?? 0, entryOf(sent, chain)?.seq ?? 0);

/** The remote has this much at least, by our own doing or its own. */
export function reach(state: SessionState, heads: readonly ChainSeq[]): SessionState {
  const further = heads.filter(
    (head) => (entryOf(state.sent, chainKey(head))?.seq ?? 0) < head.seq,
  );
  return { ...state, sent: withEntries(state.sent, keyed(further)) };
}

/**
 * The remote's word about some chains replaces its earlier ones. What we sent it counts besides, since that may have
 * crossed the word; not in a chain with a limit, where its head may have gone down.
 */
export function hear(
  state: SessionState,
  heads: readonly ChainHead[],
  view: LocalView,
): SessionState {
  const full = state.said.size + heads.length > MAX_SAID;
  const taken = full
    ? heads.filter((head) => entryOf(state.said, chainKey(head)) !== undefined)
    : heads;
  const crossed = taken.filter(
    (head) => entryOf(state.sent, chainKey(head)) !== undefined && isLimited(view, head),
  );
  return {
    ...state,
    said: withEntries(state.said, keyed(taken)),
    sent: withEntries(state.sent, keyed(crossed)),
  };
}

/** What the remote has and we lack, and its heads that contradict ours; of what we lack, only what is not `useless` to ask for. */
export function survey(
  state: SessionState,
  view: LocalView,
  useless: (said: ChainHead, from: number) => boolean = () => false,
): { spans: ChainSpan[]; contradictions: ChainHead[] } {
  const spans: ChainSpan[] = [];
  const contradictions: ChainHead[] = [];
  const heads = view.headsByChain();
  for (const [chain, said] of entriesOf(state.said)) {
    const ours = heads.get(chain);
    if (ours !== undefined && said.seq < ours.seq) continue;
    if (said.seq === ours?.seq) {
      if (said.hash !== ours.hash) contradictions.push(said);
      continue;
    }
    const from = (ours?.seq ?? 0) + 1;
    const to = Math.min(said.seq, view.limitOf(said));
    if (to < from || spans.length >= MAX_SPANS || useless(said, from)) continue;
    const { replica, incarnation } = said;
    spans.push({ replica, incarnation, from, to });
  }
  return { spans, contradictions };
}

/** Whether the remote is known to have applied exactly what we have, by the same records. */
export function isInSync(state: SessionState, view: LocalView): boolean {
  if (state.phase !== "open" || !hasOurRecords(state, view)) return false;
  for (const [chain, { seq }] of view.headsByChain()) {
    if (knownSeq(state, chain) < seq) return false;
  }
  const { spans, contradictions } = survey(state, view);
  return spans.length + contradictions.length === 0;
}

/** Our head of a chain that the remote was told of, if nothing of it counts any more. */
export const noHead = ({ replica, incarnation }: Chain): ChainHead => ({
  replica,
  incarnation,
  seq: 0,
  hash: NO_HASH,
});

/** Whether the remote should hear of our head: it lacks it, or was told a higher one, or may take the chain for longer than it counts. */
export function isNews(state: SessionState, head: ChainHead, view: LocalView): boolean {
  const chain = chainKey(head);
  const told = entryOf(state.told, chain);
  if ((told?.seq ?? 0) > head.seq) return true;
  return isLimited(view, head)
    ? !isSameHead(head, told) && !isSameHead(head, entryOf(state.said, chain))
    : knownSeq(state, chain) < head.seq;
}
