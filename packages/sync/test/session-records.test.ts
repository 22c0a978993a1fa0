// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a session exchanges records before batches, lets chains go down, and looks for forks, all at bounded cost.
 * Method: the rules one by one, on the state machine alone.
 */
import {
  COMPARE_SOON_MS,
  MAX_PROBES,
  RECORDS_EVERY_MS,
  WANT_EVERY_MS,
  isInSync,
  step,
} from "@ctxmesh/sync";
import type { ChainHead, ChainSeq, LocalView, SessionEvent, SessionState } from "@ctxmesh/sync";
import { LIMITS } from "@ctxmesh/model";
import { describe, expect, test } from "vitest";
import {
  BATCH,
  HASH,
  NOW_MS,
  compared,
  delivered,
  digestOf,
  head,
  heads,
  hello,
  idsOf,
  message,
  names,
  pulledBy,
  recordsOf,
  run,
  spanOf,
  tick,
  viewOf,
} from "./kit.ts";

const acts = (of: readonly number[], more = false): SessionEvent =>
  message({ type: "acts", acts: [BATCH], proofs: [], more, records: recordsOf(of) });
const added = (count: number, more = false): SessionEvent => ({
  type: "records-added",
  added: count,
  more,
});
const changed = (nowMs = NOW_MS, fresh: readonly Uint8Array[] = [BATCH]): SessionEvent => ({
  type: "records-changed",
  records: { acts: fresh, proofs: [] },
  nowMs,
});
const records = (of: readonly number[]): SessionEvent => message({ type: "records", ...idsOf(of) });

const fork = (seq: number): ChainSeq => ({ ...spanOf(1), seq });

describe("comparing records", () => {
  test("different digests make us say what we know, before heads, and put pulling off until the answer took effect", () => {
    const view = viewOf({}, { acts: [1] });
    const greeted = run(view, hello(digestOf({ 1: 1 }), recordsOf([1, 2])));
    expect(names(greeted.effects)).toEqual(["send records", "send ranges"]);
    expect(greeted.effects[0]).toMatchObject({ message: { ...idsOf([1]) } });
    const told = step(greeted.state, heads(head(1, 1)), view);
    expect(told.effects).toEqual([]);
    const answered = step(told.state, acts([1, 2]), view);
    expect(names(answered.effects)).toEqual(["add-records"]);
    const settled = step(answered.state, added(1), viewOf({}, { acts: [1, 2] }));
    expect(names(settled.effects)).toEqual(["send pull"]);
  });

  test("more than fits into an answer is asked for as long as answers help", () => {
    const view = viewOf({}, { acts: [1] });
    const { state } = run(view, hello(digestOf({ 1: 1 }), recordsOf([1, 2, 3])), heads(head(1, 1)));
    const helped = step(state, added(1, true), viewOf({}, { acts: [1, 2] }));
    expect(helped.effects).toEqual([
      { type: "send", message: { type: "records", ...idsOf([1, 2]) } },
    ]);
    const useless = step(helped.state, added(0, true), viewOf({}, { acts: [1, 2] }));
    expect(names(useless.effects)).toEqual(["send pull"]);
  });

  test("what the remote said it knows is answered, in kind only if it knows something that we do not", () => {
    const view = viewOf({}, { acts: [1, 2] });
    const { state } = run(view, hello(digestOf({}), recordsOf([1, 2])));
    expect(names(step(state, records([1]), view).effects)).toEqual(["serve-records"]);
    expect(names(step(state, records([1, 3]), view).effects)).toEqual([
      "serve-records",
      "send records",
    ]);
  });

  test("a fork at a lower position than ours, or of a chain that is none for us, is something that we lack", () => {
    const ours: LocalView = { ...viewOf(), recordIds: () => ({ acts: [], forks: [fork(5)] }) };
    const { state } = run(ours, hello());
    const effects = (view: LocalView, seq: number): string[] =>
      names(
        step(state, message({ type: "records", acts: undefined, forks: [fork(seq)] }), view)
          .effects,
      );
    expect(effects(ours, 4)).toContain("send records");
    expect(effects(ours, 5)).not.toContain("send records");
    expect(effects(ours, 6)).not.toContain("send records");
    expect(effects(viewOf(), 6)).toContain("send records");
  });

  test("acts and forks that are too many for one message have one each", () => {
    const ids = Array.from({ length: LIMITS.acts }, (_, n) => n.toString(16).padStart(64, "0"));
    const forks = Array.from({ length: LIMITS.proofs }, (_, n) => ({ ...spanOf(n), seq: 1 }));
    const view: LocalView = { ...viewOf(), recordIds: () => ({ acts: ids, forks }) };
    const { effects } = run(view, hello(digestOf({}), recordsOf([1])));
    expect(effects).toEqual([
      { type: "send", message: { type: "records", acts: ids, forks: undefined } },
      { type: "send", message: { type: "records", acts: undefined, forks } },
    ]);
  });

  test("is repeated every two seconds at most, and what is owed is paid by then unless it is needless", () => {
    const view = viewOf({}, { acts: [1] });
    const differ = compared(digestOf({}), recordsOf([2]));
    const start = run(view, hello(), tick(), differ);
    expect(names(start.effects)).toEqual(["send records"]);
    const owed = step(start.state, differ, view);
    expect(owed.effects).toEqual([]);
    const early = step(owed.state, tick(NOW_MS + RECORDS_EVERY_MS - 1), view);
    expect(early.effects).toEqual([]);
    const due = tick(NOW_MS + RECORDS_EVERY_MS);
    expect(names(step(early.state, due, view).effects)).toEqual(["send records"]);
    expect(step(early.state, due, viewOf({}, { acts: [2] })).effects).toEqual([]);
    const setBack = step(early.state, tick(NOW_MS - 3_600_000), view);
    expect(names(setBack.effects)).toContain("send records");
  });
});

