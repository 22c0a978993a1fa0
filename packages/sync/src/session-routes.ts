// SPDX-License-Identifier: Apache-2.0
/** The part of a session that is about ways: what each end wants pushed, and news that can wait. */
import type { Chain, ChainHead } from "./messages.ts";
import type { Routes } from "./relay-choice.ts";
import type { RoutesMessage } from "./routes-message.ts";
import { keyed } from "./session-heads.ts";
import { send, stay } from "./session-state.ts";
import type { SessionState, Step } from "./session-state.ts";

/** How long news wait of what should reach the remote on another way; by then the remote has mostly told us the same. */
export const LATE_MS = 500;

/** The remote says what it wants pushed. */
export const onRoutes = (state: SessionState, { here, elsewhere }: RoutesMessage): Step =>
  stay({ ...state, routes: { here, elsewhere } });

/** Tells the remote what we want pushed. */
export const sendRoutes = (state: SessionState, routes: Routes): Step =>
  stay(state, send({ type: "routes", ...routes }));

/** The remote is told of a chain, but not soon. */
export const tellLate = (state: SessionState, head: ChainHead): SessionState => ({
  ...state,
  late: new Map([...state.late, ...keyed([head])]),
});

/** Time passes: what was late becomes news. */
export function wake(state: SessionState, nowMs: number): SessionState {
  if (state.late.size === 0) return state;
  const due = state.lateDueMs;
  if (due === undefined) return { ...state, lateDueMs: nowMs + LATE_MS };
  // A clock that was set back must not put them off.
  if (nowMs < due && due <= nowMs + LATE_MS) return state;
  const news = new Map([...state.news, ...state.late]);
  return { ...state, news, late: new Map<string, Chain>(), lateDueMs: undefined };
}
