// SPDX-License-Identifier: Apache-2.0
/** Where a hub meets others: its door for agents and hubs, the hubs above it, and its relay. */
import type { Server } from "node:http";
import type { Channel, TransportStatus } from "@ctxmesh/model";
import type { LiveMembership, NodeDeps, OpenReplica } from "@ctxmesh/service";
import { createRelay } from "@ctxmesh/transport-libp2p";
import type { Relay, RelayOptions } from "@ctxmesh/transport-libp2p";
import { createWsClient, createWsServer } from "@ctxmesh/transport-ws";
import type { HubTls, WsServerOptions } from "@ctxmesh/transport-ws";

/** What a hub's relay is told. */
export type HubRelayOptions = Pick<RelayOptions, "listen" | "announce" | "security" | "networkKey">;

/** Makes the relay, if one is wanted. Throws `CONFIG_INVALID`, `KEY_INVALID` and `POLICY_REFUSED`, as a relay does. */
export const createHubRelay = (
  relay: HubRelayOptions | undefined,
  seed: Uint8Array,
  { logger }: NodeDeps,
  membership: LiveMembership,
): Relay | undefined =>
  relay === undefined
    ? undefined
    : createRelay({
        ...relay,
        seed,
        isMember: (device) => membership.welcomes(device, "agent"),
        logger,
      });

/** The doors of a running hub. */
export interface Doors {
  /** WebSocket URLs that agents can use. */
  readonly addresses: () => readonly string[];
  /** Multiaddrs that agents can name as their relay. */
  readonly relayAddresses: () => readonly string[];
  /** How the relay stands; absent where there is none. */
  readonly transport?: () => TransportStatus;
  /** Lets agents in, and connects to the hubs. Throws `ADDRESS_UNAVAILABLE`. */
  start(onChannel: (channel: Channel) => void): Promise<void>;
  /** Lets nobody else in. */
  drain(): void;
  stop(): Promise<void>;
}

/** What the doors are made of. */
export interface DoorsOptions extends Pick<WsServerOptions, "clientCertificate" | "guests"> {
  /** The server whose upgrade requests are taken. */
  readonly server: Server;
  /** WebSocket URLs of other hubs. */
  readonly hubs: readonly string[];
  /** How they are connected to over `wss:`. */
  readonly hubTls?: HubTls;
  readonly relay: Relay | undefined;
  readonly membership: LiveMembership;
  readonly parts: OpenReplica;
}

/** Makes the doors, closed. Throws `CONFIG_INVALID` for a hub's URL. */
export function createDoors(options: DoorsOptions, deps: NodeDeps): Doors {
  const { server, hubs, relay, membership, hubTls, clientCertificate, guests } = options;
  const { device, verifier, replica } = options.parts;
  const known = { ...deps, device, space: replica.space.id, verifier };
  const isHub = (remote: string): boolean => membership.welcomes(remote, "hub");
  const isMember = (remote: string): boolean => membership.welcomes(remote);
  const door = createWsServer({
    ...known,
    server,
    isMember,
    isHub,
    ...(clientCertificate === undefined ? {} : { clientCertificate }),
    ...(guests === undefined ? {} : { guests }),
  });
  const tls = hubTls === undefined ? {} : { tls: hubTls };
  const uplink = createWsClient({ ...known, ...tls, urls: hubs, hubs: isHub });
  return {
    addresses: () => door.addresses(),
    relayAddresses: () => relay?.addresses() ?? [],
    ...(relay === undefined ? {} : { transport: () => relay.status() }),
    start: async (onChannel) => {
      await relay?.start();
      await door.start(onChannel);
      await uplink.start(onChannel);
    },
    drain: () => {
      door.drain();
    },
    stop: async () => {
      await Promise.all([door.stop(), uplink.stop(), relay?.stop()]);
    },
  };
}
