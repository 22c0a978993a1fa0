// SPDX-License-Identifier: Apache-2.0
/** The `Transport` port over libp2p, and gossip beside it. */
import type {
  Channel,
  ChannelSecurity,
  Clock,
  Logger,
  SpaceId,
  Transport,
  TransportStatus,
} from "@ctxmesh/model";
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import type { Connection, Libp2p, PeerInfo, PrivateKey } from "@libp2p/interface";
import type { Multiaddr } from "@multiformats/multiaddr";
import { Admission } from "./admission.ts";
import type { Link } from "./admission.ts";
import type { Discovery, PeerMemory } from "./discovery.ts";
import { CarrierChoice } from "./carrier-choice.ts";
import type { BroadcastHandler, Gossip } from "./gossip.ts";
import { HandshakeWatch } from "./handshake-watch.ts";
import { isRelayed, parseAddress } from "./identity.ts";
import { KeepAlive } from "./keep-alive.ts";
import type { NodeOptions, Services } from "./node.ts";
import { Connections } from "./connections.ts";
import { PeerChannels } from "./peer-channels.ts";
import { parseNetworkKey } from "./network-key.ts";
import { Refusals } from "./refusals.ts";
import type { Relays } from "./relays.ts";
import { Security, securityOf } from "./security.ts";
import type { SecurityPolicy } from "./security.ts";
import { Supervisor } from "./supervisor.ts";

const SEED_BYTES = 32;

/** What a libp2p transport is made of. */
export interface Libp2pTransportOptions {
  /** The device's Ed25519 seed, 32 bytes (RFC 8032); the PeerId is of the device key itself. */
  readonly seed: Uint8Array;
  /** Multiaddrs to listen on, such as `/ip4/0.0.0.0/tcp/4001`; none for a node that only dials. */
  readonly listen: readonly string[];
  /** Multiaddrs that others are told to dial, in place of those that are listened on; of none they are told when it is empty. */
  readonly announce?: readonly string[];
  /** Multiaddrs to keep connected, with or without `/p2p/<id>`. */
  readonly peers: readonly string[];
  /** Multiaddrs of relays, with `/p2p/<id>`, through which others reach this node; hubs of the space. */
  readonly relays?: readonly string[];
  readonly space: SpaceId;
  /** Which key exchange will do; default `prefer-pq`. */
  readonly security?: SecurityPolicy;
  /** Text of a `swarm.key` file: only nodes with the same key connect. */
  readonly networkKey?: string;
  /** Whether to look for members on the local network, and to answer those who do, by multicast DNS. */
  readonly mdns?: boolean;
  /** Where the addresses of members are kept across restarts. */
  readonly memory?: PeerMemory;
  /** Whether a device, hex, may connect; asked for each connection, each channel and each second. */
  readonly isMember: (device: string) => boolean;
  /** Whether a device, hex, may relay for this node: a hub of the space. None by default. */
  readonly isRelay?: (device: string) => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** More connected peers than this make gossip the cheaper way to broadcast, until there are fewer again by `LIMITS.carrierSlack`. Default `LIMITS.directPeers`. */
  readonly gossipAbove?: number;
}

/** A connected peer. */
export interface ConnectedPeer {
  /** Device key, hex. */
  readonly device: string;
  readonly address: string;
  /** By our clock, Unix milliseconds. */
  readonly connectedSinceMs: number;
  /** What protects the connection. */
  readonly security?: ChannelSecurity;
}

/** A transport that can broadcast, too. */
export interface Libp2pTransport extends Transport {
  /**
   * Gossips to the space's topic; resolves to the number of peers it went to directly, which may be 0.
   * The same bytes twice within two minutes go out once. Throws `CLOSED` unless started, and
   * `LIMIT_EXCEEDED` over `LIMITS.gossipBytes`.
   */
  broadcast(bytes: Uint8Array): Promise<number>;
  /** Sets the one handler of gossiped messages; without one they are ignored. Its verdict decides forwarding. */
  onBroadcast(handler: BroadcastHandler): void;
  /** The members connected now. */
  peers(): readonly ConnectedPeer[];
  /** Whether more than `gossipAbove` peers are connected, or were, and hardly fewer are since. */
  usesGossip(): boolean;
  /** What was refused since the transport was made, and how the relays stand. */
  status(): TransportStatus;
}

/**
 * Creates a transport over TCP, TLS or Noise, and yamux for the members of one space. Throws `CONFIG_INVALID`
 * for a malformed address, `KEY_INVALID` for a seed that is not 32 bytes and for a malformed network key, and
 * `POLICY_REFUSED` where the policy can't be met.
 */
