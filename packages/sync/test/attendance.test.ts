// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a peer that takes everything and gives nothing, or nothing of use, is asked, then cut and named; one that has nothing to say is left alone.
 * Method: a real node on a virtual clock, and a remote that the test plays.
 */
import { MAX_WANTED, encodeMessage } from "@ctxmesh/sync";
import type { Channel } from "@ctxmesh/model";
import type { SyncMessage } from "@ctxmesh/sync";
import { describe, expect, test } from "vitest";
import { createNodes, deviceOf, face, link, pass, settle } from "./mesh.ts";
import type { Node } from "./mesh.ts";

const SECOND = 1_000;

/** A node that is connected to a remote, device 1, which greets as if it had exactly what the node has, and says nothing more. */
async function createScene(): Promise<{
  node: Node;
  remote: ReturnType<typeof face>;
  /** Lets seconds pass. */
  wait: (seconds: number) => Promise<void>;
  say: (message: SyncMessage) => Promise<void>;
}> {
  const { nodes, clock } = await createNodes(2);
  const [node] = nodes as [Node, Node];
  const remote = face(node, 1);
  void drain(remote.channel);
  const say = async (message: SyncMessage): Promise<void> => {
    await remote.channel.send(encodeMessage(message));
    await settle();
  };
  return { node, remote, say, wait: async (seconds) => pass([node], clock, seconds, SECOND) };
}

/** Reads everything, and does nothing about it. */
async function drain(channel: Channel): Promise<void> {
  for await (const bytes of channel.receive()) expect(bytes.length).toBeGreaterThan(0);
}

const greeting = ({ replica }: Node): SyncMessage => ({
  type: "hello",
  space: replica.space.id,
  digest: replica.frontierDigest().subarray(0, 16),
  records: replica.recordsDigest().subarray(0, 16),
});

const typesOf = ({ sent }: ReturnType<typeof face>): string[] =>
  sent.messages.map(({ type }) => type);
const silences = ({ log }: Node): readonly unknown[] =>
  log.filter(({ event }) => event === "peer.useless").map(({ fields }) => fields);

describe("a remote that says nothing", () => {
  test("is left alone as long as it has all that there is", async () => {
    const { node, remote, say, wait } = await createScene();
    await say(greeting(node));
    await node.put("key", "value");
    await wait(200);
    expect(typesOf(remote)).toContain("push");
    expect(node.sync.peers()).toMatchObject([{ inSync: true }]);
    expect(silences(node)).toEqual([]);
  });

  test("is asked after a quarter of a minute, then cut and named, when it may lack something", async () => {
    const { node, remote, say, wait } = await createScene();
    await node.put("key", "value");
    await say({ ...greeting(node), digest: new Uint8Array(16) } as SyncMessage);
    await wait(13);
    const before = typesOf(remote).filter((type) => type === "digest").length;
    await wait(3);
    expect(typesOf(remote).filter((type) => type === "digest").length).toBe(before + 1);
    expect(node.sync.peers()).toHaveLength(1);
    await wait(12);
    expect(node.sync.peers()).toEqual([]);
    await remote.ended;
    expect(silences(node)).toMatchObject([
      { device: deviceOf(1).key, stage: "useless", detail: "the peer says nothing" },
    ]);
  });

  test("is cut when it does not even greet", async () => {
    const { node, remote, wait } = await createScene();
    await wait(12);
    await remote.ended;
    expect(silences(node)).toMatchObject([{ detail: "no greeting came" }]);
  });
});

describe("a remote that speaks", () => {
  test("but answers no pull is cut after a minute", async () => {
    const { node, remote, say, wait } = await createScene();
    await say(greeting(node));
    for (let second = 0; second < 70 && silences(node).length === 0; second++) {
      await say({
        type: "have",
        heads: [
          {
            replica: deviceOf(1).key,
            incarnation: "0a".repeat(16) as never,
            seq: second + 1,
            hash: "0b".repeat(16),
          },
        ],
      });
      await wait(1);
    }
    await remote.ended;
    expect(typesOf(remote)).toContain("pull");
    expect(silences(node)).toMatchObject([{ detail: "a pull was not answered" }]);
  });
});

test("a remote that uses up its budget and brings nothing is cut after a third of a minute, and counts towards the bar", async () => {
  const { node, remote, say, wait } = await createScene();
  await say(greeting(node));
  const hashes = Array.from({ length: MAX_WANTED }, (_, i) => i.toString(16).padStart(64, "0"));
  const want = encodeMessage({ type: "want", hashes: hashes as never });
  // It sends as fast as it may, so the last of them wait.
  for (let i = 0; i < 1_500; i++) remote.channel.send(want).catch(() => undefined);
  await wait(10);
  expect(node.sync.peers()).toHaveLength(1);
  await wait(20);
  await remote.ended;
  expect(silences(node)).toMatchObject([
    { detail: "its budget is used up, and nothing new came", stage: "useless" },
  ]);
});

test("honest nodes that are idle for an hour cut nobody", async () => {
  const { nodes, clock } = await createNodes(3);
  const [a, b, c] = nodes as [Node, Node, Node];
  for (const [left, right] of [
    [a, b],
    [b, c],
  ] as const) {
    link(left, right);
  }
  await a.put("key", "value");
  await pass(nodes, clock, 3_600, SECOND);
  for (const node of nodes) expect(silences(node)).toEqual([]);
});
