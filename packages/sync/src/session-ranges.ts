// SPDX-License-Identifier: Apache-2.0
/** The part of a session that compares heads: by digest, and range by range where digests differ. */
import { toHex } from "@ctxmesh/model";
import { chainKey, entriesOf, noChains, withEntries } from "./chain-map.ts";
import type { ChainMap } from "./chain-map.ts";
import type { Chain, ChainHead, ChainSeq } from "./message-parts.ts";
import { MAX_ROUNDS, isBefore, rangeKey } from "./range-message.ts";
import type { Range, RangesMessage } from "./range-message.ts";
import { compareRanges, isAsking, openingRanges, pageRanges } from "./ranges.ts";
import type { KnownRange } from "./ranges.ts";
import { hear, keyed, noHead } from "./session-heads.ts";
import { onRecordsDigest } from "./session-records.ts";
import { andThen, send, stay } from "./session-state.ts";
import type { LocalView, SessionEffect, SessionState, Step } from "./session-state.ts";
import { appliedThere } from "./session-vouching.ts";

const sendRanges = (round: number, ranges: readonly Range[]): readonly SessionEffect[] =>
  pageRanges(ranges).map((page) => send({ type: "ranges", round, ranges: page }));

/** Finds for chains the range among some, in order, that they lie in. */
function rangeFinder(listed: readonly KnownRange[]): (chain: Chain) => KnownRange | undefined {
  return (chain) => {
    const key = rangeKey(chain);
    let [low, high] = [0, listed.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isBefore(key, listed[middle]?.upper ?? "")) high = middle;
      else low = middle + 1;
    }
    const found = listed[low];
    return found !== undefined && key >= found.lower ? found : undefined;
  };
}

/** Chains of a map that lie in ranges that were listed, and are not in the lists. */
function unlisted<T extends ChainSeq>(
  map: ChainMap<T>,
  listed: readonly KnownRange[],
): readonly ChainHead[] {
  const find = rangeFinder(listed);
  const names = new Set(listed.flatMap(({ heads }) => heads.map(chainKey)));
  const absent: ChainHead[] = [];
  for (const [chain, entry] of entriesOf(map)) {
    if (entry.seq > 0 && !names.has(chain) && find(entry) !== undefined) absent.push(noHead(entry));
  }
  return absent;
}

/** Ranges of our own message that list heads. */
function listedIn(ranges: readonly Range[]): readonly KnownRange[] {
  let lower = "";
  return ranges.flatMap((range) => {
    const start = lower;
    lower = range.upper;
    const { upper } = range;
    return "heads" in range ? [{ lower: start, upper, heads: range.heads, agreed: false }] : [];
  });
}

/** The remote knows all of our heads in these ranges, so what it was told of others there is void. */
function tellRanges(state: SessionState, ranges: readonly KnownRange[]): SessionState {
  if (ranges.length === 0) return state;
  const told = withEntries(state.told, keyed(unlisted(state.told, ranges)));
  return { ...state, told: withEntries(told, keyed(ranges.flatMap(({ heads }) => heads))) };
}

/** These are all heads that the remote has in these ranges: of other chains there it has nothing. */
const hearRanges = (
  state: SessionState,
  ranges: readonly KnownRange[],
  view: LocalView,
): SessionState =>
  ranges.length === 0
    ? state
    : hear(state, [...ranges.flatMap(({ heads }) => heads), ...unlisted(state.said, ranges)], view);

/** Begins a comparison. */
function begin(state: SessionState, view: LocalView): Step {
  const ranges = openingRanges(view.ranges());
  return stay(tellRanges(state, listedIn(ranges)), ...sendRanges(1, ranges));
}

/** The remote's digests say that it has just what we have. */
const onSame = (state: SessionState, view: LocalView): Step => {
  const heads = view.heads();
  const all = keyed(heads);
  const [said, told] = [withEntries(noChains, all), withEntries(noChains, all)];
  return appliedThere({ ...state, said, told }, heads);
};

const ourDigest = (view: LocalView, asks: boolean): SessionEffect =>
  send({ type: "digest", digest: view.digest(), records: view.recordsDigest(), asks });

/** Says our digests, to which the remote answers. */
export const askDigest = (state: SessionState, nowMs: number, view: LocalView): Step =>
  stay({ ...state, digestDueMs: undefined, comparedMs: nowMs }, ourDigest(view, true));

/** The remote's digests: if its heads are not ours, and it asked, we begin to compare them. */
export function onDigest(
  state: SessionState,
  message: { readonly digest: Uint8Array; readonly records: Uint8Array; readonly asks: boolean },
  view: LocalView,
): Step {
  const compared = onRecordsDigest({ ...state, comparedMs: state.clockMs }, message.records, view);
  const isSame = toHex(message.digest) === toHex(view.digest());
  return andThen(compared, (next) => {
    if (!isSame) return message.asks ? begin(next, view) : stay(next);
    const answer = message.asks ? [ourDigest(view, false)] : [];
    return andThen(onSame(next, view), (same) => stay(same, ...answer));
  });
}

/**
 * The remote's digests in hello. Both ends have told theirs; the one with the lower digest begins, by what each has told, since
 * heads may have moved meanwhile.
 */
export function onGreeting(
  state: SessionState,
  message: { readonly digest: Uint8Array; readonly records: Uint8Array },
  view: LocalView,
): Step {
  const theirs = toHex(message.digest);
  const ours = toHex(view.digest());
  const told = state.greeted ?? theirs;
  const begins = told === theirs ? ours !== theirs : told < theirs;
  const compared = onRecordsDigest({ ...state, comparedMs: state.clockMs }, message.records, view);
  return andThen(compared, (next) => {
    if (begins) return begin(next, view);
    return ours === theirs ? onSame(next, view) : stay(next);
  });
}

/** What came of a message of a comparison. */
export interface RangesStep extends Step {
  /** Whether nothing more is to come of it from the remote, as far as this message goes. */
  readonly isOver: boolean;
}

/** The remote's next message of a comparison. */
export function onRanges(
  state: SessionState,
  { round, ranges }: RangesMessage,
  view: LocalView,
): RangesStep {
  const { known, answer } = compareRanges(ranges, view.ranges());
  if (answer.length > 0 && round >= MAX_ROUNDS) {
    const reason = "a comparison of heads does not end";
    return { ...stay({ ...state, phase: "closed" }, { type: "close", reason }), isOver: true };
  }
  const heard = hearRanges({ ...state, comparedMs: state.clockMs }, known, view);
  const agreed = tellRanges(
    heard,
    known.filter((range) => range.agreed),
  );
  const told = tellRanges(agreed, listedIn(answer));
  const confirmed = known.flatMap(({ heads }) => heads);
  const step = andThen(appliedThere(told, confirmed), (next) =>
    stay(next, ...sendRanges(round + 1, answer)),
  );
  return { ...step, isOver: !answer.some(isAsking) };
}
