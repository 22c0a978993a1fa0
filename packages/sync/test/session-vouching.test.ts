// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a hub tells each remote of everything that it applied, once and never early; and only a hub is believed.
 * Method: the machine alone, stepped through random events and compared with what the remote must know.
 */
import { MAX_HEADS, initialState, step } from "@ctxmesh/sync";
import type {
  ChainHead,
  LocalView,
  SessionEffect,
  SessionEvent,
  SessionState,
} from "@ctxmesh/sync";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  applied,
  compared,
  digestOf,
  head,
  heads,
  hello,
  message,
  run,
  tick,
  viewOf,
} from "./kit.ts";

const HUB = { sealed: {} };
const VOUCHED: SessionEvent = { type: "vouched" };
const fromHub: SessionState = { ...initialState, believes: true };

/** What the effects make the remote hear of this kind. */
const toldBy = (effects: readonly SessionEffect[], type: "stored" | "sealed"): ChainHead[][] =>
  effects.flatMap((effect) =>
    effect.type === "vouch" && effect.message.type === type ? [[...effect.message.heads]] : [],
  );

/** Steps from a state; returns the last state and the effects of all events. */
function steps(
  from: SessionState,
  view: LocalView,
  ...events: SessionEvent[]
): { state: SessionState; effects: readonly SessionEffect[] } {
  let state = from;
  const effects: SessionEffect[] = [];
  for (const event of events) {
    const next = step(state, event, view);
    state = next.state;
    effects.push(...next.effects);
  }
  return { state, effects };
}

describe("a hub's session", () => {
  const view = viewOf({}, HUB);

  test("says at once what the remote brought, and gathers while that is on its way", () => {
    const open = run(view, hello()).state;
    const first = steps(open, view, applied(head(1, 1), "brought"));
    expect(toldBy(first.effects, "stored")).toEqual([[head(1, 1)]]);
    const more = [head(1, 2), head(2, 5), head(1, 3)].map((at) => applied(at, "brought"));
    const second = steps(first.state, view, ...more);
    expect(second.effects).toEqual([]);
    const third = steps(second.state, view, VOUCHED);
    expect(toldBy(third.effects, "stored")).toEqual([[head(1, 3), head(2, 5)]]);
    expect(steps(third.state, view, VOUCHED, VOUCHED).effects).toEqual([]);
  });

  test("says stored, too, of what somebody else brought first and the remote has said that it has", () => {
    const open = run(view, hello(), heads(head(1, 4))).state;
    expect(toldBy(steps(open, view, applied(head(1, 4))).effects, "stored")).toEqual([
      [head(1, 4)],
    ]);
  });

  test("tells the newest seal's frontier on opening, and of later ones what is new, in pages that wait for each other", () => {
    const sealed = Object.fromEntries(Array.from({ length: MAX_HEADS + 3 }, (_, n) => [n + 1, 2]));
    const large = viewOf({}, { sealed });
    const opened = run(large, hello());
    expect(toldBy(opened.effects, "sealed").map((page) => page.length)).toEqual([MAX_HEADS]);
    const news = { type: "sealed", heads: [head(1, 9)] } as const;
    const next = steps(opened.state, large, news, VOUCHED);
    const pages = toldBy(next.effects, "sealed");
    expect(pages.map((page) => page.length)).toEqual([4]);
    expect(pages[0]).toContainEqual(head(1, 9));
  });

  test("puts what is stored before what is sealed", () => {
    const opened = run(viewOf({}, { sealed: { 1: 1 } }), hello());
    const after = steps(
      opened.state,
      view,
      { type: "sealed", heads: [head(1, 2)] },
      applied(head(1, 3), "brought"),
      VOUCHED,
    );
    expect(toldBy(after.effects, "stored")).toEqual([[head(1, 3)]]);
    expect(toldBy(after.effects, "sealed")).toEqual([]);
    expect(toldBy(steps(after.state, view, VOUCHED).effects, "sealed")).toEqual([[head(1, 2)]]);
  });

  test("tells of every head that it applied, never of more, and has one word of this kind on its way at a time", () => {
    const event = fc.oneof(
      fc.record({
        kind: fc.constant("applied" as const),
        chain: fc.integer({ min: 1, max: 4 }),
        how: fc.constantFrom("brought" as const, "push" as const, "tell" as const),
      }),
      fc.record({ kind: fc.constant("have" as const), chain: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ kind: fc.constant("vouched" as const) }),
      fc.record({ kind: fc.constant("tick" as const) }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const chains: Record<number, number> = { 1: 0, 2: 0, 3: 0, 4: 0 };
        const known = new Map<string, number>();
        let onItsWay = 0;
        let { state } = run(view, hello());
        const take = (next: SessionEvent): void => {
          const result = step(state, next, viewOf(chains, HUB));
          state = result.state;
          for (const effect of result.effects) {
            if (effect.type === "vouch") onItsWay++;
            const told =
              effect.type === "vouch" || effect.type === "send" ? headsIn(effect.message) : [];
            for (const { replica, seq } of told) {
              // What is told is durable here.
              expect(seq).toBeLessThanOrEqual(chains[Number.parseInt(replica, 16)] ?? 0);
              known.set(replica, Math.max(known.get(replica) ?? 0, seq));
            }
            if (effect.type === "send" && effect.message.type === "push" && pushed !== undefined) {
              known.set(pushed.replica, pushed.seq);
            }
          }
          expect(onItsWay).toBeLessThanOrEqual(1);
        };
        let pushed: ChainHead | undefined;
        for (const one of events) {
          pushed = undefined;
          if (one.kind === "applied") {
            pushed = head(one.chain, (chains[one.chain] ?? 0) + 1);
            chains[one.chain] = pushed.seq;
            take(applied(pushed, one.how));
          } else if (one.kind === "have") {
            const ahead = head(one.chain, (chains[one.chain] ?? 0) + 1);
            take(message({ type: "have", heads: [ahead] }));
          } else if (one.kind === "tick") take(tick());
          else if (onItsWay > 0) {
            onItsWay--;
            take(VOUCHED);
          }
        }
        while (onItsWay > 0) {
          onItsWay--;
          take(VOUCHED);
        }
        take(tick());
        for (const [chain, seq] of Object.entries(chains)) {
          expect(known.get(head(Number(chain), seq).replica) ?? 0).toBe(seq);
        }
      }),
    );
  });
});