describe("records that took effect", () => {
  test("are pushed at once to a remote that is not known to have them, and digests are compared soon", () => {
    const view = viewOf({}, { acts: [1] });
    const { state } = run(viewOf(), hello(), tick());
    const pushed = step(state, changed(), view);
    expect(pushed.effects).toEqual([
      {
        type: "send",
        message: { type: "acts", acts: [BATCH], proofs: [], more: false, records: recordsOf([1]) },
      },
    ]);
    const due = step(pushed.state, tick(NOW_MS + COMPARE_SOON_MS), view);
    expect(names(due.effects)).toEqual(["send digest"]);
  });

  test("are not sent back to whoever has all of them, nor when there are none to push", () => {
    const view = viewOf({}, { acts: [1] });
    const { state } = run(viewOf(), hello(), acts([1]));
    expect(step(state, changed(), view).effects).toEqual([]);
    expect(step(run(viewOf(), hello()).state, changed(NOW_MS, []), view).effects).toEqual([]);
  });

  test("make us look again at what we lack, and tell of heads that rose without a batch", () => {
    const before = viewOf({}, { limits: { 1: 0 } });
    const { state, effects } = run(before, hello(digestOf({ 1: 2 })), heads(head(1, 2)));
    expect(effects).toEqual([]);
    expect(names(step(state, changed(NOW_MS, []), viewOf()).effects)).toEqual(["send pull"]);
    const risen = step(state, changed(NOW_MS, []), viewOf({ 2: 7 }));
    const told = step(risen.state, tick(), viewOf({ 2: 7 }));
    expect(told.effects).toEqual([
      { type: "send", message: { type: "have", heads: [head(2, 7)] } },
    ]);
  });

  test("make us ask again for what an answer did not bring", () => {
    const settled = [{ ...head(1, 1), same: undefined }];
    const vain: SessionEvent = { type: "delivered", accepted: false, settled };
    const { state } = run(viewOf(), hello(digestOf({ 1: 2 })), heads(head(1, 2)), vain);
    expect(state.pulling).toBeUndefined();
    const again = message({ type: "have", heads: [head(2, 0)] });
    expect(step(state, again, viewOf()).effects).toEqual([]);
    expect(names(step(state, changed(NOW_MS, []), viewOf()).effects)).toEqual(["send pull"]);
  });

  test("a session is in sync only by the same records", () => {
    const { state } = run(viewOf({ 1: 3 }), hello(digestOf({ 1: 3 })));
    expect(isInSync(state, viewOf({ 1: 3 }))).toBe(true);
    expect(isInSync(state, viewOf({ 1: 3 }, { acts: [1] }))).toBe(false);
  });
});

