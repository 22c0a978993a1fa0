// SPDX-License-Identifier: Apache-2.0
/** The part of a session that is about records: membership acts and proofs of equivocation. */
import { LIMITS, toHex } from "@ctxmesh/model";
import { chainKey } from "./chain-map.ts";
import type { ChainSeq, SyncMessage } from "./messages.ts";
import { send, stay } from "./session-state.ts";
import type { LocalView, SessionState, Step } from "./session-state.ts";
import type { RecordIds, Records } from "./sync-replica.ts";

/** We say which records we know at most this often, unless the last answer helped and more is to be had. */
export const RECORDS_EVERY_MS = 2_000;

/** Most bytes of an act's id, of a fork and of the rest, as they stand in a `records` message. */
const ACT_ID_BYTES = 34;
const FORK_BYTES = 61;
const FRAME_BYTES = 64;

/** Whether the remote's records are known to be ours. */
export const hasOurRecords = (state: SessionState, view: LocalView): boolean =>
  state.remoteRecords === toHex(view.recordsDigest());

/** What we know, in one message, or in one for acts and one for forks. */
function sayRecords({ acts, forks }: RecordIds): SyncMessage[] {
  const bytes = FRAME_BYTES + acts.length * ACT_ID_BYTES + forks.length * FORK_BYTES;
  return bytes <= LIMITS.syncMessageBytes
    ? [{ type: "records", acts, forks }]
    : [
        { type: "records", acts, forks: undefined },
        { type: "records", acts: undefined, forks },
      ];
}

/** Whether `theirs` names something that `ours` has not, or a fork at a lower position. */
function lacksAny(
  ours: RecordIds,
  acts: readonly string[] = [],
  forks: readonly ChainSeq[] = [],
): boolean {
  const known = new Set(ours.acts);
  const seqs = new Map(ours.forks.map((fork) => [chainKey(fork), fork.seq]));
  return (
    acts.some((id) => !known.has(id)) ||
    forks.some((fork) => (seqs.get(chainKey(fork)) ?? Number.POSITIVE_INFINITY) > fork.seq)
  );
}

const askNow = (state: SessionState, view: LocalView): Step =>
  stay(
    {
      ...state,
      comparing: true,
      recordsOwed: false,
      recordsAfterMs: state.clockMs + RECORDS_EVERY_MS,
    },
    ...sayRecords(view.recordIds()).map(send),
  );

/** A clock that was set back must not put it off. */
const mayAsk = ({ clockMs, recordsAfterMs }: SessionState): boolean =>
  clockMs >= recordsAfterMs || recordsAfterMs > clockMs + RECORDS_EVERY_MS;

/** Says which records we know, now or as soon as it may be said again. */
export const askForRecords = (state: SessionState, view: LocalView): Step =>
  mayAsk(state) ? askNow(state, view) : stay({ ...state, recordsOwed: true });

/** Says what is owed, unless it has become needless. */
export function payRecords(state: SessionState, view: LocalView): Step {
  if (!state.recordsOwed || !mayAsk(state)) return stay(state);
  return hasOurRecords(state, view) ? stay({ ...state, recordsOwed: false }) : askNow(state, view);
}

/** The remote's digest over its records; if it is not ours, we say what we know. */
export function onRecordsDigest(state: SessionState, digest: Uint8Array, view: LocalView): Step {
  const next = { ...state, remoteRecords: toHex(digest) };
  return hasOurRecords(next, view) ? stay(next) : askForRecords(next, view);
}

/** The remote said what it knows: it gets what it lacks, and hears what we know if we lack something. */
export function onRecords(
  state: SessionState,
  message: SyncMessage & { readonly type: "records" },
  view: LocalView,
): Step {
  const { acts, forks } = message;
  const asked =
    mayAsk(state) && lacksAny(view.recordIds(), acts, forks) ? askNow(state, view) : stay(state);
  return {
    state: asked.state,
    effects: [{ type: "serve-records", acts, forks }, ...asked.effects],
  };
}

/** Records came; what became of them is reported later. */
export const onActs = (
  state: SessionState,
  { acts, proofs, more, records }: SyncMessage & { readonly type: "acts" },
): Step =>
  stay(
    { ...state, remoteRecords: toHex(records) },
    { type: "add-records", records: { acts, proofs }, more },
  );

/** Asks for the next page as long as pages help; then what was put off meanwhile may go on. */
export const onRecordsAdded = (
  state: SessionState,
  { added, more }: { readonly added: number; readonly more: boolean },
  view: LocalView,
): Step => (more && added > 0 ? askNow(state, view) : stay({ ...state, comparing: false }));

/** New records for a remote that is not known to have them. */
export const pushRecords = (
  state: SessionState,
  { acts, proofs }: Records,
  view: LocalView,
): Step =>
  acts.length + proofs.length === 0 || hasOurRecords(state, view)
    ? stay(state)
    : stay(state, send({ type: "acts", acts, proofs, more: false, records: view.recordsDigest() }));
