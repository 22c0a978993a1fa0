// SPDX-License-Identifier: Apache-2.0
import { toHex } from "@ctxmesh/model";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Mesh, history } from "./history.ts";
import { applied, open } from "./mesh.ts";
import { modelLeaves } from "./model.ts";

function shuffle<T>(items: readonly T[], order: Iterator<number>): T[] {
  const rest = [...items];
  const mixed: T[] = [];
  while (rest.length > 0) {
    const { value } = order.next() as IteratorYieldResult<number>;
    mixed.push(...rest.splice(value % rest.length, 1));
  }
  return mixed;
}

test("replicas converge to the model, whatever is written, lost, repeated, reordered and restarted", async () => {
  await fc.assert(
    fc.asyncProperty(history, async ({ count, steps, order }) => {
      const mesh = await Mesh.create(count);
      for (const next of steps) await mesh.run(next);
      const expected = modelLeaves(mesh.made);
      const frontiers = new Set<string>();
      for (const at of mesh.nodes) {
        for (const { clock } of mesh.nodes) {
          at.clock.advance(Math.max(0, clock.now() - at.clock.now()));
        }
        // Everything once more in any order, some of it twice, one at a time or all at once.
        const all = shuffle([...mesh.made, ...mesh.made.slice(0, 5)], order);
        const half = Math.floor(all.length / 2);
        await mesh.deliver(at, all.slice(0, half));
        for (const bytes of all.slice(half)) {
          await mesh.deliver(at, [bytes]);
          mesh.check(at);
        }
        at.replica.retryTimed();
        await at.replica.close();
        mesh.check(at);
        expect(at.replica.counters().held).toBe(0);
        expect(at.replica.snapshot().leaves).toEqual(expected);
        frontiers.add(toHex(at.replica.frontierDigest()));
      }
      expect(frontiers.size).toBe(1);
    }),
    { numRuns: 60 },
  );
});

test("a replica serves its log in an order in which another one applies it without holding anything", async () => {
  await fc.assert(
    fc.asyncProperty(history, async ({ count, steps }) => {
      const mesh = await Mesh.create(count);
      for (const next of steps) await mesh.run(next);
      const [at] = mesh.nodes;
      if (at === undefined) return;
      const fresh = await open({ device: at.device, space: at.replica.space, clock: at.clock });
      at.clock.advance(1_000_000);
      // What was let out of the hold last may still be under way; closing waits for it.
      await at.replica.close();
      const spans = at.replica
        .heads()
        .map(({ replica, incarnation, seq }) => ({ replica, incarnation, from: 1, to: seq }));
      const announced = applied(fresh);
      for await (const { bytes } of at.replica.read(spans)) {
        expect(await fresh.receive(bytes)).toEqual({ kind: "accepted" });
      }
      expect(fresh.frontierDigest()).toEqual(at.replica.frontierDigest());
      expect(fresh.snapshot()).toEqual(at.replica.snapshot());
      expect(modelLeaves(announced)).toEqual(fresh.snapshot().leaves);
    }),
    { numRuns: 30 },
  );
});
