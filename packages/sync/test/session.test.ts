// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the state machine of a session is total, asks for one thing at a time, and comes to rest.
 * Method: the table of phases and events, random event sequences against its invariants, then the rules one by one.
 */
import { parseSpaceId } from "@ctxmesh/model";
import { MAX_HEADS, MAX_SPANS, initialState, isInSync, step } from "@ctxmesh/sync";
import type { ChainHead, LocalView, SessionEvent, SessionState } from "@ctxmesh/sync";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  NOW_MS,
  BATCH,
  HASH,
  NO_RECORDS,
  applied,
  batches,
  compared,
  delivered,
  digestOf,
  head,
  heads,
  hello,
  idsOf,
  lists,
  message,
  names,
  pulledBy,
  recordsOf,
  run,
  spanOf,
  tick,
  viewOf,
} from "./kit.ts";

const ranges = (mode: "list" | "listed", only: ChainHead, round = 1): SessionEvent =>
  message({ type: "ranges", round, ranges: [{ upper: "", mode, heads: [only] }] });

const EVENTS: Readonly<Record<string, SessionEvent>> = {
  opened: { type: "opened" },
  "hello, equal": hello(),
  "hello, different": hello(digestOf({ 1: 1 })),
  "hello, other records": hello(digestOf({}), recordsOf([1])),
  "hello, other space": message({
    type: "hello",
    space: parseSpaceId("77".repeat(32)),
    digest: digestOf({}),
    records: NO_RECORDS,
  }),
  "heads of more": heads(head(1, 2)),
  "have of nothing": message({ type: "have", heads: [] }),
  pull: message({ type: "pull", spans: [{ ...head(1, 1), from: 1, to: 2 }] }),
  batches: batches(),
  push: message({ type: "push", batch: BATCH }),
  "digest, equal": compared(digestOf({})),
  "digest, equal, asking": compared(digestOf({}), NO_RECORDS, true),
  "digest, different": compared(digestOf({ 1: 1 })),
  "digest, different, asking": compared(digestOf({ 1: 1 }), NO_RECORDS, true),
  "ranges, a list": ranges("list", head(1, 2)),
  "ranges, listed": ranges("listed", head(1, 2)),
  "ranges, a fingerprint": message({
    type: "ranges",
    round: 1,
    ranges: [{ upper: "", mode: "fingerprint", fingerprint: "ab".repeat(16) }],
  }),
  "ranges, without end": ranges("list", head(1, 2), 16),
  "digest, other records": compared(digestOf({}), recordsOf([1])),
  "records, none": message({ type: "records", acts: [], forks: [] }),
  "records, unknown": message({ type: "records", ...idsOf([1]) }),
  acts: message({ type: "acts", acts: [BATCH], proofs: [], more: false, records: NO_RECORDS }),
  want: message({ type: "want", hashes: [HASH] }),
  headers: message({ type: "headers", headers: [BATCH] }),
  "base-pull": message({ type: "base-pull", base: undefined, part: 0 }),
  "base-part": message({ type: "base-part", base: HASH, part: 0, bytes: BATCH }),
  "base-taken": { type: "base-taken", progress: { kind: "installed" } },
  "base-served": { type: "base-served" },
  "base-elsewhere": { type: "base-elsewhere", elsewhere: true },
  freed: { type: "freed" },
  "applied, brought": applied(head(1, 1), "brought"),
  "applied, push": applied(head(1, 1), "push"),
  "applied, tell": applied(head(1, 1), "tell"),
  served: { type: "served", heads: [head(1, 1)] },
  delivered: delivered(),
  held: { type: "held", nowMs: NOW_MS },
  "records-changed": {
    type: "records-changed",
    records: { acts: [BATCH], proofs: [] },
    nowMs: NOW_MS,
  },
  "records-added": { type: "records-added", added: 0, more: false },
  missing: { type: "missing", hashes: [HASH], nowMs: NOW_MS },
  compare: { type: "compare", nowMs: NOW_MS },
  tick: tick(),
};

const open = run(viewOf(), hello()).state;
const pulling = step(open, heads(head(1, 2)), viewOf()).state;
const closed: SessionState = { ...open, phase: "closed" };

