// SPDX-License-Identifier: Apache-2.0
/** The libp2p node: its parts and their settings. */
import type { Logger } from "@ctxmesh/model";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { circuitRelayTransport } from "@libp2p/circuit-relay-v2";
import { dcutr } from "@libp2p/dcutr";
import type { GossipSub } from "@libp2p/gossipsub";
import { identify } from "@libp2p/identify";
import type { ConnectionGater, Libp2p, PeerInfo, PrivateKey, ServiceMap } from "@libp2p/interface";
import type { MulticastDNSComponents } from "@libp2p/mdns";
import { ping } from "@libp2p/ping";
import { preSharedKey } from "@libp2p/pnet";
import { tcp } from "@libp2p/tcp";
import { webSockets } from "@libp2p/websockets";
import { peerIdFromPrivateKey } from "@libp2p/peer-id";
import { multiaddr } from "@multiformats/multiaddr";
import type { Multiaddr } from "@multiformats/multiaddr";
import { createLibp2p } from "libp2p";
import type { Libp2pOptions } from "libp2p";
import type { CreateEncrypter } from "./handshakes.ts";
import { gossipService } from "./gossip.ts";
import { isRelayed } from "./identity.ts";
import type { KeepAlive } from "./keep-alive.ts";
import { LocalDiscovery } from "./local-discovery.ts";
import { createMuxer } from "./muxer.ts";
import { guardWebSockets } from "./web-sockets.ts";

/** Parts of the library that it hands to transports and services alone, and that dialling through relays needs. */
export type Internals = Pick<
  Parameters<ReturnType<typeof circuitRelayTransport>>[0],
  "transportManager" | "addressManager"
>;

/** The services of a node that the transport uses. */
export interface Services extends ServiceMap {
  readonly pubsub: GossipSub;
  readonly internals: Internals;
  /** Where the local network is searched. */
  readonly local?: LocalDiscovery;
}

/** Received bytes of one stream that may be on their way; also the most one stream holds while it is paused. */
const STREAM_WINDOW_BYTES: number = 2 * LIMITS.syncMessageBytes;
const MAX_CONNECTIONS = 100;

/** What every node is made of, an agent's and a relay. */
export interface CommonOptions {
  readonly privateKey: PrivateKey;
  readonly listen: readonly Multiaddr[];
  /** What others are told in place of what is listened on. */
  readonly announce: readonly Multiaddr[] | undefined;
  readonly gater: ConnectionGater;
  readonly handshakes: CreateEncrypter[];
  /** The network key's file. */
  readonly networkKey: Uint8Array | undefined;
  readonly keepAlive: KeepAlive;
  readonly logger: Logger;
}

/** What an agent's node is made of. */
export interface NodeOptions extends CommonOptions {
  readonly topic: string;
  /** Told of peers on the local network, which is not searched when absent. */
  readonly onHint: ((peer: PeerInfo) => void) | undefined;
}

/** The settings that all nodes have. */
export function commonSettings(
  options: CommonOptions,
  limits: { readonly connections: number; readonly windowBytes: number },
): Pick<
  Libp2pOptions,
  | "start"
  | "privateKey"
  | "nodeInfo"
  | "addresses"
  | "connectionEncrypters"
  | "streamMuxers"
  | "connectionProtector"
  | "connectionGater"
  | "connectionManager"
  | "connectionMonitor"
