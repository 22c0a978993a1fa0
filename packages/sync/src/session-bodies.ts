// SPDX-License-Identifier: Apache-2.0
/** The part of a session that fetches bodies which were left out: one wish at a time, and nothing that was not wished for. */
import type { BodiesMessage } from "./body-messages.ts";
import { send, stay } from "./session-state.ts";
import type { SessionEvent, SessionState, Step } from "./session-state.ts";

/** The driver wants bodies. While an answer is outstanding it has to wait: it is told so by nothing happening. */
export function onFetch(
  state: SessionState,
  { wanted, only }: SessionEvent & { readonly type: "fetch" },
): Step {
  if (state.fetching !== undefined || wanted.length === 0) return stay(state);
  return stay({ ...state, fetching: wanted }, send({ type: "wanted", wanted, only }));
}

/** The answer to our wish. */
export function onBodies(state: SessionState, { bodies }: BodiesMessage): Step {
  const { fetching = [] } = state;
  const wished = new Set(fetching.map(({ hash, section }) => `${hash} ${String(section)}`));
  const isWished = bodies.every(({ hash, section }) => wished.delete(`${hash} ${String(section)}`));
  if (state.fetching === undefined || !isWished) {
    const reason = "bodies came that nobody wanted";
    return stay({ ...state, phase: "closed" }, { type: "close", reason });
  }
  return stay({ ...state, fetching: undefined }, { type: "add-bodies", bodies });
}