/** Effects and next phase of each event while greeting, open and idle, and open and pulling. */
const TABLE: Readonly<Record<string, readonly [greeting: string, idle: string, pulling: string]>> =
  {
    opened: ["send hello > greeting", "send hello > open", "send hello > open"],
    "hello, equal": ["> open", "close > closed", "close > closed"],
    "hello, different": ["send ranges > open", "close > closed", "close > closed"],
    "hello, other records": ["send records > open", "close > closed", "close > closed"],
    "hello, other space": ["close > closed", "close > closed", "close > closed"],
    "heads of more": ["close > closed", "send pull > open", "> open"],
    "have of nothing": ["close > closed", "> open", "> open"],
    pull: ["close > closed", "serve > open", "serve > open"],
    batches: ["close > closed", "close > closed", "deliver > open"],
    push: ["close > closed", "deliver > open", "deliver > open"],
    "digest, equal": ["close > closed", "> open", "> open"],
    "digest, equal, asking": ["close > closed", "send digest > open", "send digest > open"],
    "digest, different": ["close > closed", "> open", "> open"],
    "digest, different, asking": ["close > closed", "send ranges > open", "send ranges > open"],
    "ranges, a list": ["close > closed", "send ranges, send pull > open", "send ranges > open"],
    "ranges, listed": ["close > closed", "send pull > open", "> open"],
    "ranges, a fingerprint": ["close > closed", "send ranges > open", "send ranges > open"],
    "ranges, without end": ["close > closed", "close > closed", "close > closed"],
    "digest, other records": ["close > closed", "send records > open", "send records > open"],
    "records, none": ["close > closed", "serve-records > open", "serve-records > open"],
    "records, unknown": [
      "close > closed",
      "serve-records, send records > open",
      "serve-records, send records > open",
    ],
    acts: ["close > closed", "add-records > open", "add-records > open"],
    want: ["close > closed", "serve-headers > open", "serve-headers > open"],
    headers: ["close > closed", "close > closed", "close > closed"],
    "base-pull": ["close > closed", "serve-base > open", "serve-base > open"],
    "base-part": ["close > closed", "close > closed", "close > closed"],
    "base-taken": ["> greeting", "> open", "> open"],
    "base-served": ["> greeting", "> open", "> open"],
    "base-elsewhere": ["> greeting", "> open", "> open"],
    freed: ["> greeting", "> open", "> open"],
    "applied, brought": ["> greeting", "> open", "> open"],
    "applied, push": ["> greeting", "send push > open", "> open"],
    "applied, tell": ["> greeting", "> open", "> open"],
    served: ["> greeting", "> open", "> open"],
    delivered: ["> greeting", "> open", "send base-pull > open"],
    held: ["> greeting", "> open", "> open"],
    "records-changed": ["> greeting", "> open", "> open"],
    "records-added": ["> greeting", "> open", "> open"],
    missing: ["> greeting", "send want > open", "send want > open"],
    compare: ["> greeting", "send digest > open", "send digest > open"],
    tick: ["> greeting", "> open", "> open"],
  };

describe("the transition table", () => {
  test("has a row for every event", () => {
    expect(Object.keys(TABLE)).toEqual(Object.keys(EVENTS));
  });

  test.each(Object.entries(EVENTS))(
    "%s: defined while greeting, idle, pulling, closed",
    (name, event) => {
      const outcome = (state: SessionState): string => {
        const next = step(state, event, viewOf());
        return `${names(next.effects).join(", ")} > ${next.state.phase}`.trim();
      };
      expect([initialState, open, pulling].map(outcome)).toEqual(TABLE[name]);
      expect(step(closed, event, viewOf())).toEqual({ state: closed, effects: [] });
    },
  );
});

/** What a step does that no step may do. */
function problemOf(
  before: SessionState,
  { state, effects }: ReturnType<typeof step>,
  outstanding: boolean,
): string | undefined {
  const done = names(effects);
  if (before.phase === "closed") {
    return state === before && effects.length === 0 ? undefined : "it came back to life";
  }
  if ((state.phase === "closed") !== done.includes("close")) return "phase and effects disagree";
  const pulls = done.filter((name) => name === "send pull").length;
  if (
    pulls > 1 ||
    (pulls === 1 && before.pulling !== undefined && state.pulling === before.pulling)
  ) {
    return "a second pull";
  }
  const taken = effects.some((effect) => effect.type === "deliver" && effect.pulled);
  return taken && !outstanding ? "batches that nobody pulled" : undefined;
}

