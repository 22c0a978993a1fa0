// SPDX-License-Identifier: Apache-2.0
/**
 * One agent as a process whose network can be taken away while it runs: put together as `edge-agent/src/agent.ts` does it,
 * without what has no part in sync, and with a transport that is new each time it goes online.
 */
import { join } from "node:path";
import { createDeviceVerifier } from "@ctxmesh/crypto";
import { parseSpaceFile } from "@ctxmesh/membership";
import { parseDocumentName, toHex } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import {
  LiveMembership,
  openReplica,
  startSync,
  systemClock,
  systemRandom,
} from "@ctxmesh/service";
import { silentLogger } from "@ctxmesh/testing";
import { createLibp2pTransport } from "@ctxmesh/transport-libp2p";
import type { Libp2pTransport } from "@ctxmesh/transport-libp2p";
import type { AgentStart } from "./agent.ts";
import { serveCalls } from "./calls.ts";
import { docOf, flood, monotonicMs } from "./load.ts";
import type { Entry, Flood } from "./load.ts";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
const POLL_MS = 1;

interface Running {
  readonly replica: Replica;
  readonly peers: () => number;
  /** Bytes of messages of the sync protocol, both ways, on the connections that there are. */
  readonly messageBytes: () => number;
  /** Connects to those that it is told of; resolves to its addresses. */
  readonly online: (peers: readonly string[]) => Promise<readonly string[]>;
  readonly offline: () => Promise<void>;
}

const stack = new AsyncDisposableStack();
let running: Running | undefined;

function node(): Running {
  if (running === undefined) throw new Error("not started");
  return running;
}

async function start(options: Omit<AgentStart, "peers">): Promise<void> {
  const space = parseSpaceFile(options.space, createDeviceVerifier());
  const membership = new LiveMembership(space, deps.clock);
  const storePath = join(options.folder, "store");
  const deviceSeed = options.seed;
  const { replica } = await openReplica({ space, deviceSeed, storePath }, deps, stack);
  const admits = (device: string): boolean => membership.welcomes(device);
  const { sync, stop } = startSync(replica, deps, { relay: "tell", admits });
  membership.follow(replica, sync);
  stack.defer(stop);
  let transport: Libp2pTransport | undefined;
  const offline = async (): Promise<void> => transport?.stop();
  stack.defer(offline);
  running = {
    replica,
    offline,
    peers: () => sync.peers().length,
    messageBytes: () =>
      sync.links().reduce((sum, { traffic }) => sum + traffic.in.bytes + traffic.out.bytes, 0),
    online: async (peers) => {
      transport = createLibp2pTransport({
        ...deps,
        seed: deviceSeed,
        listen: ["/ip4/127.0.0.1/tcp/0"],
        peers,
        space: space.id,
        isMember: (device) => membership.welcomes(device, "agent"),
      });
      await transport.start((channel) => void sync.run(channel));
      return transport.addresses();
    },
  };
}

async function write(entries: readonly Entry[]): Promise<unknown> {
  const byDoc = Map.groupBy(entries, ({ value }) => docOf(value.seq));
  return Promise.all(
    [...byDoc].map(async ([doc, of]) =>
      node().replica.put(
        parseDocumentName(doc),
        of.map(({ key, value }) => ({ key, value: { ...value } })),
      ),
    ),
  );
}

const frontier = (): string => toHex(node().replica.frontierDigest());

/** Waits until the frontier is the one that is given; resolves to when it was, on the machine's monotonic clock. */
async function until(wanted: string): Promise<number> {
  while (frontier() !== wanted) {
    await new Promise((resolve) => {
      setTimeout(resolve, POLL_MS);
    });
  }
  return monotonicMs();
}

serveCalls(
  {
    start,
    online: async (peers: readonly string[]) => {
      const fromMs = monotonicMs();
      const addresses = await node().online(peers);
      return { fromMs, addresses };
    },
    offline: async () => node().offline(),
    peers: () => node().peers(),
    messageBytes: () => node().messageBytes(),
    flood: async (load: Flood) => flood(load, write),
    frontier,
    until,
  },
  async () => stack.disposeAsync(),
);
