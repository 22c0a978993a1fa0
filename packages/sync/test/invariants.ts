// SPDX-License-Identifier: Apache-2.0
/** The invariants of `SPEC.md` that are about one step. */
import { LIMITS } from "@ctxmesh/model";
import { MAX_ROUNDS } from "@ctxmesh/sync";
import type {
  ChainHead,
  LocalView,
  SessionEffect,
  SessionState,
  Step,
  SyncMessage,
} from "@ctxmesh/sync";
import { names } from "./kit.ts";
import type { Taken } from "./walks.ts";

const sentBy = ({ effects }: Step): readonly SyncMessage[] =>
  effects.flatMap((effect) => (effect.type === "send" ? [effect.message] : []));
const wordOf = ({ replica, seq, hash }: ChainHead): string => `${replica} ${String(seq)} ${hash}`;
const isOurs = (view: LocalView, told: ChainHead): boolean => {
  const ours = view.headOf(told);
  return told.seq === 0 ? ours === undefined : ours !== undefined && wordOf(ours) === wordOf(told);
};
const headsIn = (message: SyncMessage): readonly ChainHead[] =>
  message.type === "ranges"
    ? message.ranges.flatMap((one) => ("heads" in one ? one.heads : []))
    : "heads" in message
      ? message.heads
      : [];
const outstanding = ({ pulling, alarm }: SessionState): number =>
  Number(pulling !== undefined) + Number(alarm !== undefined);
const count = (effects: readonly SessionEffect[], type: string): number =>
  names(effects).filter((name) => name === type).length;

/** Each invariant of one step; true where it holds. */
export const INVARIANTS: Readonly<Record<string, (taken: Taken) => boolean>> = {
  S1: ({ before, state, effects }) =>
    before.phase !== "closed" || (state === before && effects.length === 0),
  S2: ({ before, state, effects }) => {
    const closes = before.phase !== "closed" && state.phase === "closed";
    return (
      count(effects, "close") === Number(closes) && (!closes || effects.at(-1)?.type === "close")
    );
  },
  S3: (taken) =>
    taken.before.phase !== "greeting" ||
    taken.event.type === "message" ||
    sentBy(taken).every(({ type }) => type === "hello"),
  S4: (taken) => {
    const { before, event } = taken;
    const isSettled = event.type === "delivered" && before.phase === "open";
    const settled = Number(isSettled && before.pulling !== undefined);
    const asked = count(taken.effects, "send pull");
    const isEmpty = sentBy(taken).some(
      ({ type, ...of }) => type === "pull" && "spans" in of && of.spans.length === 0,
    );
    return outstanding(taken.state) === outstanding(taken.before) - settled + asked && !isEmpty;
  },
  S5: ({ before, effects }) =>
    effects.every((effect) => {
      if (effect.type === "deliver") return !effect.pulled || before.pulling !== undefined;
      if (effect.type === "add-headers") return before.wants > 0;
      if (effect.type === "add-bodies") return before.fetching !== undefined;
      return effect.type !== "take-base" || before.base.fetch !== undefined;
    }),
  S6: (taken) =>
    sentBy(taken).every((message) => {
      if (message.type !== "pull" || taken.state.pulling?.probing === true) return true;
      return message.spans.every((span) => {
        if (taken.view.own().some(({ replica }) => replica === span.replica)) return true;
        const next = (taken.view.headOf(span)?.seq ?? 0) + 1;
        const isUseless =
          taken.view.isHeld({ ...span, seq: span.from }) ||
          taken.view.isClaimed(span, taken.state.id);
        return span.from === next && span.to <= taken.view.limitOf(span) && !isUseless;
      });
    }),
  S7: (taken) =>
    taken.effects.every((effect) => {
      if (
        effect.type === "send" &&
        (effect.message.type === "have" || effect.message.type === "ranges")
      )
        return headsIn(effect.message).every((told) => isOurs(taken.view, told));
      return true;
    }),
  S8: ({ before, event, effects, view }) =>
    effects.every((effect) => {
      if (effect.type !== "confirm") return true;
      const named = new Set(event.type === "message" ? headsIn(event.message).map(wordOf) : []);
      return (
        before.believes &&
        effect.heads.every(
          (told) => told.seq > 0 && (named.has(wordOf(told)) || isOurs(view, told)),
        )
      );
    }),
  S9: ({ before, event, effects, view }) => {
    const sending = before.owed.sending && event.type !== "vouched";
    const vouches = count(effects, "vouch");
    return vouches === 0 || (view.vouches && !sending && vouches === 1);
  },
  S10: (taken) =>
    sentBy(taken).every((message) => {
      if (message.type !== "ranges") return true;
      const asked = taken.event.type === "message" ? taken.event.message : undefined;
      const round = asked?.type === "ranges" ? asked.round + 1 : 1;
      const isAnswer = ["ranges", "hello", "digest"].includes(asked?.type ?? "");
      return isAnswer && message.round === round && round <= MAX_ROUNDS;
    }),
  S11: ({ state, view }) => state.said.size <= 4 * LIMITS.frontierHeads + view.heads().length,
  S12: ({ before, event, effects }) => {
    if (count(effects, "send want") === 0 || event.type !== "missing") return true;
    const rested =
      Math.abs(event.nowMs - before.wantAfterMs) > 0 || before.wantAfterMs === event.nowMs;
    const isEarly = before.wants > 0 && event.nowMs < before.wantAfterMs;
    return rested && !(isEarly && before.wantAfterMs <= event.nowMs + 2_000);
  },
};
