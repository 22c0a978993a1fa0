// SPDX-License-Identifier: Apache-2.0
/** Goal: digests are compared when they should be, and of two ends that differ one begins to say how. */
import { COMPARE_SOON_MS, isInSync, step } from "@ctxmesh/sync";
import type { SessionEvent } from "@ctxmesh/sync";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  NOW_MS,
  NO_RECORDS,
  compared,
  digestOf,
  head,
  hello,
  lists,
  names,
  run,
  spanOf,
  tick,
  viewOf,
} from "./kit.ts";

describe("greeting", () => {
  test("equal digests cost one message each way and nothing else", () => {
    const view = viewOf({ 1: 3, 2: 5 });
    const both = run(view, { type: "opened" }, hello(digestOf({ 1: 3, 2: 5 })));
    expect(both.effects).toEqual([]);
    expect(isInSync(both.state, view)).toBe(true);
    for (const ms of [0, 30_000, 600_000]) {
      expect(step(both.state, tick(NOW_MS + ms), view).effects).toEqual([]);
    }
  });

  test("of a difference, the end with the lower digest says how its heads lie; few are listed, and each end pulls what it lacks", () => {
    const [lower, higher] = [viewOf({ 1: 3 }), viewOf({ 1: 3, 2: 2 })];
    const opened: SessionEvent = { type: "opened" };
    const first = run(lower, opened, hello(digestOf({ 1: 3, 2: 2 })));
    expect(first.effects).toEqual([
      {
        type: "send",
        message: {
          type: "ranges",
          round: 1,
          ranges: [{ upper: "", mode: "list", heads: [head(1, 3)] }],
        },
      },
    ]);
    expect(run(higher, opened, hello(digestOf({ 1: 3 }))).effects).toEqual([]);
    const told = step(first.state, lists(head(1, 3), head(2, 2)), lower);
    expect(told.effects).toEqual([
      {
        type: "send",
        message: { type: "pull", spans: [{ ...spanOf(2), from: 1, to: 2 }] },
      },
    ]);
  });

  test("heads that moved between the two hellos are compared all the same, and by one end", () => {
    const opened: SessionEvent = { type: "opened" };
    const begins = (
      before: Readonly<Record<number, number>>,
      now: Readonly<Record<number, number>>,
      theirs: Readonly<Record<number, number>>,
    ): boolean =>
      names(
        step(run(viewOf(before), opened).state, hello(digestOf(theirs)), viewOf(now)).effects,
      ).includes("send ranges");
    const chains = fc.dictionary(fc.constantFrom("1", "2", "3"), fc.integer({ min: 1, max: 3 }));
    fc.assert(
      fc.property(chains, chains, chains, chains, (a, aNow, b, bNow) => {
        const same = sameDigest(a, b);
        const both = [begins(a, aNow, b), begins(b, bNow, a)];
        const moved = [aNow, bNow].map((now) => !sameDigest(now, a));
        expect(same ? both : both.filter(Boolean)).toEqual(same ? moved : [true]);
      }),
    );
  });
});

const sameDigest = (
  a: Readonly<Record<number, number>>,
  b: Readonly<Record<number, number>>,
): boolean => JSON.stringify(digestOf(a)) === JSON.stringify(digestOf(b));

describe("anti-entropy", () => {
  test("a held batch brings the next comparison forward, never back", () => {
    const { state } = run(viewOf(), hello(), tick(), { type: "held", nowMs: NOW_MS });
    const early = step(state, tick(NOW_MS + COMPARE_SOON_MS - 1), viewOf());
    expect(early.effects).toEqual([]);
    const again = step(early.state, { type: "held", nowMs: NOW_MS + 99 }, viewOf());
    const due = step(again.state, tick(NOW_MS + COMPARE_SOON_MS), viewOf());
    expect(names(due.effects)).toEqual(["send digest"]);
  });

  test("a batch held before the first tick is asked for as soon", () => {
    const { state } = run(viewOf(), hello(), { type: "held", nowMs: NOW_MS });
    const due = step(state, tick(NOW_MS + COMPARE_SOON_MS), viewOf());
    expect(names(due.effects)).toEqual(["send digest"]);
  });

  test("is due when the driver says so, and the answer to the same digest is a digest that asks nothing", () => {
    const view = viewOf({ 1: 3 });
    const { state } = run(view, hello(digestOf({ 1: 3 })), tick());
    const asked = step(state, { type: "compare", nowMs: NOW_MS + 7 }, view);
    expect(asked.effects).toMatchObject([{ message: { type: "digest", asks: true } }]);
    expect(asked.state.comparedMs).toBe(NOW_MS + 7);
    const answered = step(state, compared(digestOf({ 1: 3 }), NO_RECORDS, true), view);
    expect(answered.effects).toMatchObject([{ message: { type: "digest", asks: false } }]);
    expect(step(asked.state, compared(digestOf({ 1: 3 })), view).effects).toEqual([]);
  });

  test("a clock that is set back does not put it off", () => {
    const { state } = run(viewOf(), hello(), tick(NOW_MS), { type: "held", nowMs: NOW_MS });
    const back = step(state, tick(NOW_MS - 500_000), viewOf());
    expect(names(back.effects)).toEqual(["send digest"]);
    expect(step(back.state, tick(NOW_MS - 499_000), viewOf()).effects).toEqual([]);
  });
});
