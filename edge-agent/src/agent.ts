// SPDX-License-Identifier: Apache-2.0
import type { Channel, ContextService, MembershipService, Transport } from "@ctxmesh/model";
import {
  CatchUp,
  LiveMembership,
  keepConfirmations,
  openReplica,
  serve,
  startSync,
} from "@ctxmesh/service";
import type { CatchUpContext, NodeDeps, NodeOptions, OpenReplica } from "@ctxmesh/service";
import type { SyncNode } from "@ctxmesh/sync";
import { createLibp2pTransport } from "@ctxmesh/transport-libp2p";
import type { Libp2pTransport, Libp2pTransportOptions } from "@ctxmesh/transport-libp2p";
import { createLinkServer } from "@ctxmesh/transport-tcp";
import type { LinkServerOptions } from "@ctxmesh/transport-tcp";
import { createStreamAcceptor, createWsClient } from "@ctxmesh/transport-ws";
import type { HubTls } from "@ctxmesh/transport-ws";
import { KeptPeers } from "./kept-peers.ts";
import { createPageDoor } from "./page-door.ts";
import type { PageDoorOptions } from "./page-door.ts";
import { Retainer } from "./retainer.ts";
import type { Source } from "./sources/index.ts";

/** An agent's settings. */
export interface AgentOptions extends NodeOptions {
  readonly mesh: Pick<
    Libp2pTransportOptions,
    "listen" | "announce" | "peers" | "relays" | "security" | "networkKey" | "mdns"
  >;
  /** WebSocket URLs of hubs. */
  readonly hubs: readonly string[];
  /** How those are connected to over `wss:`. */
  readonly hubTls?: HubTls;
  readonly sources: readonly Source[];
  /** Where leaves connect, and the secret of 32 bytes of which their keys are made; no leaves when absent. */
  readonly leaves?: Pick<LinkServerOptions, "host" | "port" | "secret">;
  /** Where replicas in pages connect; nowhere when absent. */
  readonly pages?: Pick<PageDoorOptions, "host" | "port">;
  /** Age from which on sealed batches are pruned, in milliseconds; all are kept when absent. */
  readonly retainSealedMs?: number;
}

/** A running agent. */
export interface Agent {
  readonly service: ContextService & MembershipService;
  /** Multiaddrs that peers can dial. */
  addresses(): readonly string[];
  /** Where leaves can connect, such as `tcp://192.0.2.7:7420`. */
  leafAddresses(): readonly string[];
  /** WebSocket URLs at which replicas in pages can connect. */
  pageAddresses(): readonly string[];
  /** Stops the sources, settles what is under way, tells the peers, closes everything. Idempotent. */
  stop(): Promise<void>;
}

/** Sync runs over whatever channels the transports bring. */
const syncOver =
  (sync: SyncNode) =>
  (channel: Channel): void => {
    void sync.run(channel);
  };

/** Made before a store is: malformed settings are refused first. */
const createMesh = (
  { mesh, deviceSeed, space }: AgentOptions,
  deps: NodeDeps,
  membership: LiveMembership,
  memory: KeptPeers,
): Libp2pTransport =>
  createLibp2pTransport({
    ...deps,
    ...mesh,
    memory,
    seed: deviceSeed,
    space: space.id,
    isMember: (device) => membership.welcomes(device, "agent"),
    isRelay: (device) => membership.welcomes(device, "hub"),
  });

const hasMesh = ({ mesh: { listen, peers, relays = [], mdns } }: AgentOptions): boolean =>
  listen.length + peers.length + relays.length > 0 || mdns === true;

/** Connects to the hubs. */
async function connectHubs(
  { space, hubs, hubTls }: AgentOptions,
  deps: NodeDeps,
  stack: AsyncDisposableStack,
  { device, verifier }: OpenReplica,
  membership: LiveMembership,
  onChannel: (channel: Channel) => void,
): Promise<void> {
  const uplink = createWsClient({
    ...deps,
    urls: hubs,
    ...(hubTls === undefined ? {} : { tls: hubTls }),
    device,
    space: space.id,
    hubs: (remote) => membership.welcomes(remote, "hub"),
    verifier,
  });
  stack.defer(async () => uplink.stop());
  await uplink.start(onChannel);
}

/** What listens for leaves, if that is configured. */
function createLeafLinks(
  { space, leaves }: AgentOptions,
  deps: NodeDeps,
  { device, verifier }: OpenReplica,
  membership: LiveMembership,
): Transport | undefined {
  if (leaves === undefined) return undefined;
  const isMember = (remote: string): boolean => membership.welcomes(remote, "agent");
  return createLinkServer({ ...deps, ...leaves, device, verifier, space: space.id, isMember });
}

