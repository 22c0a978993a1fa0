// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: honest nodes repair, relay and catch up at bounded cost.
 * Method: real replicas over in-memory channels that record what is sent, on a virtual clock.
 */
import { LIMITS } from "@ctxmesh/model";
import { COMPARE_EVERY_MS } from "@ctxmesh/sync";
import { LATE_MS } from "@ctxmesh/sync";
import type { SyncMessage } from "@ctxmesh/sync";
import { createSeededRandom, createVirtualClock, waitFor } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import {
  DOC,
  START_MS,
  TICK_MS,
  contentOf,
  converged,
  createNode,
  createNodes,
  link,
  pass,
  settle,
  spaceOf,
} from "./mesh.ts";
import { batchesOf, receiveAll } from "./members.ts";
import type { Node, Sent } from "./mesh.ts";

/** Ticks after which what was to be told late was told. */
const LATE_TICKS = LATE_MS / TICK_MS + 1;

const typesOf = ({ messages }: Sent): string[] => messages.map(({ type }) => type);
const pushes = (sent: Sent): number => typesOf(sent).filter((type) => type === "push").length;
const sizeOf = (message: SyncMessage): number =>
  message.type === "batches" ? message.batches.reduce((sum, batch) => sum + batch.length, 0) : 0;

/** A value that does not compress, of `bytes` bytes as text. */
const noise = (seed: number, bytes: number): string =>
  Buffer.from(createSeededRandom(seed).bytes(bytes / 2)).toString("hex");

async function writeSingly(node: Node, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await node.put(`key-${String(i % 50)}`, String(i));
}

describe("catching up", () => {
  test("5,000 missed batches arrive in answers of bounded size, one pull at a time", async () => {
    const { nodes } = await createNodes(2);
    const [a, b] = nodes as [Node, Node];
    await writeSingly(a, 5_000);
    const connection = link(a, b);
    await waitFor(() => converged(nodes), { timeoutMs: 20_000, what: "the catch-up" });
    expect(contentOf(b)).toEqual(contentOf(a));
    const [fromA, fromB] = connection.sent;
    const answers = fromA.messages.filter(({ type }) => type === "batches").map(sizeOf);
    expect(Math.max(...answers)).toBeLessThanOrEqual(LIMITS.syncChunkBytes);
    expect(answers.length).toBeGreaterThan(5);
    expect(typesOf(fromB).filter((type) => type === "pull")).toHaveLength(answers.length);
    expect(b.replica.counters()).toMatchObject({ received: 5_000, accepted: 5_000 });
  });

  test("a batch as large as batches get still fits into an answer", async () => {
    const { nodes } = await createNodes(2);
    const [a, b] = nodes as [Node, Node];
    for (let i = 0; i < 4; i++) {
      const facts = [0, 1].map((k) => ({
        key: `${String(i)}-${String(k)}`,
        value: noise(2 * i + k, 60_000),
      }));
      await a.replica.put(DOC, facts);
    }
    link(a, b);
    await settle();
    expect(contentOf(b)).toEqual(contentOf(a));
  });

  test("two ends that have megabytes for each other over a slow channel never wait for each other", async () => {
    const { nodes } = await createNodes(2);
    for (const [n, node] of nodes.entries()) {
      for (let i = 0; i < 40; i++) await node.put(`key-${String(i)}`, noise(100 * n + i, 60_000));
    }
    const [a, b] = nodes as [Node, Node];
    const connection = link(a, b);
    await waitFor(() => converged(nodes), { timeoutMs: 20_000, what: "both to catch up" });
    expect(contentOf(b)).toEqual(contentOf(a));
    expect(connection.sent.map(({ bytes }) => bytes > 1_000_000)).toEqual([true, true]);
  });

  test("writes that go on while a peer catches up reach it, too", async () => {
    const { nodes, clock } = await createNodes(2);
    const [a, b] = nodes as [Node, Node];
    await writeSingly(a, 1_500);
    link(a, b);
    const writing = writeSingly(a, 500);
    await writing;
    await pass(nodes, clock, 3);
    await waitFor(() => converged(nodes), { timeoutMs: 20_000, what: "the catch-up" });
    expect(contentOf(b)).toEqual(contentOf(a));
  });
});

describe("at rest", () => {
  test("a reconnect of equal nodes costs less than 200 bytes each way", async () => {
    const { nodes, clock } = await createNodes(2);
    const [a, b] = nodes as [Node, Node];
    await writeSingly(a, 20);
    await writeSingly(b, 20);
    const first = link(a, b);
    await pass(nodes, clock, 2);
    expect(converged(nodes)).toBe(true);
    first.cut();
    await settle();
    const again = link(a, b);
    await pass(nodes, clock, (COMPARE_EVERY_MS - 1) / TICK_MS);
    expect(again.sent.map(typesOf)).toEqual([["hello"], ["hello"]]);
    for (const { bytes } of again.sent) expect(bytes).toBeLessThan(200);
    expect([...a.sync.peers(), ...b.sync.peers()]).toMatchObject([
      { inSync: true, device: b.replica.device },
      { inSync: true, device: a.replica.device },
    ]);
  });

  test("an hour of silence costs one digest each way per interval", async () => {
    const { nodes, clock } = await createNodes(2);
    const [a, b] = nodes as [Node, Node];
    await a.put("key", "value");
    const { sent } = link(a, b);
    await pass(nodes, clock, 2);
    for (const one of sent) one.messages.length = 0;
    await pass(nodes, clock, 120, COMPARE_EVERY_MS);
    for (const one of sent) {
      expect(new Set(typesOf(one))).toEqual(new Set(["digest"]));
      expect(one.messages.length).toBeLessThanOrEqual(360);
    }
  });
});