test("whatever happens: nothing throws, one pull is outstanding at most, batches are taken only then, closing is final", () => {
  const small = fc.integer({ min: 1, max: 4 });
  const anyHead = fc
    .tuple(small, fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 2 }))
    .map(([n, seq, branch]) => head(n, seq, branch));
  const digest = small.map((n) => digestOf({ [n]: n }));
  const anyEvent: fc.Arbitrary<SessionEvent> = fc.oneof(
    fc.constantFrom(...Object.values(EVENTS)),
    fc.array(anyHead, { maxLength: 4 }).map((all) => heads(...all)),
    digest.map((of) => compared(of)),
    fc
      .tuple(anyHead, fc.constantFrom("brought", "push", "tell"))
      .map(([at, how]) => applied(at, how)),
    fc.nat(30_000).map((ms) => tick(NOW_MS + ms)),
  );
  const ours = fc.dictionary(fc.constantFrom("1", "2", "3", "4"), small);
  fc.assert(
    fc.property(fc.array(fc.tuple(anyEvent, ours), { maxLength: 40 }), (history) => {
      let state = initialState;
      let outstanding = false;
      for (const [event, chains] of history) {
        const before = structuredClone(state);
        const next = step(state, event, viewOf(chains));
        expect(state).toEqual(before);
        expect(problemOf(state, next, outstanding)).toBeUndefined();
        if (event.type === "delivered") outstanding = false;
        if (names(next.effects).includes("send pull")) outstanding = true;
        state = next.state;
      }
    }),
    { numRuns: 1_000 },
  );
});

describe("pulling", () => {
  test("goes on while answers help, and stops at a fruitless one until heads are compared again", () => {
    const start = run(viewOf(), hello(digestOf({ 1: 9 })), heads(head(1, 9)));
    expect(pulledBy(start.state)).toBe(9);
    const helped = step(start.state, delivered(true), viewOf({ 1: 4 }));
    expect(names(helped.effects)).toEqual(["send pull"]);
    expect(pulledBy(helped.state)).toBe(5);
    // What the remote can't give may be in a base.
    const vain = step(helped.state, delivered(), viewOf({ 1: 4 }));
    expect(names(vain.effects)).toEqual(["send base-pull"]);
    const none = message({ type: "base-part", base: undefined, part: 0, bytes: new Uint8Array() });
    const fruitless = step(vain.state, none, viewOf({ 1: 4 }));
    expect(fruitless.effects).toEqual([]);
    expect(fruitless.state.pulling).toBeUndefined();
    expect(step(fruitless.state, tick(), viewOf({ 1: 4 })).effects).toEqual([]);
    expect(step(fruitless.state, heads(head(1, 9)), viewOf({ 1: 4 })).effects).toEqual([]);
    expect(names(step(fruitless.state, lists(head(1, 9)), viewOf({ 1: 4 })).effects)).toEqual([
      "send pull",
    ]);
  });

  test("an answer that brings all ends it", () => {
    const { state } = run(viewOf(), hello(digestOf({ 1: 9 })), heads(head(1, 9)));
    const done = step(state, delivered(true), viewOf({ 1: 9 }));
    expect(done.effects).toEqual([]);
    expect(isInSync(done.state, viewOf({ 1: 9 }))).toBe(true);
  });

  test("an answer that had no room for a chain does not end asking for it, one without anything new does for what it has", () => {
    const view = viewOf({});
    const start = run(view, hello(digestOf({ 1: 9 })), heads(head(1, 9), head(2, 9)));
    const helped = step(start.state, delivered(true), viewOf({ 1: 4 }));
    expect(helped.state.pulling?.spans.map(({ replica }) => replica)).toEqual([
      head(1, 1).replica,
      head(2, 1).replica,
    ]);
    const settled = [{ ...head(1, 5), same: undefined }];
    const held = step(helped.state, { ...delivered(), settled } as SessionEvent, viewOf({ 1: 4 }));
    expect(held.state.pulling?.spans).toEqual([{ ...spanOf(2), from: 1, to: 9 }]);
  });

  test("a chain that others brought on meanwhile is asked for further, though the answer had nothing new", () => {
    const { state } = run(viewOf(), hello(digestOf({ 1: 9 })), heads(head(1, 9)));
    const next = step(state, delivered(), viewOf({ 1: 4 }));
    expect(next.state.pulling?.spans).toEqual([{ ...spanOf(1), from: 5, to: 9 }]);
  });

  test("heads that come meanwhile are pulled next", () => {
    const { state } = run(
      viewOf(),
      hello(digestOf({ 1: 2 })),
      heads(head(1, 2)),
      heads(head(2, 1)),
    );
    const next = step(state, delivered(true), viewOf({ 1: 2 }));
    expect(next.effects).toEqual([
      { type: "send", message: { type: "pull", spans: [{ ...spanOf(2), from: 1, to: 1 }] } },
    ]);
  });

  test("more chains than one pull may name are pulled in turns", () => {
    const many = Array.from({ length: MAX_SPANS + 5 }, (_, n) => head(n, 1));
    const { state, effects } = run(viewOf(), hello(digestOf({ 1: 1 })), heads(...many));
    const [effect] = effects;
    expect(effect).toMatchObject({ type: "send", message: { type: "pull" } });
    expect(pulledBy(state)).toBe(MAX_SPANS);
    const first = Object.fromEntries(many.slice(0, MAX_SPANS).map((_, n) => [n, 1]));
    const next = step(state, delivered(true), viewOf(first));
    expect(pulledBy(next.state)).toBe(5);
  });
});