describe("a chain with a limit", () => {
  test("is pulled up to it and not past it", () => {
    const view = viewOf({ 1: 2 }, { limits: { 1: 4 } });
    const { state, effects } = run(view, hello(digestOf({ 1: 9 })), heads(head(1, 9)));
    expect(effects).toEqual([
      { type: "send", message: { type: "pull", spans: [{ ...spanOf(1), from: 3, to: 4 }] } },
    ]);
    const done = viewOf({ 1: 4 }, { limits: { 1: 4 } });
    expect(step(state, delivered(true), done).effects).toEqual([]);
    expect(isInSync({ ...state, pulling: undefined }, done)).toBe(true);
  });

  /** Both have told the other that they have 9, before records lower our head to 3. */
  const told = run(viewOf({ 1: 9 }), hello(digestOf({ 1: 1 })), heads(head(1, 9)), tick()).state;

  test("that went down is told on the next tick, once", () => {
    const view = viewOf({ 1: 3 }, { limits: { 1: 3 } });
    const lowered = step(told, changed(NOW_MS, []), view);
    const next = step(lowered.state, tick(), view);
    expect(next.effects).toEqual([
      { type: "send", message: { type: "have", heads: [head(1, 3)] } },
    ]);
    expect(step(next.state, changed(NOW_MS, []), view).effects).toEqual([]);
    expect(names(step(next.state, tick(), view).effects)).toEqual([]);
  });

  test("that went down for another reason than a limit is told as well", () => {
    const lowered = step(told, changed(NOW_MS, []), viewOf({ 1: 3 }));
    const next = step(lowered.state, tick(), viewOf({ 1: 3 }));
    expect(next.effects).toEqual([
      { type: "send", message: { type: "have", heads: [head(1, 3)] } },
    ]);
  });

  test("is told, though never before, to a remote that has another idea of it, and to no other", () => {
    const view = viewOf({ 1: 3 }, { limits: { 1: 3 } });
    const tells = (said: ChainHead): readonly string[] => {
      const { state } = run(viewOf({}), hello(digestOf({})), heads(said));
      return names(step(step(state, changed(NOW_MS, []), view).state, tick(), view).effects);
    };
    expect(tells(head(1, 9))).toEqual(["send have"]);
    expect(tells(head(1, 3, 2))).toEqual(["send have"]);
    expect(tells(head(1, 3))).toEqual([]);
  });

  test("of which nothing counts any more is told as 0, and is nothing that the remote lacks", () => {
    const view = viewOf({}, { limits: { 1: 0 } });
    const lowered = step(told, changed(NOW_MS, []), view);
    const next = step(lowered.state, tick(), view);
    const gone = { ...spanOf(1), seq: 0, hash: "0".repeat(32) };
    expect(next.effects).toEqual([{ type: "send", message: { type: "have", heads: [gone] } }]);
    const heard = run(viewOf({ 1: 3 }), hello(digestOf({ 1: 3 })), heads(gone));
    expect(heard.effects).toEqual([]);
  });

  test("is known of the remote by its last word, even if that is lower; without a limit what we sent counts besides", () => {
    const sent: SessionEvent = { type: "served", heads: [head(1, 9)] };
    const limited = viewOf({ 1: 9 }, { limits: { 1: 9 } });
    const { state } = run(limited, hello(digestOf({})), sent);
    expect(isInSync(state, limited)).toBe(true);
    expect(isInSync(step(state, heads(head(1, 3)), limited).state, limited)).toBe(false);
    const free = viewOf({ 1: 9 });
    expect(isInSync(step(state, heads(head(1, 3)), free).state, free)).toBe(true);
  });
});

