// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what an agent takes for acknowledged by a hub survives the loss of the agent, and what is sealed is under a seal.
 * Method: real replicas over in-memory channels and stores that fail, on a virtual clock.
 */
import type { ChainHead } from "@ctxmesh/sync";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import type { MemoryStore } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DOC, START_MS, createNode, createNodes, link, pass, settle, spaceOf } from "./mesh.ts";
import type { Link, Node } from "./mesh.ts";
import { createCopy, revokeAt } from "./members.ts";

/** How much of `node`'s own present chain `at` knows to be at a hub, and sealed. */
const confirmedAt = (at: Node, node = at): { readonly hub: number; readonly sealed: number } =>
  at.sync.confirmations.confirmed({
    replica: node.replica.device,
    incarnation: node.replica.incarnation,
  });

const seal = ({ replica, sync }: Node): void => {
  sync.sealed(replica.heads());
};

async function write(node: Node, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await node.put(`key-${String(i % 7)}`, String(i));
}

const storedIn = ({ sent }: Link): readonly ChainHead[] =>
  sent
    .flatMap(({ messages }) => messages)
    .flatMap((message) => (message.type === "stored" ? message.heads : []));

describe("an agent", () => {
  test("knows that its writes are at a hub without time passing", async () => {
    const { nodes } = await createNodes(2, 1);
    const [hub, agent] = nodes as [Node, Node];
    link(hub, agent);
    await settle();
    await write(agent, 20);
    await settle();
    expect(confirmedAt(agent)).toEqual({ hub: 20, sealed: 0 });
    expect(hub.replica.seqOf(agent.replica.device, agent.replica.incarnation)).toBe(20);
  });

  test("knows that they are sealed as soon as they are, and after connecting again", async () => {
    const { nodes } = await createNodes(3, 1);
    const [hub, agent, other] = nodes as [Node, Node, Node];
    link(hub, other);
    const first = link(hub, agent);
    await settle();
    await write(agent, 3);
    await write(other, 1);
    await settle();
    seal(hub);
    await settle();
    expect(confirmedAt(agent)).toEqual({ hub: 3, sealed: 3 });
    first.cut();
    await write(agent, 2);
    const again = link(hub, agent);
    await settle();
    expect(confirmedAt(agent)).toEqual({ hub: 5, sealed: 3 });
    seal(hub);
    await settle();
    expect(confirmedAt(agent).sealed).toBe(5);
    // All of it on opening, then what has moved.
    const told = again.sent[0].messages.flatMap((message) =>
      message.type === "sealed" ? [message.heads.length] : [],
    );
    expect(told).toEqual([2, 1]);
  });

  test("learns what happened meanwhile when it connects again: what it wrote, and what had not been said", async () => {
    const { nodes } = await createNodes(2, 1);
    const [hub, agent] = nodes as [Node, Node];
    await write(agent, 4);
    expect(confirmedAt(agent).hub).toBe(0);
    const first = link(hub, agent);
    await settle();
    expect(confirmedAt(agent).hub).toBe(4);
    first.cut();
    await settle();
    const clock = createVirtualClock(START_MS);
    const other = await createNode(1, { space: spaceOf([0, 1]), clock });
    for await (const { bytes } of agent.replica.read(
      agent.replica.heads().map((head) => ({ ...head, from: 1, to: head.seq })),
    )) {
      await other.replica.receive(bytes);
    }
    link(hub, other);
    await settle();
    expect(confirmedAt(other, agent).hub).toBe(4);
  });

  test("without a hub knows nothing, though another agent brings its writes there and says so", async () => {
    const { nodes, clock } = await createNodes(3, 1);
    const [hub, relay, far] = nodes as [Node, Node, Node];
    link(hub, relay);
    link(relay, far);
    await settle();
    await write(far, 5);
    await pass(nodes, clock, 3);
    expect(hub.replica.seqOf(far.replica.device, far.replica.incarnation)).toBe(5);
    expect([confirmedAt(relay, far).hub, confirmedAt(far).hub]).toEqual([5, 0]);
    link(hub, far);
    await settle();
    expect(confirmedAt(far).hub).toBe(5);
  });

  test("whose writes somebody else brought first hears of it from the hub all the same", async () => {
    const { nodes, clock } = await createNodes(3, 1);
    const [hub, relay, writer] = nodes as [Node, Node, Node];
    link(relay, writer);
    await settle();
    await write(writer, 3);
    await pass(nodes, clock, 2);
    link(hub, writer);
    link(hub, relay);
    await pass(nodes, clock, 4);
    await write(writer, 2);
    await pass(nodes, clock, 4);
    expect([confirmedAt(writer).hub, confirmedAt(relay, writer).hub]).toEqual([5, 5]);
  });

  test("of which a clone writes as well counts no write of the other branch as its own", async () => {
    const clock = createVirtualClock(START_MS);
    const space = spaceOf([0, 1, 2]);
    const hub = await createNode(0, { role: "hub", space, clock });
    const [one, two] = [
      await createCopy(1, 11, { space, clock }),
      await createCopy(1, 22, { space, clock }),
    ];
    expect(one.replica.incarnation).toBe(two.replica.incarnation);
    await one.put("a", "one");
    await two.put("a", "two");
    link(hub, one);
    await settle();
    expect(confirmedAt(one).hub).toBe(1);
    const { incarnation } = two.replica;
    link(hub, two);
    await settle();
    const forked = { replica: two.replica.device, incarnation };
    expect(two.sync.confirmations.confirmed(forked).hub).toBe(0);
  });

  test("that is revoked counts nothing past what stands", async () => {
    const { nodes, clock } = await createNodes(2, 1);
    const [hub, agent] = nodes as [Node, Node];
    const first = link(hub, agent);
    await settle();
    await write(agent, 2);
    await settle();
    first.cut();
    await settle();
    await write(agent, 3);
    const wait = agent.sync.confirmations.reached(
      { replica: agent.replica.device, incarnation: agent.replica.incarnation, seq: 5 },
      "hub",
      60_000,
    );
    await revokeAt(hub, 1, clock.now());
    await agent.replica.addRecords(
      hub.replica.readRecords({ acts: agent.replica.recordIds().acts, forks: [] }),
    );
    await settle();
    expect(await wait).toBe("cut");
    expect(confirmedAt(agent).hub).toBe(2);
  });

  test("lets go of those who wait when its node stops", async () => {
    const { nodes } = await createNodes(1);
    const [agent] = nodes as [Node];
    await agent.put("a", "1");
    const { device: replica, incarnation } = agent.replica;
    const wait = agent.sync.confirmations.reached({ replica, incarnation, seq: 1 }, "hub", 60_000);
    await agent.sync.stop();
    expect(await wait).toBe("ended");
  });
});