> {
  return {
    start: false,
    privateKey: options.privateKey,
    nodeInfo: { userAgent: "ctxmesh" },
    addresses: {
      listen: options.listen.map(String),
      ...announced(options),
    },
    connectionEncrypters: options.handshakes,
    streamMuxers: [
      createMuxer(
        {
          enableKeepAlive: false,
          streamOptions: {
            maxStreamWindowSize: limits.windowBytes,
            maxReadBufferLength: LIMITS.channelBufferBytes,
          },
        },
        (muxer, connection) => {
          options.keepAlive.watch(muxer, connection);
        },
      ),
    ],
    ...(options.networkKey === undefined
      ? {}
      : { connectionProtector: preSharedKey({ psk: options.networkKey }) }),
    connectionGater: options.gater,
    connectionManager: {
      // Counted per source address: a whole site behind one gateway must be able to come back at once.
      inboundConnectionThreshold: 50,
      maxIncomingPendingConnections: 50,
      maxConnections: limits.connections,
      dialTimeout: 3_000,
      // So that a link that comes back in the midst of a dial is met by the next one within 2 s.
      addressDialTimeout: 2_500,
      inboundUpgradeTimeout: LIMITS.handshakeMs,
    },
    // It opens a stream for every ping, busy or not; KeepAlive notices sooner and costs less.
    connectionMonitor: { enabled: false },
  };
}

/** What others are told: what was configured, and beside it the relays that the node can be reached through. */
function announced({ announce, privateKey }: CommonOptions): {
  readonly announceFilter?: (addresses: Multiaddr[]) => Multiaddr[];
} {
  if (announce === undefined) return {};
  const id = peerIdFromPrivateKey(privateKey).toString();
  const told = announce.map((address) => multiaddr(`${address.toString()}/p2p/${id}`));
  return { announceFilter: (addresses) => [...told, ...addresses.filter(isRelayed)] };
}

/** Creates an agent's node that is not started. */
export async function createNode(options: NodeOptions): Promise<Libp2p<Services>> {
  return await createLibp2p<Services>({
    ...commonSettings(options, { connections: MAX_CONNECTIONS, windowBytes: STREAM_WINDOW_BYTES }),
    transports: [tcp(), webSockets(), circuitRelayTransport()],
    services: {
      identify: identify(),
      ping: ping(),
      pubsub: gossipService(options.topic),
      dcutr: dcutr(),
      internals: ({ transportManager, addressManager }: Internals): Internals => ({
        transportManager,
        addressManager,
      }),
      ...localDiscovery(options),
    },
  });
}

/** The service that searches the local network, if it is wanted. */
function localDiscovery({ onHint, logger }: NodeOptions): {
  readonly local?: (components: MulticastDNSComponents) => LocalDiscovery;
} {
  if (onHint === undefined) return {};
  return { local: (components) => new LocalDiscovery(components, { onHint, logger }) };
}

/**
 * Starts a node. Throws `ADDRESS_UNAVAILABLE`, naming the address and what to do, when it can't listen
 * on one; nothing is left open then.
 */
export async function startNode(
  node: Libp2p<Pick<Services, "internals">>,
  listen: readonly Multiaddr[],
): Promise<void> {
  try {
    await node.start();
    guardWebSockets(node.services.internals.transportManager.getListeners());
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    const failed = listen
      .map(String)
      .map((address) => ({ address, code: listenErrorCode(text, address) }))
      .find(({ code }) => code !== undefined);
    if (failed?.code === undefined) throw error;
    throw new MeshError(
      "ADDRESS_UNAVAILABLE",
      `cannot listen on ${failed.address}: ${REASONS[failed.code] ?? failed.code}`,
      {
        field: "listen",
        remedy:
          failed.code === "EADDRNOTAVAIL"
            ? "use an address of this machine, or 0.0.0.0 for all of them"
            : "stop the program that uses it, or choose another port",
        cause: error,
      },
    );
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: "the port is in use",
  EADDRNOTAVAIL: "the address is not one of this machine",
  EACCES: "not allowed to use this port",
};

/** The system error code that the library's message gives for an address: `<address>: Error: listen <code>: ...`. */
function listenErrorCode(text: string, address: string): string | undefined {
  const from = text.indexOf(`\n  ${address}: `);
  if (from < 0) return undefined;
  const [line] = text.slice(from + 1).split("\n", 1);
  return /\b(E[A-Z]{3,})\b/u.exec(line ?? "")?.[1];
}
