// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: checkpoints and pruning change nothing that can be read, whatever happens, and whenever the machine stops.
 * Method: random histories of facts, rich edits, forks, revocations and restarts, with checkpoints, prunings and crashes in
 * between. A replica on the same store without its checkpoints, and with all that was pruned, must agree with it.
 */
import { LIMITS, parseDocumentName } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createSeededRandom } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FullStore } from "./full-store.ts";
import { DAY_MS, START_MS, open } from "./mesh.ts";
import { DEVICES, Upheaval, action, docOf, firstRandom, readsOf } from "./upheaval.ts";
import type { Action, Node } from "./upheaval.ts";

type Step =
  | Action
  | { readonly do: "checkpoint"; readonly who: number }
  | { readonly do: "prune"; readonly who: number; readonly share: number }
  | { readonly do: "crash"; readonly who: number; readonly during: number; readonly kept: number };

const who = fc.nat(DEVICES.length - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 24, arbitrary: action },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("checkpoint" as const), who }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("prune" as const),
      who,
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("crash" as const),
      who,
      during: fc.nat(6),
      kept: fc.nat(2),
    }),
  },
);

/** What restarting finds is what is there; and what would be there without checkpoints. */
async function compare(history: Upheaval<FullStore>, node: Node<FullStore>): Promise<boolean> {
  await node.replica.addRecords({});
  // What is pruned and must not count any more is said to be so, and there is nothing to compare it with.
  const { stale } = node.replica.retention();
  expect(node.replica.degraded()).toHaveLength(stale.length);
  if (stale.length > 0) return false;
  const full = await history.open(
    node.device,
    await node.store.withoutCheckpoints(),
    createSeededRandom(7),
  );
  await full.replica.addRecords({});
  expect(readsOf(node.replica)).toEqual(readsOf(full.replica));
  await node.replica.verify();
  await full.replica.close();
  return true;
}

const pruneSome = async ({ replica }: Node<FullStore>, share: number): Promise<unknown> =>
  replica.prune({
    upTo: ({ replica: device, incarnation }) =>
      Math.ceil(share * replica.seqOf(device, incarnation)),
    beforeMs: START_MS + DAY_MS,
  });

/** The machine stops somewhere in a checkpoint, a pruning and a write. */
async function crash(
  history: Upheaval<FullStore>,
  node: Node<FullStore>,
  { who: index, during, kept }: Step & { readonly do: "crash" },
): Promise<void> {
  const ended = Promise.allSettled([
    node.replica.checkpoint(),
    pruneSome(node, 1),
    history.run({ do: "put", who: index, doc: 0, n: during }),
  ]);
  for (let turn = 0; turn < during * 20; turn++) await Promise.resolve();
  const store = node.store.crash(kept);
  await ended;
  await node.replica.close();
  history.nodes[index] = await history.open(node.device, store);
}

async function take(history: Upheaval<FullStore>, each: Step): Promise<void> {
  const node = history.nodes[each.who];
  if (node === undefined) return;
  if (each.do === "checkpoint") await node.replica.checkpoint();
  else if (each.do === "prune") await pruneSome(node, each.share);
  else if (each.do === "crash") await crash(history, node, each);
  else await history.run(each);
}

test("a replica with checkpoints and a pruned log reads as one without, whatever happens", async () => {
  const seen = { compared: 0, pruned: 0 };
  const happen = async (steps: readonly Step[], seed: number): Promise<void> => {
    const history = new Upheaval<FullStore>(seed * 100_000 + 100);
    for (const [i, device] of DEVICES.entries()) {
      history.nodes.push(await history.open(device, new FullStore(), firstRandom(i)));
    }
    for (const each of steps) {
      await take(history, each);
      const node = history.nodes[each.who];
      if (node === undefined || !(await compare(history, node))) continue;
      seen.compared++;
      if (node.replica.retention().prunedBatches > 0) seen.pruned++;
    }
    for (const node of history.nodes) {
      const before = readsOf(node.replica);
      await node.replica.close();
      const again = await history.open(node.device, await node.store.reopen());
      await again.replica.addRecords({});
      expect(readsOf(again.replica)).toEqual(before);
    }
  };
  const steps = fc.array(step, { minLength: 20, maxLength: 60, size: "max" });
  await fc.assert(fc.asyncProperty(steps, fc.nat(1000), happen), {
    numRuns: 20,
    interruptAfterTimeLimit: 30_000,
  });
  expect(seen.compared).toBeGreaterThan(0);
  expect(seen.pruned).toBeGreaterThan(0);
}, 90_000);