test("a hub says of many batches that become durable at once only how far they go, in a message or two", async () => {
  const clock = createVirtualClock(START_MS);
  const space = spaceOf([0, 1]);
  let disk = Promise.resolve();
  const store = createMemoryStore({ faults: { beforeSync: async () => disk } });
  const hub = await createNode(0, { role: "hub", space, clock, store });
  const agent = await createNode(1, { space, clock });
  const connection = link(hub, agent);
  await settle();
  const { promise, resolve } = Promise.withResolvers<undefined>();
  disk = promise.then(() => undefined);
  await write(agent, 50);
  await settle();
  resolve(undefined);
  await settle();
  expect(confirmedAt(agent).hub).toBe(50);
  expect(storedIn(connection).length).toBeLessThanOrEqual(4);
});

test("a hub never says that something is stored before it would survive a power cut there", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 0, max: 5 }),
      async (bursts, failAt) => {
        const clock = createVirtualClock(START_MS);
        const space = spaceOf([0, 1]);
        const gate: { open: PromiseWithResolvers<void> } = { open: Promise.withResolvers() };
        const store: MemoryStore = createMemoryStore({
          faults: { beforeSync: async () => gate.open.promise },
        });
        gate.open.resolve();
        const hub = await createNode(0, { role: "hub", space, clock, store });
        const agent = await createNode(1, { space, clock });
        link(hub, agent);
        await settle();
        for (const [i, count] of bursts.entries()) {
          gate.open = Promise.withResolvers();
          const before = confirmedAt(agent).hub;
          await write(agent, count);
          await settle();
          // The hub's disk has not answered yet.
          expect(confirmedAt(agent).hub).toBe(before);
          if (i === failAt) store.failNextWrite("lost");
          gate.open.resolve();
          await settle();
        }
        const confirmed = confirmedAt(agent).hub;
        const disk = store.crash();
        const reborn = await createNode(0, { role: "hub", space, clock, store: disk });
        const { device, incarnation } = agent.replica;
        expect(reborn.replica.seqOf(device, incarnation)).toBeGreaterThanOrEqual(confirmed);
        const all = agent.replica.seqOf(device, incarnation);
        expect(failAt < bursts.length || confirmed === all).toBe(true);
      },
    ),
    { numRuns: 30 },
  );
});

test("what a hub acknowledged is there when the agent's disk is gone", async () => {
  const clock = createVirtualClock(START_MS);
  const space = spaceOf([0, 1]);
  const hub = await createNode(0, { role: "hub", space, clock });
  const agent = await createNode(1, { space, clock });
  const connection = link(hub, agent);
  await settle();
  await agent.put("verdict", "scrap");
  await settle();
  expect(confirmedAt(agent).hub).toBe(1);
  connection.cut();
  const fresh = await createCopy(1, 5, { space, clock });
  link(hub, fresh);
  await settle();
  expect(fresh.replica.get(DOC, "verdict")?.value).toBe("scrap");
});
