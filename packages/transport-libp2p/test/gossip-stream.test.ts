// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: gossip goes on after its stream has died on a connection that lives, which the library does not see to.
 * Method: a bare libp2p node with gossipsub and our sync protocol, which kills the stream that it is sent gossip by.
 */
import { noise } from "@chainsafe/libp2p-noise";
import { toHex } from "@ctxmesh/model";
import { generateKeyPair } from "@libp2p/crypto/keys";
import { StrictNoSign, gossipsub } from "@libp2p/gossipsub";
import type { GossipSub } from "@libp2p/gossipsub";
import { identify } from "@libp2p/identify";
import type { Libp2p } from "@libp2p/interface";
import { tcp } from "@libp2p/tcp";
import { yamux } from "@libp2p/yamux";
import { createLibp2p } from "libp2p";
import { expect, test, vi } from "vitest";
import { topicOf } from "../src/gossip.ts";
import { SYNC_PROTOCOL } from "../src/peer-channels.ts";
import { SPACE, bytes, newDevice, startNode, until } from "./mesh.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

type Bare = Libp2p<{ pubsub: GossipSub }> & AsyncDisposable;

/** A bare node that gossips in the space, and takes channels; its key is above the given one, so that it is the other end that opens them. */
async function gossipingNode(above: string): Promise<Bare> {
  let privateKey = await generateKeyPair("Ed25519");
  while (toHex(privateKey.publicKey.raw) < above) privateKey = await generateKeyPair("Ed25519");
  const node = await createLibp2p({
    privateKey,
    addresses: { listen: ["/ip4/127.0.0.1/tcp/0"] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: {
      identify: identify(),
      pubsub: gossipsub({
        globalSignaturePolicy: StrictNoSign,
        allowPublishToZeroTopicPeers: true,
        scoreParams: { IPColocationFactorWeight: 0 },
      }),
    },
  });
  await node.handle(SYNC_PROTOCOL, () => undefined);
  node.services.pubsub.subscribe(topicOf(SPACE));
  return Object.assign(node, { [Symbol.asyncDispose]: async () => node.stop() });
}

test("a gossip stream that dies on a live connection is noticed, and gossip goes on over a new one", async () => {
  const device = newDevice(new Uint8Array(32).fill(3));
  await using bare = await gossipingNode(device.key);
  const heard: string[] = [];
  bare.services.pubsub.addEventListener("message", ({ detail }) => {
    heard.push(new TextDecoder().decode(detail.data));
  });
  await using node = await startNode({ device, peers: bare.getMultiaddrs().map(String) });
  let probes = 0;
  const isHeard = async (): Promise<boolean> => {
    const probe = `probe ${String(probes++)}`;
    await node.transport.broadcast(bytes(probe));
    return heard.some((text) => text.startsWith("probe"));
  };
  await until("gossip", isHeard);

  const [connection] = bare.getConnections();
  const gossip = connection?.streams.filter(
    ({ protocol, direction }) => protocol.startsWith("/meshsub/") && direction === "inbound",
  );
  expect(gossip).toHaveLength(1);
  for (const stream of gossip ?? []) stream.abort(new Error("killed"));
  await until("that it is noticed", () =>
    node.logger.events.some(({ event }) => event === "peer.half-connected"),
  );
  await until("the end of the connection", () => connection?.status !== "open");
  heard.length = 0;
  await until("gossip again", isHeard);
  expect(node.transport.peers()).toHaveLength(1);
});
