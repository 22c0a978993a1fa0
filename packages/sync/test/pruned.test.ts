// SPDX-License-Identifier: Apache-2.0
/** Goal: who can't serve what a peer lacks, since it is pruned, sends nothing useless, and the peer gets the rest and, of others, all. */
import { expect, test } from "vitest";
import { contentOf, createNodes, link, pass } from "./mesh.ts";
import type { Link, Node } from "./mesh.ts";

const pulls = (sent: Link["sent"][number]): number =>
  sent.messages.filter(({ type }) => type === "pull").length;

test("a peer that lacks what is pruned asks once in a while, is sent none of that chain, and gets it from another", async () => {
  const { nodes, clock } = await createNodes(3);
  const [pruned, fresh, whole] = nodes as [Node, Node, Node];
  for (let i = 0; i < 10; i++) await pruned.put(`key-${String(i)}`, "value");
  const first = link(pruned, whole);
  await pass(nodes, clock, 20);
  first.cut();
  await whole.put("of another", "value");
  const second = link(pruned, whole);
  await pass(nodes, clock, 20);
  second.cut();
  await pruned.replica.prune({
    upTo: ({ replica }) => (replica === pruned.replica.device ? 6 : 0),
    beforeMs: Number.POSITIVE_INFINITY,
  });

  const third = link(pruned, fresh);
  await pass([pruned, fresh], clock, 40);
  const asked = pulls(third.sent[1]);
  const sentBatches = third.sent[0].messages.flatMap((message) =>
    message.type === "batches" ? message.batches : [],
  );
  // That of the third names the pruned chain, and so is held; what is held has digests compared soon, and is sent once more then.
  expect(sentBatches.length).toBeLessThanOrEqual(2);
  expect(fresh.replica.heads()).toEqual([]);
  expect(asked).toBeLessThan(10);
  // It is asked for again when digests are compared, every ten seconds.
  await pass([pruned, fresh], clock, 100);
  expect(pulls(third.sent[1]) - asked).toBeLessThanOrEqual(2);

  link(whole, fresh);
  await pass(nodes, clock, 60);
  expect(contentOf(fresh)).toEqual(contentOf(pruned));
  await pruned.put("after", "value");
  await pass(nodes, clock, 20);
  expect(contentOf(fresh)).toEqual(contentOf(pruned));
});
