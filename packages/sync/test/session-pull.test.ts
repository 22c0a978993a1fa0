// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what is asked for is of use: a twin of this device is found out at once, and what is held here is not asked for.
 * Method: the machine step by step, then real nodes that run twice.
 */
import { step } from "@ctxmesh/sync";
import type { SessionEvent, SessionState } from "@ctxmesh/sync";
import { createVirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  batches,
  delivered,
  digestOf,
  head,
  heads,
  hello,
  names,
  run,
  spanOf,
  viewOf,
} from "./kit.ts";
import { createCopy } from "./members.ts";
import { START_MS, createNode, link, settle, spaceOf } from "./mesh.ts";

const OWN = 9;
const view = viewOf({ [OWN]: 3 }, { own: OWN });
const pullOf = (n: number, from: number, to: number) => ({
  type: "send",
  message: { type: "pull", spans: [{ ...spanOf(n), from, to }] },
});

describe("a head of our own chain that is not ours", () => {
  const busy = run(view, hello(digestOf({ [OWN]: 3 })), heads(head(1, 7)));

  test.each([
    ["ahead of us", head(OWN, 8), 4],
    ["at our position, on another branch", head(OWN, 3, 2), 3],
  ])("%s is looked into at once, though another pull is outstanding", (_, claim, seq) => {
    expect(names(busy.effects)).toEqual(["send pull"]);
    const alarmed = step(busy.state, heads(claim), view);
    expect(alarmed.effects).toEqual([pullOf(OWN, seq, seq)]);
    expect(step(alarmed.state, heads(claim), view).effects).toEqual([]);
    // The answers come in the order of the pulls.
    const first = step(alarmed.state, batches(), view);
    expect(first.effects).toMatchObject([{ type: "deliver", pulled: true }]);
    const next = step(first.state, delivered(true), viewOf({ [OWN]: 3, 1: 7 }, { own: OWN }));
    expect(next.effects).toEqual([]);
    expect(names(step(next.state, batches(), view).effects)).toEqual(["deliver"]);
  });

  test("is asked about in whichever lane it is", () => {
    const lanes = viewOf({ [OWN]: 3, 8: 2 }, { own: [OWN, 8] });
    const { state } = run(lanes, hello(digestOf({ [OWN]: 3, 8: 2 })));
    const asked = step(state, heads(head(8, 5), head(OWN, 3, 2)), lanes);
    expect(asked.effects).toMatchObject([
      {
        message: {
          spans: [
            { ...spanOf(OWN), from: 3, to: 3 },
            { ...spanOf(8), from: 3, to: 3 },
          ],
        },
      },
    ]);
  });

  test("is asked about before all else that the remote has", () => {
    const { state } = run(view, hello(digestOf({ [OWN]: 3 })));
    const asked = step(state, heads(head(1, 7), head(OWN, 8)), view);
    expect(asked.effects).toEqual([pullOf(OWN, 4, 4)]);
  });

  test("is asked about while records are compared", () => {
    const { state } = run(view, hello(digestOf({ [OWN]: 3 }), new Uint8Array(32).fill(1)));
    expect(step(state, heads(head(1, 7)), view).effects).toEqual([]);
    expect(step(state, heads(head(OWN, 8)), view).effects).toEqual([pullOf(OWN, 4, 4)]);
  });

  test.each([
    ["behind ours", head(OWN, 2, 2), view],
    ["ours", head(OWN, 3), view],
    ["cut off already", head(OWN, 8), viewOf({ [OWN]: 3 }, { own: OWN, limits: { [OWN]: 3 } })],
  ])("is no reason to ask when it is %s", (_, claim, at) => {
    expect(step(busy.state, heads(claim), at).effects).toEqual([]);
  });

  test("is asked about once for each claim, and never are more than two pulls outstanding", () => {
    const claim = fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 3 }));
    const event = fc.oneof(
      claim.map(([seq, branch]) => heads(head(OWN, seq, branch))),
      fc.integer({ min: 1, max: 5 }).map((n) => heads(head(n, 4))),
      fc.constant(delivered()),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events: readonly SessionEvent[]) => {
        let state: SessionState = run(view, hello(digestOf({ [OWN]: 3 }))).state;
        let outstanding = 0;
        for (const next of events) {
          if (next.type === "delivered") {
            if (outstanding === 0) continue;
            outstanding--;
          }
          const result = step(state, next, view);
          state = result.state;
          outstanding += names(result.effects).filter((name) => name === "send pull").length;
          expect(outstanding).toBe(
            [state.pulling, state.alarm].filter((pull) => pull !== undefined).length,
          );
        }
      }),
    );
  });
});

test("a copy of a device that meets somebody who knows the other goes on in a new incarnation before any time passes", async () => {
  const clock = createVirtualClock(START_MS);
  const space = spaceOf([0, 1]);
  const [left, right] = [
    await createCopy(0, 1, { space, clock }),
    await createCopy(0, 2, { space, clock }),
  ];
  const peer = await createNode(1, { space, clock });
  link(left, peer);
  await settle();
  const shared = right.replica.incarnation;
  expect(left.replica.incarnation).toBe(shared);
  link(right, peer);
  await settle();
  await right.put("key", "right");
  for (let i = 0; i < 3; i++) await left.put("key", `left ${String(i)}`);
  for (let i = 0; i < 4; i++) await settle();
  expect(right.replica.incarnation).not.toBe(shared);
});

test("what is held here is not asked for, while all else of the remote is; and is again once it is not held", () => {
  const start = run(viewOf({ 1: 2 }), hello(digestOf({ 1: 2 })));
  const told = [head(1, 9), head(2, 4)];
  const holding = viewOf({ 1: 2 }, { heldAt: { 1: 3 } });
  expect(step(start.state, heads(...told), holding).effects).toEqual([pullOf(2, 1, 4)]);
  const later = viewOf({ 1: 3, 2: 4 });
  expect(step(start.state, heads(...told), later).effects).toEqual([pullOf(1, 4, 9)]);
});