/** Text that does not compress well. */
const noise = (seed: number, bytes: number): string =>
  Buffer.from(createSeededRandom(seed).bytes(bytes)).toString("base64");

/** A replica with more in its documents than one write of a checkpoint takes, a checkpoint, and changes behind it. */
async function filled(store: FullStore): Promise<Replica> {
  const replica = await open({ store });
  for (let i = 0; i < 12; i++) {
    const value = noise(i, LIMITS.valueBytes / 2);
    await replica.put(docOf(i % 2), [{ key: `k${String(i)}`, value }]);
    await replica.edit(docOf(i % 2), (roots) => roots.text("notes").insert(0, `${String(i)} `));
    if (i === 7) await replica.checkpoint();
  }
  return replica;
}

/** What is done with it, and fails. */
const TASKS: readonly (readonly [string, (replica: Replica) => Promise<unknown>])[] = [
  ["checkpoint", async (replica) => replica.checkpoint()],
  [
    "pruning",
    async (replica) => replica.prune({ upTo: () => 18, beforeMs: Number.POSITIVE_INFINITY }),
  ],
  [
    "pruning of more",
    async (replica) => {
      await replica.prune({ upTo: () => 5, beforeMs: Number.POSITIVE_INFINITY });
      await replica.prune({ upTo: () => 20, beforeMs: Number.POSITIVE_INFINITY });
    },
  ],
];

describe.each(TASKS)("when the machine stops in a %s", (_, task) => {
  test.each(["lost", "kept"] as const)(
    "at any write, which is %s, nothing changes",
    async (how) => {
      for (let failing = 1; ; failing++) {
        const store = new FullStore();
        const replica = await filled(store);
        const before = readsOf(replica);
        store.failWrite(failing, how);
        const failed = await task(replica).then(
          () => false,
          () => true,
        );
        await replica.close();
        const again = await open({ store: await store.reopen() });
        expect(readsOf(again)).toEqual(before);
        await again.verify();
        // What was left half done is done again.
        await task(again);
        expect(readsOf(again)).toEqual(before);
        await again.close();
        if (failed) continue;
        expect(failing).toBeGreaterThan(2);
        return;
      }
    },
  );
});

test("a checkpoint has each document as it was when it began, whatever is written while it is under way", async () => {
  const store = new FullStore();
  const replica = await filled(store);
  const docs = Array.from({ length: 6 }, (_, i) => parseDocumentName(`large-${String(i)}`));
  for (const [i, doc] of docs.entries()) {
    for (let j = 0; j < 4; j++) {
      await replica.put(doc, [{ key: String(j), value: noise(i, LIMITS.valueBytes / 2) }]);
    }
    await replica.edit(doc, (roots) => roots.text("notes").insert(0, "before "));
  }
  const ended = replica.checkpoint();
  const writes = docs.map(async (doc) => {
    await replica.put(doc, [{ key: "0", value: "during" }]);
    await replica.edit(doc, (roots) => roots.text("notes").insert(0, "during "));
  });
  await Promise.all([ended, ...writes]);
  const before = readsOf(replica);
  // Those written meanwhile are behind it.
  expect(replica.heads()[0]?.seq).toBeGreaterThan(replica.retention().checkpoint);
  const again = await open({ store: await store.reopen() });
  expect(readsOf(again)).toEqual(before);
});