describe("news", () => {
  test("a batch that continues what the remote has is pushed, once", () => {
    const view = viewOf({ 1: 3 });
    const { state } = run(view, hello(digestOf({ 1: 3 })));
    const pushed = step(state, applied(head(1, 4)), viewOf({ 1: 4 }));
    expect(pushed.effects).toEqual([{ type: "send", message: { type: "push", batch: BATCH } }]);
    expect(step(pushed.state, applied(head(1, 4)), viewOf({ 1: 4 })).effects).toEqual([]);
    expect(step(pushed.state, tick(), viewOf({ 1: 4 })).effects).toEqual([]);
  });

  test("a batch over a gap is not pushed but told on the next tick, with the newest head only", () => {
    const { state } = run(viewOf(), hello());
    const gap = step(state, applied(head(1, 2)), viewOf({ 1: 2 }));
    expect(gap.effects).toEqual([]);
    const more = step(gap.state, applied(head(1, 3)), viewOf({ 1: 3 }));
    expect(more.effects).toEqual([]);
    const told = step(more.state, tick(), viewOf({ 1: 3 }));
    expect(told.effects).toEqual([
      { type: "send", message: { type: "have", heads: [head(1, 3)] } },
    ]);
    expect(step(told.state, tick(), viewOf({ 1: 3 })).effects).toEqual([]);
  });

  test("what the remote brought, or has told us of since, is neither pushed nor told", () => {
    const { state } = run(viewOf(), hello());
    const brought = step(state, applied(head(1, 1), "brought"), viewOf({ 1: 1 }));
    expect(step(brought.state, tick(), viewOf({ 1: 1 })).effects).toEqual([]);
    const queued = step(state, applied(head(1, 1), "tell"), viewOf({ 1: 1 }));
    const heard = step(queued.state, heads(head(1, 1)), viewOf({ 1: 1 }));
    expect(step(heard.state, tick(), viewOf({ 1: 1 })).effects).toEqual([]);
  });

  test("after an answer was served, the batch that follows it is pushed", () => {
    const { state } = run(viewOf(), hello(), { type: "served", heads: [head(1, 5)] });
    expect(names(step(state, applied(head(1, 6)), viewOf({ 1: 6 })).effects)).toEqual([
      "send push",
    ]);
  });

  test("more heads than one message may name are told in several", () => {
    const all = Array.from({ length: MAX_HEADS + 1 }, (_, n) => head(n, 1));
    const byReplica = new Map(all.map((one) => [one.replica, one]));
    const view: LocalView = {
      ...viewOf(),
      heads: () => all,
      headOf: ({ replica }) => byReplica.get(replica),
    };
    const records = { acts: [], proofs: [] };
    const changed: SessionEvent = { type: "records-changed", records, nowMs: NOW_MS };
    const { state } = step(run(viewOf(), hello()).state, changed, view);
    const { effects } = step(state, tick(), view);
    const sizes = effects.flatMap((effect) =>
      effect.type === "send" && effect.message.type === "have" ? [effect.message.heads.length] : [],
    );
    expect(sizes).toEqual([MAX_HEADS, 1]);
  });
});
