// SPDX-License-Identifier: Apache-2.0
/** Goal: whoever lacks very much, or what is pruned, gets a base, from a hub or from who has one; whoever lacks little pulls batches. */
import { issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS } from "@ctxmesh/model";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import type { MemoryStore, VirtualClock } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import {
  START_MS,
  contentOf,
  createNode,
  creator,
  deviceOf,
  face,
  link,
  pass,
  settle,
  spaceOf,
} from "./mesh.ts";
import type { Link, Node } from "./mesh.ts";
import { encodeMessage } from "@ctxmesh/sync";
import type { SyncMessage } from "@ctxmesh/sync";

const MANY = LIMITS.baseFromBatches + 50;
const all = { upTo: () => Number.POSITIVE_INFINITY, beforeMs: Number.POSITIVE_INFINITY };

/** Devices 0 to 4, of which 0 and 1 are hubs. */
const space: Space = [0, 1].reduce(
  (before, n) =>
    issueGrant(before, creator, {
      device: deviceOf(n).key,
      service: "hub",
      role: "write",
      notBefore: START_MS - 1_000,
    }),
  spaceOf([0, 1, 2, 3, 4]),
);

interface Scene {
  readonly clock: VirtualClock;
  readonly store: MemoryStore;
  node(n: number, store?: MemoryStore): Promise<Node>;
}

function scene(): Scene {
  const clock = createVirtualClock(START_MS);
  const node = (n: number, store = createMemoryStore()): Promise<Node> =>
    createNode(n, { role: n < 2 ? "hub" : "agent", space, clock, store });
  return { clock, store: createMemoryStore(), node };
}

async function write(node: Node, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await node.put(`key-${String(i % 10)}`, `value ${String(i)}`);
}

const count = (sent: Link["sent"][number], type: SyncMessage["type"]): number =>
  sent.messages.filter((message) => message.type === type).length;

const batches = (sent: Link["sent"][number]): number =>
  sent.messages.reduce(
    (sum, message) => sum + (message.type === "batches" ? message.batches.length : 0),
    0,
  );

describe("a newcomer", () => {
  test("to many batches asks a hub for a base, then pulls what came since; another session waits; it hands the base on", async () => {
    const { clock, node } = scene();
    const [hub, other, agent] = [await node(0), await node(1), await node(2)];
    await write(hub, MANY);
    const hubs = link(hub, other);
    await pass([hub, other], clock, 40);
    hubs.cut();
    expect(contentOf(other)).toEqual(contentOf(hub));

    const [one, two] = [link(agent, hub), link(agent, other)];
    await pass([agent], clock, 4);
    await write(hub, 10);
    await pass([hub, other, agent], clock, 60);
    expect(contentOf(agent)).toEqual(contentOf(hub));
    const [{ sent: first }, { sent: second }] = [one, two];
    expect(count(first[1], "base-part") + count(second[1], "base-part")).toBeGreaterThan(3);
    expect([count(first[0], "base-pull"), count(second[0], "base-pull")]).toContain(0);
    // Nothing of what the base stands for came as a batch, from neither.
    expect(batches(first[1]) + batches(second[1])).toBeLessThan(MANY / 2);
    expect(first[1].bytes + second[1].bytes).toBeLessThan((MANY * 350) / 4);
    one.cut();
    two.cut();

    const next = await node(3);
    const third = link(next, agent);
    await pass([next, agent], clock, 60);
    expect(contentOf(next)).toEqual(contentOf(hub));
    expect(count(third.sent[1], "base-part")).toBeGreaterThan(3);
    const status = next.sync.peers();
    expect(status.map(({ inSync }) => inSync)).toEqual([true]);
  }, 20_000);

  test("goes on with its base after a cut behind each part, also from another hub's session", async () => {
    const { clock, node, store } = scene();
    const hub = await node(0);
    await write(hub, MANY);
    let agent = await node(2, store);
    let parts = 0;
    for (let n = 1; ; n++) {
      const to = link(agent, hub);
      // Until a piece more has come than before.
      for (let i = 0; i < 400 && count(to.sent[1], "base-part") < 2; i++) await Promise.resolve();
      to.cut();
      await to.ended;
      await settle();
      parts += count(to.sent[1], "base-part");
      if (contentOf(agent) === undefined || agent.replica.heads().length > 0 || n > 20) break;
    }
    link(agent, hub);
    await pass([agent, hub], clock, 60);
    agent = { ...agent };
    expect(contentOf(agent)).toEqual(contentOf(hub));
    expect(parts).toBeGreaterThan(0);
  }, 20_000);
});

test("a peer that is some batches behind pulls batches", async () => {
  const { clock, node } = scene();
  const [hub, agent] = [await node(0), await node(2)];
  await write(hub, 100);
  const { sent } = link(agent, hub);
  await pass([agent, hub], clock, 20);
  expect(contentOf(agent)).toEqual(contentOf(hub));
  expect(count(sent[0], "base-pull")).toBe(0);
  expect(batches(sent[1])).toBe(100);
});

test("a peer whose batches are pruned gets a base from who pruned them and has one", async () => {
  const { clock, node } = scene();
  const [hub, keeper, late] = [await node(0), await node(2), await node(3)];
  await write(hub, 20);
  const to = link(keeper, hub);
  await pass([keeper, hub], clock, 20);
  // It takes the base that it will hand on.
  const offered = await hub.replica.bases.offer();
  expect(offered).toBeDefined();
  to.cut();
  await keeper.replica.prune(all);
  const first = link(late, keeper);
  await pass([late, keeper], clock, 20);
  expect(count(first.sent[0], "base-pull")).toBe(1);
  expect(late.replica.heads()).toEqual([]);
  first.cut();

  await hub.put("more", "value");
  const second = link(late, hub);
  await pass([late, hub], clock, 20);
  expect(contentOf(late)).toEqual(contentOf(hub));
  second.cut();
});

describe("a remote", () => {
  test("that sends parts of bases that nobody asked for, or asks for two at a time, is closed", async () => {
    const { node } = scene();
    const hub = await node(0);
    await write(hub, 5);
    for (const messages of [
      [{ type: "base-part", base: "ab".repeat(32), part: 1, bytes: new Uint8Array(9) }],
      [
        { type: "base-pull", base: undefined, part: 0 },
        { type: "base-pull", base: undefined, part: 0 },
      ],
    ] as const) {
      const { channel, ended } = face(hub, 2);
      const [digest, records] = [
        hub.replica.frontierDigest().subarray(0, 16),
        hub.replica.recordsDigest().subarray(0, 16),
      ];
      await channel.send(encodeMessage({ type: "hello", space: space.id, digest, records }));
      for (const message of messages) await channel.send(encodeMessage(message));
      await ended;
      expect(hub.log.some(({ event }) => event === "peer.violation")).toBe(true);
    }
  });
});
