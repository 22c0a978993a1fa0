// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import type { BroadcastHandler } from "@ctxmesh/transport-libp2p";
import { describe, expect, test, vi } from "vitest";
import type { Node } from "./mesh.ts";
import { addressOf, bytes, newDevice, startNode, until } from "./mesh.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

/** Collects what is gossiped to a node; texts that start with `verdict:` get that verdict. */
function collect(node: Node): { text: string; from: string | undefined }[] {
  const seen: { text: string; from: string | undefined }[] = [];
  const handler: BroadcastHandler = (message, from) => {
    const text = new TextDecoder().decode(message);
    seen.push({ text, from });
    if (text.startsWith("throw:")) return Promise.reject(new Error("planted"));
    if (text.startsWith("reject:")) return Promise.resolve("reject");
    return Promise.resolve(text.startsWith("ignore:") ? "ignore" : "accept");
  };
  node.transport.onBroadcast(handler);
  return seen;
}

/** Broadcasts fresh probes until one has arrived: the topic's mesh forms a moment after the connections do. */
async function meshIsUp(from: Node, seen: readonly { text: string }[]): Promise<void> {
  let probes = 0;
  await until("the topic's mesh", async () => {
    await from.transport.broadcast(bytes(`probe ${String(probes++)}`));
    return seen.some(({ text }) => text.startsWith("probe"));
  });
}

describe("gossip", () => {
  test("above the threshold a broadcast reaches everyone, also over others, with who passed it on", async () => {
    await using middle = await startNode({ device: newDevice(), gossipAbove: 0 });
    const peers = [addressOf(middle)];
    await using left = await startNode({ device: newDevice(), peers, gossipAbove: 0 });
    await using right = await startNode({ device: newDevice(), peers, gossipAbove: 0 });
    expect(left.transport.usesGossip()).toBe(false);
    await until("connections", () => middle.open.size === 2);
    expect([left, middle, right].map((node) => node.transport.usesGossip())).toEqual([
      true,
      true,
      true,
    ]);
    const [atMiddle, atRight] = [collect(middle), collect(right)];
    await meshIsUp(left, atRight);
    expect(await left.transport.broadcast(bytes("fact"))).toBe(1);
    await until("the fact", () => atRight.some(({ text }) => text === "fact"));
    expect(atMiddle).toContainEqual({ text: "fact", from: left.device.key });
    expect(atRight).toContainEqual({ text: "fact", from: middle.device.key });
  });

  test.each(["reject", "ignore", "throw"])(
    "what a node's verdict is %s for is not forwarded",
    async (verdict) => {
      await using middle = await startNode({ device: newDevice() });
      const peers = [addressOf(middle)];
      await using left = await startNode({ device: newDevice(), peers });
      await using right = await startNode({ device: newDevice(), peers });
      const [atMiddle, atRight] = [collect(middle), collect(right)];
      await meshIsUp(left, atRight);
      await left.transport.broadcast(bytes(`${verdict}: bad`));
      await until("the bad one", () => atMiddle.some(({ text }) => text === `${verdict}: bad`));
      await left.transport.broadcast(bytes("good"));
      await until("the good one", () => atRight.some(({ text }) => text === "good"));
      expect(atRight.map(({ text }) => text)).not.toContain(`${verdict}: bad`);
    },
  );

  test("twenty members behind one address connect at once and all get a broadcast", async () => {
    await using first = await startNode({ device: newDevice() });
    await using stack = new AsyncDisposableStack();
    const peers = [addressOf(first)];
    const others = await Promise.all(
      Array.from({ length: 19 }, async () =>
        stack.use(await startNode({ device: newDevice(), listen: [], peers })),
      ),
    );
    await until("all connections", () => first.transport.peers().length === others.length);
    const seen = others.map(collect);
    for (const at of seen) await meshIsUp(first, at);
    await first.transport.broadcast(bytes("to all"));
    await until("all copies", () => seen.every((at) => at.some(({ text }) => text === "to all")));
    expect(first.transport.usesGossip()).toBe(true);
    // Nobody was turned away for being one of many.
    const events = others.flatMap((node) => node.logger.events.map(({ event }) => event));
    expect(events).not.toContain("peer.unreachable");
  });

  test("a broadcast to nobody is no error, the same bytes go out once, too many are refused", async () => {
    await using node = await startNode({ device: newDevice() });
    expect(await node.transport.broadcast(bytes("alone"))).toBe(0);
    expect(await node.transport.broadcast(bytes("alone"))).toBe(0);
    const over = node.transport.broadcast(new Uint8Array(LIMITS.gossipBytes + 1));
    await expect(over).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  });

  test("a broadcast before start or after stop is refused with CLOSED", async () => {
    const node = await startNode({ device: newDevice() });
    await node.transport.stop();
    await expect(node.transport.broadcast(bytes("late"))).rejects.toMatchObject({ code: "CLOSED" });
  });
});