const probeOf = ({ pulling }: SessionState): number | undefined =>
  pulling?.probing === true ? pulling.spans[0]?.from : undefined;

const settled = (seq: number, same: boolean): SessionEvent => ({
  type: "delivered",
  accepted: false,
  settled: [{ ...spanOf(1), seq, same }],
});

describe("a head with another hash", () => {
  const view = viewOf({ 1: 100 });
  test("at our position makes us pull single batches, downward in growing steps, then by halves", () => {
    let { state } = run(view, hello(digestOf({ 1: 1 })), heads(head(1, 100, 2)));
    const probes: number[] = [];
    for (let seq = probeOf(state); seq !== undefined; seq = probeOf(state)) {
      probes.push(seq);
      expect(pulledBy(state)).toBe(1);
      ({ state } = step(state, settled(seq, seq < 90), view));
    }
    expect(probes.slice(0, 4)).toEqual([100, 98, 94, 86]);
    expect(probes).toContain(90);
    expect(probes).toContain(89);
    expect(isInSync(state, view)).toBe(false);
  });

  test("at another position, or with the same hash, is no contradiction", () => {
    for (const of of [head(1, 99, 2), head(1, 100)]) {
      expect(probeOf(run(view, hello(digestOf({ 1: 1 })), heads(of)).state)).toBeUndefined();
    }
  });

  test("is looked into before anything else is pulled, and what is lacked comes after", () => {
    const { state } = run(view, hello(digestOf({ 1: 1 })), heads(head(1, 100, 2), head(2, 5)));
    expect(probeOf(state)).toBe(100);
    const next = step(state, { type: "delivered", accepted: false, settled: [] }, view);
    expect(next.state.pulling?.spans).toEqual([{ ...spanOf(2), from: 1, to: 5 }]);
  });

  test("claimed again and again is probed a bounded number of times", () => {
    let { state } = run(view, hello(digestOf({ 1: 1 })));
    let probes = 0;
    for (let i = 2; i < 1_000; i++) {
      ({ state } = step(state, heads(head(1, 100, i)), view));
      const seq = probeOf(state);
      if (seq === undefined) continue;
      probes++;
      ({ state } = step(state, settled(seq, i % 3 === 0), view));
    }
    expect(probes).toBeGreaterThan(10);
    expect(probes).toBeLessThanOrEqual(MAX_PROBES);
  });
});

const missing = (nowMs = NOW_MS): SessionEvent => ({ type: "missing", hashes: [HASH], nowMs });

describe("headers that held batches wait for", () => {
  const headers = message({ type: "headers", headers: [BATCH] });

  test("are asked for every two seconds at most, whatever the clock does", () => {
    const { state, effects } = run(viewOf(), hello(), missing());
    expect(effects).toEqual([{ type: "send", message: { type: "want", hashes: [HASH] } }]);
    expect(step(state, missing(NOW_MS + WANT_EVERY_MS - 1), viewOf()).effects).toEqual([]);
    expect(names(step(state, missing(NOW_MS + WANT_EVERY_MS), viewOf()).effects)).toEqual([
      "send want",
    ]);
    expect(names(step(state, missing(NOW_MS - 3_600_000), viewOf()).effects)).toEqual([
      "send want",
    ]);
  });

  test("are taken once for each time they were asked for", () => {
    const { state } = run(viewOf(), hello(), missing());
    const first = step(state, headers, viewOf());
    expect(first.effects).toEqual([{ type: "add-headers", headers: [BATCH] }]);
    expect(names(step(first.state, headers, viewOf()).effects)).toEqual(["close"]);
  });
});
