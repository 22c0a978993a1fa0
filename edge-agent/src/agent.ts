// SPDX-License-Identifier: Apache-2.0
import type { Channel, ContextService, DeviceKey } from "@ctxmesh/model";
import type { Space } from "@ctxmesh/replica";
import { openReplica, serve, startSync } from "@ctxmesh/service";
import type { NodeDeps, NodeOptions, OpenReplica } from "@ctxmesh/service";
import { createLibp2pTransport } from "@ctxmesh/transport-libp2p";
import { createWsClient } from "@ctxmesh/transport-ws";
import type { Source } from "./sources/index.ts";

/** An agent's settings. */
export interface AgentOptions extends NodeOptions {
  readonly mesh: {
    /** Multiaddrs to listen on. */
    readonly listen: readonly string[];
    /** Multiaddrs of peers to keep connected. */
    readonly peers: readonly string[];
  };
  /** WebSocket URLs of hubs. */
  readonly hubs: readonly string[];
  readonly sources: readonly Source[];
}

/** A running agent. */
export interface Agent {
  readonly service: ContextService;
  /** Multiaddrs that peers can dial. */
  addresses(): readonly string[];
  /** Stops the sources, settles what is under way, tells the peers, closes everything. Idempotent. */
  stop(): Promise<void>;
}

const isService =
  (space: Space, service: "agent" | "hub") =>
  (device: string): boolean =>
    space.grants.get(device as DeviceKey)?.service === service;

/** Joins the mesh and connects to the hubs; sync runs over whatever channels they bring. */
async function connect(
  { space, deviceSeed, mesh: addresses, hubs }: AgentOptions,
  deps: NodeDeps,
  stack: AsyncDisposableStack,
  { replica, device, verifier }: OpenReplica,
): Promise<{ sync: ReturnType<typeof startSync>["sync"]; addresses: () => readonly string[] }> {
  const mesh = createLibp2pTransport({
    ...deps,
    ...addresses,
    seed: deviceSeed,
    space: space.id,
    isMember: isService(space, "agent"),
  });
  const uplink = createWsClient({
    ...deps,
    urls: hubs,
    device,
    space: space.id,
    hubs: isService(space, "hub"),
    verifier,
  });
  const broadcast = {
    active: () => mesh.usesGossip(),
    publish: async (batch: Uint8Array) => mesh.broadcast(batch),
  };
  const { sync, stop } = startSync(replica, deps, { relay: "tell", broadcast });
  mesh.onBroadcast(async (bytes) => sync.receiveBroadcast(bytes));
  const onChannel = (channel: Channel): void => void sync.run(channel);
  stack.defer(async () => mesh.stop());
  stack.defer(async () => uplink.stop());
  stack.defer(stop);
  await mesh.start(onChannel);
  await uplink.start(onChannel);
  return { sync, addresses: () => mesh.addresses() };
}

/**
 * Starts an agent: store, replica, mesh, hub connections, local API, sources, in this order. When a
 * step fails, what was started before it is closed again. Throws `STORE_LOCKED`, `STORE_CORRUPT`,
 * `STORE_FORMAT`, `FILE_UNAVAILABLE`, `ADDRESS_UNAVAILABLE`, `CONFIG_INVALID`.
 */
export async function createAgent(options: AgentOptions, deps: NodeDeps): Promise<Agent> {
  await using starting = new AsyncDisposableStack();
  const opened = await openReplica(options, deps, starting);
  const { sync, addresses } = await connect(options, deps, starting, opened);
  const service = await serve(options, deps, starting, {
    service: "agent",
    replica: opened.replica,
    peers: () => sync.peers(),
    addresses,
  });
  for (const source of options.sources) {
    starting.defer(async () => source.stop());
    source.start(async (write) => {
      await service.put(write.doc, write.facts);
    });
  }
  const running = starting.move();
  let stopping: Promise<void> | undefined;
  return {
    service,
    addresses,
    // Whoever calls it again waits for the same end.
    stop: async () => (stopping ??= running.disposeAsync()),
  };
}