export function createLibp2pTransport(options: Libp2pTransportOptions): Libp2pTransport {
  if (options.seed.length !== SEED_BYTES) {
    throw new MeshError(
      "KEY_INVALID",
      `a device seed has 32 bytes, not ${String(options.seed.length)}`,
    );
  }
  const listen = options.listen.map((text) => parseAddress(text, "listen"));
  const announce = options.announce?.map((text) => parseAddress(text, "announce"));
  const peers = options.peers.map((text) => parseAddress(text, "peers"));
  const networkKey =
    options.networkKey === undefined ? undefined : parseNetworkKey(options.networkKey);
  const relays = (options.relays ?? []).map((text) => parseAddress(text, "relays"));
  const refusals = new Refusals(options.logger);
  const security = new Security(options.security ?? "prefer-pq", options.logger, refusals);
  const addresses = { listen, announce, peers, relays };
  return new MeshTransport(options, { ...addresses, networkKey, security, refusals });
}

/** What was read from the options. */
interface Settings {
  readonly listen: readonly Multiaddr[];
  readonly announce: readonly Multiaddr[] | undefined;
  readonly peers: readonly Multiaddr[];
  readonly relays: readonly Multiaddr[];
  readonly networkKey: Uint8Array | undefined;
  readonly security: Security;
  readonly refusals: Refusals;
}

/** All that lives from start to stop. */
interface Running {
  readonly node: Libp2p<Services>;
  readonly admission: Admission;
  readonly channels: PeerChannels;
  readonly relays: Relays;
  readonly supervisor: Supervisor;
  readonly gossip: Gossip;
  readonly discovery: Discovery;
  readonly connections: Connections;
}

/** What is made with a node. */
interface Base {
  readonly self: string;
  readonly privateKey: PrivateKey;
  readonly node: Libp2p<Services>;
  readonly admission: Admission;
  readonly channels: PeerChannels;
  readonly keepAlive: KeepAlive;
  readonly isMember: (device: string) => boolean;
  readonly isRelay: (device: string) => boolean;
  readonly refusals: Refusals;
  readonly logger: Logger;
}

class MeshTransport implements Libp2pTransport {
  readonly #options: Libp2pTransportOptions;
  readonly #settings: Settings;
  readonly #carrier: CarrierChoice;
  #running: Running | undefined;
  #starting: Promise<void> | undefined;
  #handler: BroadcastHandler | undefined;

  constructor(options: Libp2pTransportOptions, settings: Settings) {
    this.#options = options;
    this.#settings = settings;
    this.#carrier = new CarrierChoice(options.gossipAbove);
  }

  start(onChannel: (channel: Channel) => void): Promise<void> {
    if (this.#starting !== undefined) {
      return Promise.reject(new MeshError("INTERNAL", "the libp2p transport is already started"));
    }
    this.#starting = this.#start(onChannel);
    return this.#starting;
  }

  addresses(): readonly string[] {
    return this.#running?.node.getMultiaddrs().map(String) ?? [];
  }

  async stop(): Promise<void> {
    await this.#starting?.catch(() => undefined);
    const running = this.#running;
    this.#running = undefined;
    if (running === undefined) return;
    await Promise.all([
      running.supervisor.stop(),
      running.channels.stop(),
      running.discovery.stop(),
    ]);
    await running.node.stop();
    this.#starting = undefined;
  }

  async broadcast(bytes: Uint8Array): Promise<number> {
    if (this.#running === undefined) {
      throw new MeshError("CLOSED", "the libp2p transport is not started");
    }
    return await this.#running.gossip.publish(bytes);
  }

  onBroadcast(handler: BroadcastHandler): void {
    this.#handler = handler;
  }

  peers(): readonly ConnectedPeer[] {
    const connections = this.#running?.admission.connections() ?? [];
    return Array.from(connections, ([device, connection]) => {
      const security = securityOf(connection);
      return {
        device,
        address: connection.remoteAddr.toString(),
        connectedSinceMs: this.#running?.connections.since(device) ?? 0,
        ...(security === undefined ? {} : { security }),
      };
    });
  }

  usesGossip(): boolean {
    return this.#carrier.gossips(this.#running?.admission.size ?? 0);
  }

  status(): TransportStatus {
    const relays = this.#running?.relays.status();
    return {
      refusals: this.#settings.refusals.counts,
      ...(relays === undefined || relays.length === 0 ? {} : { relays }),
    };
  }