describe("relaying", () => {
  test("agents in a line tell each other what they heard, so the far end gets it without a hub", async () => {
    const { nodes, clock } = await createNodes(3);
    const [a, b, c] = nodes as [Node, Node, Node];
    const [near, far] = [link(a, b), link(b, c)];
    await settle();
    await a.put("key", "value");
    await settle();
    expect(pushes(near.sent[0])).toBe(1);
    expect(typesOf(far.sent[0])).toEqual(["hello"]);
    await pass(nodes, clock, 1);
    expect(typesOf(far.sent[0])).toEqual(["hello", "routes", "have", "batches"]);
    expect(contentOf(c)).toEqual(contentOf(a));
    await pass(nodes, clock, 5);
    expect(typesOf(near.sent[1])).toEqual(["hello"]);
    expect(typesOf(far.sent[1])).toEqual(["hello", "pull"]);
    await pass(nodes, clock, 1_000 / TICK_MS);
    expect(typesOf(far.sent[1])).toEqual(["hello", "pull", "routes"]);
  });

  test("a hub pushes each batch once to every other agent, and never back to where it came from", async () => {
    const { nodes, clock } = await createNodes(4, 1);
    const [hub, ...agents] = nodes as [Node, ...Node[]];
    const links = agents.map((agent) => link(agent, hub));
    await settle();
    for (let i = 0; i < 5; i++) await agents[0]?.put("key", String(i));
    await pass(nodes, clock, 3);
    expect(links.map(({ sent }) => pushes(sent[1]))).toEqual([0, 5, 5]);
    expect(links.map(({ sent }) => pushes(sent[0]))).toEqual([5, 0, 0]);
    expect(
      links.flatMap(({ sent }) => sent.flatMap(typesOf)).filter((type) => type === "have"),
    ).toEqual([]);
    for (const node of nodes) {
      expect(contentOf(node)).toEqual(contentOf(hub));
      expect(node.replica.counters().duplicate).toBe(0);
    }
    expect(hub.sync.peers().map(({ inSync }) => inSync)).toEqual([true, true, true]);
  });

  test("two agents that bring the hub the same batch both count as its source", async () => {
    const { nodes } = await createNodes(3, 1);
    const [hub, a, b] = nodes as [Node, Node, Node];
    const between = link(a, b);
    await settle();
    await a.put("key", "1");
    await settle();
    between.cut();
    const links = [link(a, hub), link(b, hub)];
    await settle();
    expect(links.map(({ sent }) => pushes(sent[1]))).toEqual([0, 0]);
    expect(converged(nodes)).toBe(true);
  });

  test("a broadcast that is in use replaces pushes to agents, not to hubs, and what it loses is told", async () => {
    const clock = createVirtualClock(START_MS);
    const space = spaceOf([0, 1, 2]);
    const published: Uint8Array[] = [];
    const broadcast = {
      active: () => true,
      publish: async (batch: Uint8Array) => Promise.resolve(published.push(batch)),
    };
    const a = await createNode(0, { space, clock, broadcast });
    const b = await createNode(1, { space, clock });
    const hub = await createNode(2, { role: "hub", space, clock });
    const [toAgent, toHub] = [link(a, b), link(a, hub)];
    await settle();
    await a.put("key", "value");
    await settle();
    expect(published).toHaveLength(1);
    expect([pushes(toAgent.sent[0]), pushes(toHub.sent[0])]).toEqual([0, 1]);
    await pass([a, b, hub], clock, LATE_TICKS);
    expect(typesOf(toAgent.sent[0])).toEqual(["hello", "have", "batches"]);
    expect(converged([a, b, hub])).toBe(true);
  });

  test("a broadcast that fails is logged and the batch is told all the same", async () => {
    const clock = createVirtualClock(START_MS);
    const space = spaceOf([0, 1]);
    const broadcast = { active: () => true, publish: async () => Promise.reject(new Error("no")) };
    const a = await createNode(0, { space, clock, broadcast });
    const b = await createNode(1, { space, clock });
    link(a, b);
    await settle();
    await a.put("key", "value");
    await pass([a, b], clock, LATE_TICKS);
    expect(converged([a, b])).toBe(true);
    expect(a.log.filter(({ event }) => event === "broadcast.failed")).toHaveLength(1);
  });
});

