// SPDX-License-Identifier: Apache-2.0
/**
 * One node of what a mesh is compared with: libp2p with gossipsub as it comes, one message for each write. With `yjs` what
 * is sent are the updates of a `Y.Doc`, which each node keeps; without, the writes as JSON. Nothing is signed but by gossipsub,
 * nothing is kept on a disk, and what is missed is lost.
 */
import { noise } from "@chainsafe/libp2p-noise";
import { gossipsub } from "@libp2p/gossipsub";
import type { GossipSub } from "@libp2p/gossipsub";
import { identify } from "@libp2p/identify";
import type { Libp2p, ServiceMap } from "@libp2p/interface";
import { tcp } from "@libp2p/tcp";
import { yamux } from "@libp2p/yamux";
import { multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import * as Y from "yjs";
import { serveCalls } from "./calls.ts";
import { Inbox, flood, writeAll } from "./load.ts";
import type { Entry, Flood, Load, Reading, Span } from "./load.ts";

const TOPIC = "bench";

interface Services extends ServiceMap {
  readonly pubsub: GossipSub;
}

const inbox = new Inbox();
let node: Libp2p<Services> | undefined;
let put: (entries: readonly Entry[]) => Promise<unknown> = async () => Promise.resolve();

const running = (): Libp2p<Services> => {
  if (node === undefined) throw new Error("not started");
  return node;
};

const publish = async (bytes: Uint8Array): Promise<unknown> =>
  running().services.pubsub.publish(TOPIC, bytes);

/** Writes go into a document, whose updates are published; returns what takes in those of others. */
function keepDocument(): (bytes: Uint8Array) => void {
  const doc = new Y.Doc();
  const map = doc.getMap<Reading>("bench");
  let sent: Promise<unknown> = Promise.resolve();
  doc.on("update", (update: Uint8Array, origin: unknown) => {
    if (origin !== "remote") sent = publish(update);
  });
  map.observe(({ keysChanged, transaction }) => {
    if (transaction.origin !== "remote") return;
    for (const key of keysChanged) {
      const reading = map.get(key);
      if (reading !== undefined) inbox.arrived(reading);
    }
  });
  put = async (entries) => {
    doc.transact(() => {
      for (const { key, value } of entries) map.set(key, value);
    });
    return sent;
  };
  return (bytes) => {
    Y.applyUpdate(doc, bytes, "remote");
  };
}

/** Writes are published as they are. */
function keepNothing(): (bytes: Uint8Array) => void {
  put = async (entries) => publish(new TextEncoder().encode(JSON.stringify(entries)));
  return (bytes) => {
    const entries = JSON.parse(new TextDecoder().decode(bytes)) as readonly Entry[];
    for (const { value } of entries) inbox.arrived(value);
  };
}

async function start({ yjs }: { readonly yjs: boolean }): Promise<readonly string[]> {
  node = await createLibp2p<Services>({
    addresses: { listen: ["/ip4/127.0.0.1/tcp/0"] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    // By default 5 connections a second from one address, which all of them have here.
    connectionManager: { inboundConnectionThreshold: 1_000 },
    // By default a node that is busy loses its connections one by one, for good, and there is nothing left to measure.
    connectionMonitor: { abortConnectionOnPingFailure: false },
    services: {
      identify: identify(),
      pubsub: gossipsub({ allowPublishToZeroTopicPeers: true }),
    },
  });
  const take = yjs ? keepDocument() : keepNothing();
  const { pubsub } = node.services;
  pubsub.addEventListener("message", ({ detail }) => {
    if (detail.topic === TOPIC) take(detail.data);
  });
  pubsub.subscribe(TOPIC);
  return node.getMultiaddrs().map(String);
}

serveCalls(
  {
    start,
    dial: async (addresses: readonly string[]) => {
      for (const address of addresses) await running().dial(multiaddr(address));
    },
    peers: () => running().services.pubsub.getSubscribers(TOPIC).length,
    write: async (load: Load) => writeAll(load, async (key, value) => put([{ key, value }])),
    flood: async (load: Flood) => flood(load, put),
    expect: ({ load, own }: { readonly load: Span; readonly own?: Span }) => {
      inbox.expect(load, own);
    },
    collect: async (timeoutMs: number) => inbox.collect(timeoutMs),
    lastMs: () => inbox.lastMs,
  },
  async () => node?.stop(),
);
