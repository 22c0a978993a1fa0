// SPDX-License-Identifier: Apache-2.0
/** A newcomer that begins with a base is as one that read the whole log, and stays so, whatever happens. */
import { isDeepStrictEqual } from "node:util";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { bringBase, hub, newcomer, withAgent, withHub } from "./base-kit.ts";
import { actsSince } from "./mesh.ts";
import { DEVICES, Upheaval, action, docOf, stateOf } from "./upheaval.ts";
import type { Node, ReopenableStore } from "./upheaval.ts";

const visible = (replica: Replica): unknown => ({
  ...stateOf(replica),
  heads: replica.heads(),
  list: replica.list({}).map(({ ageMs: _ageMs, ...fact }) => fact),
  content: [0, 1].map((n) => replica.content(docOf(n))),
  candidates: replica.list({}).map(({ doc, key }) => replica.candidates(doc, key)),
});

async function begin(seed: number): Promise<Upheaval<ReopenableStore>> {
  const upheaval = new Upheaval<ReopenableStore>(seed);
  for (const device of [...DEVICES, hub]) {
    upheaval.nodes.push(await upheaval.open(device, createMemoryStore()));
  }
  for (const { replica } of upheaval.nodes) {
    await replica.addRecords({ acts: actsSince(replica.space, withHub(replica.space)) });
  }
  return upheaval;
}

/** A newcomer to the mesh, with a batch of its own and the acts that are known, the last of which is the one that grants it its right. */
async function arrive(
  upheaval: Upheaval<ReopenableStore>,
  at: Replica,
): Promise<Node<ReopenableStore>> {
  const acts = actsSince(at.space, withAgent(at.space, newcomer));
  const fresh = await upheaval.open(newcomer, createMemoryStore());
  for (const { replica } of [...upheaval.nodes, fresh]) {
    await replica.addRecords(at.readRecords(replica.recordIds()));
    await replica.addRecords({ acts });
  }
  await fresh.replica.put(docOf(0), [{ key: "mine", value: 1 }]);
  upheaval.nodes.push(fresh);
  return fresh;
}

test("a newcomer by base reads as one by log, and goes on doing so", async () => {
  let bases = 0;
  const steps = fc.array(action, { minLength: 5, maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(fc.nat(1e6), steps, steps, async (seed, before, after) => {
      const upheaval = await begin(seed);
      for (const step of before) await upheaval.run(step);
      await upheaval.heal();
      const { replica: at } = upheaval.nodes.at(-1) as Node<ReopenableStore>;
      // The grant of the newcomer is of later than the base.
      const offered = await at.bases.offer();
      const { replica, store } = await arrive(upheaval, at);
      // Some histories have none; then it reads the log.
      const progress = offered === undefined ? undefined : await bringBase(at, replica);
      if (progress?.kind === "installed") bases++;
      for (const bytes of upheaval.written.slice(-1)) await at.receive(bytes);
      const isAlike = (): boolean => isDeepStrictEqual(visible(replica), visible(at));
      expect(progress?.kind !== "installed" || isAlike()).toBe(true);
      for (const step of after) await upheaval.run(step);
      await upheaval.heal();
      // Records may cut into what it can't take back, and it says so.
      fc.pre(replica.degraded().length === 0);
      expect(visible(replica)).toEqual(visible(at));
      // And so it is after a restart.
      await replica.close();
      const again = await upheaval.open(newcomer, await store.reopen());
      expect(visible(again.replica)).toEqual(visible(at));
      expect(again.replica.degraded()).toEqual([]);
    }),
    { numRuns: 8 },
  );
  expect(bases).toBeGreaterThan(3);
}, 60_000);
