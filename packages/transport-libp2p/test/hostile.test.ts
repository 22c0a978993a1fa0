// SPDX-License-Identifier: Apache-2.0
/** Members that do not keep to the protocol, played by bare libp2p nodes. */
import { noise } from "@chainsafe/libp2p-noise";
import { toHex } from "@ctxmesh/model";
import { generateKeyPair } from "@libp2p/crypto/keys";
import type { Libp2p } from "@libp2p/interface";
import { tcp } from "@libp2p/tcp";
import { yamux } from "@libp2p/yamux";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import { describe, expect, test, vi } from "vitest";
import { addressOf, newDevice, startNode, until } from "./mesh.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const PROTOCOL = "/ctxmesh/sync/3.0.0";

/** A bare node whose device key is lower or higher than the given one. */
async function bareNode(side: "lower" | "higher", than: string): Promise<Libp2p & AsyncDisposable> {
  for (;;) {
    const privateKey = await generateKeyPair("Ed25519");
    if (toHex(privateKey.publicKey.raw) < than !== (side === "lower")) continue;
    const node = await createLibp2p({
      privateKey,
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
    });
    return Object.assign(node, { [Symbol.asyncDispose]: async () => node.stop() });
  }
}

describe("a member that breaks the protocol", () => {
  test("loses its channel when it announces a message over the limit", async () => {
    const device = newDevice();
    await using node = await startNode({ device });
    await using bare = await bareNode("lower", device.key);
    const stream = await bare.dialProtocol(multiaddr(addressOf(node)), PROTOCOL);
    await until("the channel", () => node.open.size === 1);
    stream.send(Uint8Array.of(0x7f, 0, 0, 0));
    await until("its end", () => node.open.size === 0);
    await until("the reset", () => stream.status === "reset");
    expect(node.logger.events).toContainEqual({
      event: "channel.closed",
      fields: expect.objectContaining({ reason: expect.stringContaining("2130706432 bytes") }),
    });
  });

  test("does not get a channel that is not its to open", async () => {
    const device = newDevice();
    await using node = await startNode({ device });
    await using bare = await bareNode("higher", device.key);
    const stream = await bare.dialProtocol(multiaddr(addressOf(node)), PROTOCOL);
    await until("the reset", () => stream.status === "reset");
    expect(node.channels).toEqual([]);
  });

  test("replaces its channel by opening another; the two are never open together", async () => {
    const device = newDevice();
    await using node = await startNode({ device });
    await using bare = await bareNode("lower", device.key);
    const address = multiaddr(addressOf(node));
    for (let count = 1; count <= 4; count++) {
      await bare.dialProtocol(address, PROTOCOL);
      await until("the channel", () => node.channels.length === count && node.open.size === 1);
    }
    await expect(node.channels[0]?.send(new Uint8Array(1))).rejects.toMatchObject({
      code: "CLOSED",
    });
  });

  test("is cut off when it has no channel and no gossip stream", async () => {
    const device = newDevice();
    await using node = await startNode({ device });
    await using bare = await bareNode("lower", device.key);
    await bare.dial(multiaddr(addressOf(node)));
    await until("the connection", () => node.transport.peers().length === 1);
    await until("the cut", () => node.transport.peers().length === 0);
    expect(node.logger.events.map(({ event }) => event)).toContain("peer.half-connected");
  });
});