  async #start(onChannel: (channel: Channel) => void): Promise<void> {
    let running: Running;
    try {
      running = await this.#build(onChannel);
      const { startNode } = await import("./node.ts");
      await startNode(running.node, this.#settings.listen);
    } catch (error) {
      this.#starting = undefined;
      throw error;
    }
    this.#running = running;
    running.gossip.join();
    running.supervisor.start();
    await running.discovery.recall();
  }

  async #build(onChannel: (channel: Channel) => void): Promise<Running> {
    const { isMember, isRelay = () => false, logger } = this.#options;
    const { security, refusals, networkKey } = this.#settings;
    const privateKey = await generateKeyPairFromSeed("Ed25519", this.#options.seed);
    const self = toHex(privateKey.publicKey.raw);
    const admission = new Admission({
      self,
      isMember,
      isRelay,
      refusals,
      handshakes: new HandshakeWatch(refusals, networkKey !== undefined),
      onIdentified: (socket, device) => {
        this.#running?.supervisor.identified(socket, device);
      },
    });
    const isSettled = (connection: Connection): boolean => security.isSettled(connection);
    const known = { self, isMember, refusals, logger };
    const channels = new PeerChannels({ ...known, isSettled, onChannel });
    const keepAlive = new KeepAlive(logger);
    const node = await this.#createNode({ privateKey, gater: admission.gater, keepAlive });
    const base = { ...known, privateKey, isRelay, admission, channels, keepAlive, node };
    return await this.#wire(base);
  }

  /** Makes the parts that act over a node, and has them follow it. */
  async #wire(base: Base): Promise<Running> {
    const { node, admission, channels, isMember, isRelay, refusals, logger, keepAlive } = base;
    const { peers, relays: configured, security } = this.#settings;
    const { Discovery } = await import("./discovery.ts");
    const { Gossip, topicOf } = await import("./gossip.ts");
    const { Relays } = await import("./relays.ts");
    const onReserved = (): void => {
      discovery.moved([...relays.connections, ...admission.open]);
      supervisor.nudgeRelayed();
    };
    const relays = new Relays(node, { configured, isRelay, onReserved, logger });
    const link = (device: string): Link | undefined =>
      relays.has(device) ? "direct" : admission.link(device);
    const supervised = {
      ...base,
      link,
      isMember: (device: string) => isMember(device) || isRelay(device),
      // Beyond that a mesh is sparse, and gossip and sync carry on what comes.
      hasEnough: () => admission.size >= LIMITS.directPeers,
      dial: async (address: Multiaddr, signal: AbortSignal) =>
        // Forced, since the device may be connected through a relay.
        isRelayed(address)
          ? relays.dial(address, signal)
          : node.dial(address, { signal, force: true }),
      onTick: () => {
        connections.tick();
      },
    };
    const supervisor = new Supervisor(supervised, peers, configured);
    const topic = topicOf(this.#options.space);
    const gossip = new Gossip(node.services.pubsub, topic, () => this.#handler, logger);
    const discovery = new Discovery(node, {
      ...base,
      isConnected: (device) => link(device) !== undefined,
      supervisor,
      memory: this.#options.memory,
      onLinks: () => {
        keepAlive.probe();
      },
    });
    const parts = { admission, channels, relays, supervisor, discovery };
    const { clock } = this.#options;
    const followed = { ...parts, keepAlive, security, refusals, isMember, clock, logger };
    const connections = new Connections(followed);
    await connections.listen(node);
    return { ...parts, node, gossip, connections };
  }

  async #createNode(
    parts: Pick<NodeOptions, "privateKey" | "gater" | "keepAlive">,
  ): Promise<Libp2p<Services>> {
    const { logger, space, mdns = false } = this.#options;
    const { listen, announce, networkKey, security, refusals } = this.#settings;
    // libp2p takes about as long to load as all the rest of a node: who starts a transport waits for it, nobody else.
    const { createNode } = await import("./node.ts");
    const { createHandshakes } = await import("./handshakes.ts");
    const { topicOf } = await import("./gossip.ts");
    const onHint = (peer: PeerInfo): void => {
      this.#running?.discovery.hint(peer);
    };
    return createNode({
      ...parts,
      topic: topicOf(space),
      listen,
      announce,
      handshakes: await createHandshakes(security, parts.privateKey, refusals),
      networkKey,
      onHint: mdns ? onHint : undefined,
      logger,
    });
  }
}