/** What listens for pages, if that is configured. */
function createPageLinks(
  { space, pages }: AgentOptions,
  deps: NodeDeps,
  { device, verifier }: OpenReplica,
  membership: LiveMembership,
): Transport | undefined {
  if (pages === undefined) return undefined;
  const isMember = (remote: string): boolean => membership.welcomes(remote, "agent");
  return createPageDoor({ ...deps, ...pages, device, verifier, space: space.id, isMember });
}

async function startCatchUp(context: CatchUpContext, stack: AsyncDisposableStack): Promise<void> {
  const catchUp = new CatchUp(context);
  stack.defer(async () => catchUp.stop());
  await catchUp.start();
}

function startRetainer(
  { retainSealedMs: sealedForMs }: AgentOptions,
  deps: NodeDeps,
  stack: AsyncDisposableStack,
  {
    replica,
    sync: { confirmations },
  }: Pick<CatchUpContext, "replica"> & { readonly sync: SyncNode },
): void {
  if (sealedForMs === undefined) return;
  const retainer = new Retainer({ ...deps, replica, confirmations, sealedForMs });
  stack.defer(async () => retainer.stop());
  retainer.start();
}

/**
 * Starts an agent: store, replica, hub connections, local API, mesh, sources, in this order: reads are
 * answered before the mesh, which takes longer to load than a store to open, listens. Until then the
 * agent has no addresses. When a step fails, what was started before it is closed again; malformed
 * addresses are refused before a store is made. Throws `STORE_LOCKED`, `STORE_CORRUPT`, `STORE_FORMAT`,
 * `FILE_UNAVAILABLE`, `ADDRESS_UNAVAILABLE`, `CONFIG_INVALID`.
 */
export async function createAgent(options: AgentOptions, deps: NodeDeps): Promise<Agent> {
  await using starting = new AsyncDisposableStack();
  const membership = new LiveMembership(options.space, deps.clock);
  const memory = new KeptPeers();
  const mesh = createMesh(options, deps, membership, memory);

  // An agent takes in more than it reads; a hub, which reads everything for each seal, keeps the default.
  const parts = await openReplica({ factEngine: "wasm", ...options }, deps, starting);
  const { replica } = parts;
  memory.keepIn(parts.store);
  const broadcast = {
    active: () => mesh.usesGossip(),
    publish: async (batch: Uint8Array) => mesh.broadcast(batch),
  };
  const { sync, stop } = startSync(replica, deps, {
    relay: "tell",
    broadcast,
    admits: (device) => membership.welcomes(device),
    ...(options.links === undefined ? {} : { links: options.links }),
  });
  membership.follow(replica, sync);
  const kept = await keepConfirmations(parts.store, sync.confirmations, deps.logger);
  starting.defer(kept.stop);
  const onChannel = syncOver(sync);
  // Before the end of the sync is put on the stack: it tells peers over their channels.
  starting.defer(async () => mesh.stop());
  const leafLinks = createLeafLinks(options, deps, parts, membership);
  const pageLinks = createPageLinks(options, deps, parts, membership);
  starting.defer(async () => void (await Promise.all([leafLinks?.stop(), pageLinks?.stop()])));
  await connectHubs(options, deps, starting, parts, membership, onChannel);
  starting.defer(stop);

  const service = await serve(options, deps, starting, {
    service: "agent",
    parts,
    confirmations: sync.confirmations,
    peers: () => sync.peers(),
    links: () => sync.links(),
    sync,
    addresses: () => mesh.addresses(),
    transport: () => mesh.status(),
    acceptSocket: createStreamAcceptor(),
  });
  startRetainer(options, deps, starting, { replica, sync });
  await startCatchUp({ ...deps, store: parts.store, replica, sync }, starting);
  mesh.onBroadcast(async (bytes, from) => sync.receiveBroadcast(bytes, from));
  // What nobody dials and what dials nobody needs no libp2p, which is a third of an agent's memory.
  if (hasMesh(options)) await mesh.start(onChannel);
  for (const links of [leafLinks, pageLinks]) await links?.start(onChannel);
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
    addresses: () => mesh.addresses(),
    leafAddresses: () => leafLinks?.addresses() ?? [],
    pageAddresses: () => pageLinks?.addresses() ?? [],
    // Whoever calls it again waits for the same end.
    stop: async () => (stopping ??= running.disposeAsync()),
  };
}
