// SPDX-License-Identifier: Apache-2.0
/**
 * The part of a session that is about acknowledgements: a hub tells its remotes how far chains are durable there, and how
 * far they are sealed. Each head that it applies is told to each remote once: as a push, as `have`, or, where the
 * remote is known to have it, as `stored`. One message of this kind is on its way at a time; what comes meanwhile gathers
 * for the next one, the newest head of each chain, so that no more is owed than there are chains.
 */
import { chainKey, entriesOf, noChains, withEntries } from "./chain-map.ts";
import type { ChainMap } from "./chain-map.ts";
import { MAX_HEADS } from "./messages.ts";
import type { ChainHead, SyncMessage } from "./messages.ts";
import { stay } from "./session-state.ts";
import type { ConfirmedLevel, Owed, SessionEffect, SessionState, Step } from "./session-state.ts";

/** What is told of a level, and where it gathers. */
type OwedKind = "stored" | "sealed";

/** The next message's worth of owed heads, and the rest. */
function takeFrom(owed: ChainMap<ChainHead>): readonly [readonly ChainHead[], ChainMap<ChainHead>] {
  const entries = [...entriesOf(owed)];
  const rest = entries.slice(MAX_HEADS);
  return [
    entries.slice(0, MAX_HEADS).map(([, head]) => head),
    rest.length === 0 ? noChains : withEntries<ChainHead>(noChains, rest),
  ];
}

/** Sends what is owed, unless a message is on its way; what is stored goes first, since somebody may wait for it. */
function pay(state: SessionState): Step {
  if (state.owed.sending) return stay(state);
  for (const type of ["stored", "sealed"] as const) {
    const [heads, rest] = takeFrom(state.owed[type]);
    if (heads.length === 0) continue;
    const owed: Owed = { ...state.owed, [type]: rest, sending: true };
    return stay({ ...state, owed }, { type: "vouch", message: { type, heads } });
  }
  return stay(state);
}

/** The remote is to hear that these are durable here, or sealed. */
export function vouch(state: SessionState, type: OwedKind, heads: readonly ChainHead[]): Step {
  if (heads.length === 0) return stay(state);
  const entries = heads.map((head) => [chainKey(head), head] as const);
  const owed: Owed = { ...state.owed, [type]: withEntries(state.owed[type], entries) };
  return pay({ ...state, owed });
}

/** The channel took the last message. */
export const onVouched = (state: SessionState): Step =>
  pay({ ...state, owed: { ...state.owed, sending: false } });

/** A hub's word about heads; nobody else's counts. */
const confirm = (
  state: SessionState,
  level: ConfirmedLevel,
  heads: readonly ChainHead[],
): readonly SessionEffect[] => {
  const some = state.believes ? heads.filter(({ seq }) => seq > 0) : [];
  return some.length === 0 ? [] : [{ type: "confirm", level, heads: some }];
};

/** What a remote has applied, as it says in `heads`, `have` or a digest, is on its disk. */
export const appliedThere = (state: SessionState, heads: readonly ChainHead[]): Step =>
  stay(state, ...confirm(state, "hub", heads));

/** A hub says what is stored or sealed; from anybody else that breaks the protocol. */
export const onVouch = (
  state: SessionState,
  { type, heads }: SyncMessage & { readonly type: OwedKind },
): Step =>
  state.believes
    ? stay(state, ...confirm(state, type === "stored" ? "hub" : "sealed", heads))
    : stay(
        { ...state, phase: "closed" },
        { type: "close", reason: `a remote that is no hub said what is ${type}` },
      );
