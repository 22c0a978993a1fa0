// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whatever browsers do, through whichever node, every page shows what every replica has: nothing is lost, and nothing is there twice.
 * Method: three stock Yjs documents, two replicas over memory stores that get each other's batches at random moments, moves with edits that were
 * sent, committed or neither, restarts. Every character is inserted once, so each has to be there once, unless somebody deleted it.
 */
import { toHex } from "@ctxmesh/model";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ProjectionMesh } from "./tmp-mesh.ts";
import type { Pick } from "./tmp-mesh.ts";

test("pages and replicas come to the same, nothing lost and nothing doubled", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.infiniteStream(fc.nat({ max: 2 ** 20 })),
      fc.integer({ min: 5, max: 120 }),
      async (numbers, steps) => {
        const pick: Pick = (sides) => (numbers.next().value as number) % sides;
        const mesh = await new ProjectionMesh().start();
        for (let i = 0; i < steps; i++) await mesh.step(pick);
        await mesh.settle();
        const [one, two] = mesh.nodes;
        const content = mesh.contentOf(one);
        expect(mesh.contentOf(two)).toEqual(content);
        expect(toHex(two.replica.frontierDigest())).toBe(toHex(one.replica.frontierDigest()));
        expect(two.replica.snapshot().leaves).toEqual(one.replica.snapshot().leaves);
        for (const browser of mesh.browsers) {
          expect(browser.content()).toEqual(content);
          for (const { code } of browser.errors) expect(["WRITE_BEHIND", "CLOSED"]).toContain(code);
        }
        const text = mesh.browsers[0]?.text.toJSON() ?? "";
        const expected = [...mesh.inserted].filter((token) => !mesh.deleted.has(token));
        expect(text.split("").toSorted()).toEqual(expected.toSorted());
      },
    ),
    { numRuns: 12000 },
  );
});
