// SPDX-License-Identifier: Apache-2.0
/**
 * The part of a session that is about bases: asking for one instead of for very many batches, or for batches that the remote has pruned;
 * taking it part by part; and serving one.
 *
 * ```
 * idle --more than LIMITS.baseFromBatches to pull, or an answer without what was asked for--> asked: base-pull
 * asked --base-part--> taking --more--> asked: base-pull of the next part
 *                             --installed, of no use--> idle: pull
 * asked --none--> asked once more from the start, if it was under way; else idle: pull
 * ```
 *
 * One session of a node does this at a time, since the same batches would else come twice; the others wait with what would be as much.
 */
import { LIMITS } from "@ctxmesh/model";
import type { BaseNeed, BaseProgress, ChainSpan } from "@ctxmesh/replica";
import type { BaseState } from "./base-state.ts";
import type { BasePartMessage, BasePullMessage } from "./base-message.ts";
import { chainKey } from "./chain-map.ts";
import type { Settled } from "./forks.ts";
import { hasOurRecords } from "./session-records.ts";
import { send, stay } from "./session-state.ts";
import type { LocalView, SessionState, Step } from "./session-state.ts";

/** After a base was of no use, the same remote is not asked again for so long. */
export const BASE_REST_MS = 60_000;
/** A part that has not come for so long never will. */
export const BASE_PART_MS = 180_000;
/** No more of a wait is seen between two ticks. */
const LOOK_MS = 2_000;

/** Whether a base is on its way. */
export const isFetching = ({ base }: SessionState): boolean => base.fetch !== undefined;

const withBase = (state: SessionState, base: Partial<BaseState>): SessionState => ({
  ...state,
  base: { ...state.base, ...base },
});

const sizeOf = (spans: readonly ChainSpan[]): number =>
  spans.reduce((sum, { from, to }) => sum + to - from + 1, 0);

/** A clock that was set back must not put it off. */
const mayAsk = ({ base: { afterMs }, clockMs }: SessionState): boolean =>
  clockMs >= afterMs || afterMs > clockMs + BASE_REST_MS;

function ask(state: SessionState, need: BaseNeed, again = false): Step {
  const fetch = { need, base: undefined, part: 0, taking: false, waitedMs: 0, seenMs: 0, again };
  return stay(withBase(state, { fetch }), send({ type: "base-pull", base: undefined, part: 0 }));
}

/** What is done instead of pulling these batches: nothing while a base is on its way that may spare them, or one is asked for; undefined to pull. */
export function baseInstead(
  state: SessionState,
  spans: readonly ChainSpan[],
  view: LocalView,
): Step | undefined {
  const batches = sizeOf(spans);
  if (batches < LIMITS.baseFromBatches) return undefined;
  if (state.base.elsewhere) return stay(state);
  // It could not be judged by other records.
  if (!mayAsk(state) || !hasOurRecords(state, view)) return undefined;
  return ask(state, { batches, pruned: false });
}

/** An answer brought none of these: where the remote has pruned them, a base is the only way. */
export function baseForPruned(
  state: SessionState,
  asked: readonly ChainSpan[],
  settled: readonly Settled[],
  view: LocalView,
): Step {
  const seen = new Set(settled.map(chainKey));
  const isVain = asked.length > 0 && !asked.some((span) => seen.has(chainKey(span)));
  if (!isVain || state.base.elsewhere || isFetching(state)) return stay(state);
  if (!mayAsk(state) || !hasOurRecords(state, view)) return stay(state);
  return ask(state, { batches: sizeOf(asked), pruned: true });
}

const rest = (state: SessionState): Step =>
  stay(withBase(state, { fetch: undefined, afterMs: state.clockMs + BASE_REST_MS }));

const violation = (state: SessionState, reason: string): Step =>
  stay({ ...state, phase: "closed" }, { type: "close", reason });

/** A part came that was asked for, or none. `idle`: nothing is on its way any more. */
export function onBasePart(
  state: SessionState,
  message: BasePartMessage,
): Step & { readonly idle?: boolean } {
  const { fetch } = state.base;
  const { base, part, bytes } = message;
  if (fetch === undefined || fetch.taking) {
    return violation(state, "a part of a base came that nobody asked for");
  }
  if (base === undefined) {
    const wasGone = fetch.base !== undefined && !fetch.again;
    return wasGone ? ask(state, fetch.need, true) : { ...rest(state), idle: true };
  }
  if (part !== fetch.part || (fetch.base !== undefined && base !== fetch.base)) {
    return violation(state, "another part of a base came than was asked for");
  }
  return stay(withBase(state, { fetch: { ...fetch, base, taking: true } }), {
    type: "take-base",
    piece: { name: base, part, bytes },
    need: fetch.need,
  });
}

/** What became of the last part. `idle`: nothing is on its way any more. */
export function onBaseTaken(
  state: SessionState,
  progress: BaseProgress,
): Step & { readonly idle?: boolean } {
  const { fetch } = state.base;
  if (fetch === undefined) return stay(state);
  if (progress.kind !== "more") return { ...rest(state), idle: true };
  const { name, part } = progress;
  const next = { ...fetch, base: name, part, taking: false, waitedMs: 0, seenMs: 0 };
  return stay(withBase(state, { fetch: next }), send({ type: "base-pull", base: name, part }));
}

/** The remote asks for a part. */
export const onBasePull = (state: SessionState, { base, part }: BasePullMessage): Step =>
  state.base.serving
    ? violation(state, "parts of bases are asked for at the same time")
    : stay(withBase(state, { serving: true }), { type: "serve-base", base, part });

/** It was sent. */
export const onBaseServed = (state: SessionState): Step =>
  stay(withBase(state, { serving: false }));

/** Another session of this node has begun to fetch a base, or has ended it. */
export const onBaseElsewhere = (state: SessionState, elsewhere: boolean): Step =>
  stay(withBase(state, { elsewhere }));

/** Ends the session of a remote that was asked for a part and does not send it. */
export function lookAtBase(state: SessionState): Step {
  const { fetch } = state.base;
  if (fetch === undefined || fetch.taking) return stay(state);
  const { clockMs } = state;
  // A clock that jumps is not the remote's doing.
  const passed = fetch.seenMs === 0 ? 0 : Math.min(Math.max(0, clockMs - fetch.seenMs), LOOK_MS);
  const waitedMs = fetch.waitedMs + passed;
  return waitedMs < BASE_PART_MS
    ? stay(withBase(state, { fetch: { ...fetch, waitedMs, seenMs: clockMs } }))
    : violation(state, "a part of a base was asked for and did not come");
}
