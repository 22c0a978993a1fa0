// SPDX-License-Identifier: Apache-2.0
/** The part of a session that asks for headers by hash: each less and less often, since nobody may have it. */
import type { HeaderHash } from "@ctxmesh/model";
import { send, stay } from "./session-state.ts";
import type { SessionEvent, SessionState, Step, Wanted } from "./session-state.ts";

/** Headers are asked for at most this often, and each again no sooner. */
export const WANT_EVERY_MS = 2_000;
/** Twice as long after each time in vain, up to this. */
export const WANT_AT_LEAST_EVERY_MS = 300_000;

const restMs = (times: number): number =>
  Math.min(WANT_EVERY_MS * 2 ** Math.min(times, 16), WANT_AT_LEAST_EVERY_MS);

/** A clock that was set back puts nothing off by more than the longest rest. */
const rests = (afterMs: number, nowMs: number, mostMs: number): boolean =>
  nowMs < afterMs && afterMs <= nowMs + mostMs;

/** Held batches wait for these headers; what is not among them any more is forgotten. */
export function onMissing(
  state: SessionState,
  { hashes, nowMs }: SessionEvent & { readonly type: "missing" },
): Step {
  const known = hashes.flatMap((hash): (readonly [HeaderHash, Wanted])[] => {
    const wanted = state.wanted.get(hash);
    return wanted === undefined ? [] : [[hash, wanted]];
  });
  const due = hashes.filter(
    (hash) => !rests(state.wanted.get(hash)?.afterMs ?? 0, nowMs, WANT_AT_LEAST_EVERY_MS),
  );
  const isResting = rests(state.wantAfterMs, nowMs, WANT_EVERY_MS) || due.length === 0;
  // As a rule: what is missing is looked at each second, and asked for some times.
  if (isResting && known.length === state.wanted.size) return stay(state);
  const wanted = new Map(known);
  if (isResting) return stay({ ...state, wanted });
  for (const hash of due) {
    const times = wanted.get(hash)?.times ?? 0;
    wanted.set(hash, { times: times + 1, afterMs: nowMs + restMs(times) });
  }
  return stay(
    { ...state, wanted, wants: state.wants + 1, wantAfterMs: nowMs + WANT_EVERY_MS },
    send({ type: "want", hashes: due }),
  );
}
