// SPDX-License-Identifier: Apache-2.0
/** Goal: a node changes its carrier when the number of its peers has really changed, and not with every peer that comes and goes. */
import { LIMITS } from "@ctxmesh/model";
import fc from "fast-check";
import { expect, test } from "vitest";
import { CarrierChoice } from "../src/carrier-choice.ts";

/** What a node does at each of these numbers of peers, in order. */
const courseOf = (counts: readonly number[], above?: number): readonly boolean[] => {
  const choice = new CarrierChoice(above);
  return counts.map((count) => choice.gossips(count));
};

test("gossip begins above 16 peers and ends below 13", () => {
  const course = courseOf([0, 16, 17, 16, 14, 13, 12, 13, 16, 17]);
  expect(course.map((gossips) => (gossips ? "gossip" : "push")).join(" ")).toBe(
    "push push gossip gossip gossip gossip push push push gossip",
  );
});

test("a node that is told to gossip with anybody does so until it is alone", () => {
  expect(courseOf([0, 1, 2, 1, 0, 1], 0)).toEqual([false, true, true, true, false, true]);
});

test("property: between two changes the number of peers has changed by the slack at least", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(40), { maxLength: 60 }), (counts) => {
      const course = courseOf(counts);
      const changes = counts.filter((_, i) => course[i] !== (course[i - 1] ?? false));
      for (const [i, count] of changes.entries()) {
        expect(i % 2 === 0 ? count > LIMITS.directPeers : count < LIMITS.directPeers - 3).toBe(
          true,
        );
      }
    }),
  );
});
