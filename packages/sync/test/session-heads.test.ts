// SPDX-License-Identifier: Apache-2.0
/** Goal: what a session knows of the remote's heads is right, however many there are and in whatever order they come. */
import { isInSync, step } from "@ctxmesh/sync";
import type { SessionEvent } from "@ctxmesh/sync";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { head, heads, hello, pulledBy, run, viewOf } from "./kit.ts";

test("what a remote said last counts, what we sent it counts besides, however many chains there are", () => {
  const anyHead = fc.tuple(fc.nat(200), fc.integer({ min: 1, max: 9 }));
  fc.assert(
    fc.property(fc.array(fc.array(anyHead, { maxLength: 90 }), { maxLength: 6 }), (messages) => {
      const said: Record<number, number> = {};
      let { state } = run(viewOf(), hello());
      for (const [i, told] of messages.entries()) {
        const all = told.map(([n, seq]) => head(n, seq));
        const event: SessionEvent = i % 2 === 0 ? heads(...all) : { type: "served", heads: all };
        // Whatever is asked for does not come.
        state = { ...step(state, event, viewOf()).state, pulling: undefined };
        for (const [n, seq] of told) {
          if (i % 2 === 0) said[n] = seq;
        }
      }
      const lacked = Object.values(said).reduce((sum, seq) => sum + seq, 0);
      expect(pulledBy(step(state, heads(), viewOf()).state)).toBe(lacked);
    }),
  );
});

test("learning of hundreds of chains in parts forgets none of the earlier ones", () => {
  const all = Array.from({ length: 300 }, (_, n) => head(n, 1));
  const chains = Object.fromEntries(all.map((_, n) => [n, 1]));
  let { state } = run(viewOf(), hello());
  for (let i = 0; i < all.length; i += 60) {
    state = step(state, { type: "served", heads: all.slice(i, i + 60) }, viewOf()).state;
  }
  expect(isInSync(state, viewOf(chains))).toBe(true);
  expect(isInSync(state, viewOf({ ...chains, 7: 2 }))).toBe(false);
});