test("a broadcast batch has a verdict for each outcome", async () => {
  const clock = createVirtualClock(START_MS);
  const space = spaceOf([0, 1]);
  const [writer, node] = [
    await createNode(0, { space, clock }),
    await createNode(1, { space, clock }),
  ];
  const batches: Uint8Array[] = [];
  writer.replica.onApplied(({ bytes }) => batches.push(bytes));
  await writeSingly(writer, 3);
  const [first, second, third] = batches as [Uint8Array, Uint8Array, Uint8Array];
  const broken = second.slice();
  broken[broken.length - 1] = (broken.at(-1) ?? 0) ^ 1;
  expect(await node.sync.receiveBroadcast(broken)).toBe("reject");
  expect(await node.sync.receiveBroadcast(third)).toBe("accept");
  expect(await node.sync.receiveBroadcast(third)).toBe("ignore");
  expect(await node.sync.receiveBroadcast(first)).toBe("accept");
  expect(await node.sync.receiveBroadcast(second)).toBe("accept");
  expect(await node.sync.receiveBroadcast(first)).toBe("ignore");
  const flood = Array.from({ length: LIMITS.queuedBatches + 1 }, async () =>
    node.sync.receiveBroadcast(first),
  );
  expect(new Set(await Promise.all(flood))).toEqual(new Set(["ignore"]));
  expect(node.replica.counters()).toMatchObject({ accepted: 3, dropped: 0, held: 0 });
  expect(node.replica.counters().received).toBeLessThanOrEqual(6 + LIMITS.gossipPending);
  await node.replica.close();
  await expect(node.sync.receiveBroadcast(first)).rejects.toMatchObject({ code: "CLOSED" });
});

/** A hub and a writer that know a new device, and an agent whose space file is older. */
async function createSkewed(): Promise<{
  nodes: [Node, Node, Node];
  clock: ReturnType<typeof createVirtualClock>;
}> {
  const clock = createVirtualClock(START_MS);
  const [older, newer] = [spaceOf([0, 1]), spaceOf([0, 1, 2])];
  const hub = await createNode(0, { role: "hub", space: newer, clock });
  const behind = await createNode(1, { space: older, clock });
  const added = await createNode(2, { space: newer, clock });
  return { nodes: [hub, behind, added], clock };
}

test("a broadcast batch that this node alone may be wrong about is ignored, not held against its sender", async () => {
  const clock = createVirtualClock(START_MS);
  const node = await createNode(0, { space: spaceOf([0]), clock });
  const stranger = await createNode(1, { space: spaceOf([0, 1]), clock });
  const batches = batchesOf(stranger);
  await stranger.put("key", "value");
  expect(await node.sync.receiveBroadcast(batches[0] as Uint8Array)).toBe("ignore");
  expect(node.replica.counters().refused.grant).toBe(1);
});

test("a node whose space file is older gets the grants before the batches, and refuses none", async () => {
  const { nodes, clock } = await createSkewed();
  const [hub, behind, added] = nodes;
  await writeSingly(added, 40);
  link(added, hub);
  await settle();
  const { sent } = link(behind, hub);
  await pass(nodes, clock, 2);
  expect(converged(nodes)).toBe(true);
  expect(contentOf(behind)).toEqual(contentOf(added));
  expect(typesOf(sent[0])).toEqual(["hello", "records", "ranges", "acts", "pull"]);
  expect(behind.replica.counters()).toMatchObject({ received: 40, accepted: 40 });
});

test("what was asked for in vain is not asked for again until something about it changes", async () => {
  const clock = createVirtualClock(START_MS);
  const space = spaceOf([0, 1, 2, 3]);
  const [a, b] = [await createNode(0, { space, clock }), await createNode(1, { space, clock })];
  const other = await createNode(3, { space, clock });
  const news = batchesOf(other);
  // A writer whose clock is ahead: a takes its batches an hour later, and b, who lacks them, holds them.
  const ahead = createVirtualClock(START_MS + 3_600_000);
  const writer = await createNode(2, { space, clock: ahead });
  const batches = batchesOf(writer);
  await writeSingly(writer, 50);
  clock.advance(3_600_000);
  expect(new Set(await receiveAll(a, batches))).toEqual(new Set(["accepted"]));
  clock.advance(-3_600_000);
  const { sent } = link(a, b);
  await settle();
  for (let i = 0; i < 100; i++) {
    await other.put("key", String(i));
    await receiveAll(a, news.slice(-1));
    await pass([a, b], clock, 1);
  }
  expect(b.replica.counters()).toMatchObject({ held: 50, accepted: 100 });
  const asked = sent[1].messages.flatMap((of) => (of.type === "pull" ? of.spans : []));
  expect(asked.length).toBeGreaterThan(10);
  expect(asked.filter(({ replica }) => replica === writer.replica.device)).toHaveLength(1);
  // Held for a clock: not even comparisons make it be asked for again, but for once in some minutes.
  await pass([a, b], clock, 20, COMPARE_EVERY_MS);
  const all = sent[1].messages.flatMap((of) => (of.type === "pull" ? of.spans : []));
  expect(all.filter(({ replica }) => replica === writer.replica.device).length).toBeLessThanOrEqual(
    3,
  );
  clock.advance(3_600_000);
  await pass([a, b], clock, 2);
  expect(converged([a, b])).toBe(true);
});