const headsIn = (of: { readonly type: string }): readonly ChainHead[] =>
  "heads" in of ? (of.heads as readonly ChainHead[]) : [];

const confirmed = (effects: readonly SessionEffect[]): unknown[] =>
  effects.filter(({ type }) => type === "confirm");

describe("an agent's session", () => {
  const view = viewOf({ 1: 3, 2: 1 });

  test.each([
    ["stored", message({ type: "stored", heads: [head(1, 2)] }), "hub", [head(1, 2)]],
    ["sealed", message({ type: "sealed", heads: [head(1, 2)] }), "sealed", [head(1, 2)]],
    ["heads", heads(head(1, 2)), "hub", [head(1, 2)]],
    ["have", message({ type: "have", heads: [head(1, 2)] }), "hub", [head(1, 2)]],
    ["an equal digest", compared(digestOf({ 1: 3, 2: 1 })), "hub", [head(1, 3), head(2, 1)]],
  ] as const)("takes a hub's word: %s", (_, event, level, all) => {
    const open = steps(fromHub, view, hello()).state;
    expect(confirmed(steps(open, view, event).effects)).toEqual([
      { type: "confirm", level, heads: all },
    ]);
  });

  test("takes nobody else's: heads confirm nothing, and whoever says more is closed", () => {
    const open = run(view, hello()).state;
    const silent = steps(open, view, heads(head(1, 3)), compared(digestOf({ 1: 3, 2: 1 })));
    expect(confirmed(silent.effects)).toEqual([]);
    for (const type of ["stored", "sealed"] as const) {
      const { state, effects } = steps(open, view, message({ type, heads: [head(1, 1)] }));
      expect([state.phase, effects.map((effect) => effect.type)]).toEqual(["closed", ["close"]]);
    }
  });

  test("does not take it before hello", () => {
    const { state } = steps(fromHub, view, message({ type: "stored", heads: [head(1, 1)] }));
    expect(state.phase).toBe("closed");
  });

  test("hears that nothing of a chain counts at a hub as no confirmation", () => {
    const open = steps(fromHub, view, hello()).state;
    const none = { ...head(1, 0), hash: "0".repeat(32) };
    expect(confirmed(steps(open, view, heads(none)).effects)).toEqual([]);
  });

  test("vouches for nothing itself", () => {
    const { effects } = steps(
      run(view, hello()).state,
      view,
      applied(head(1, 4), "brought"),
      { type: "sealed", heads: [head(1, 1)] },
      tick(),
    );
    expect([...toldBy(effects, "stored"), ...toldBy(effects, "sealed")]).toEqual([]);
  });
});
