// SPDX-License-Identifier: Apache-2.0
/** The `Transport` port over libp2p, and gossip beside it. */
import type { Channel, ChannelSecurity, Clock, Logger, SpaceId, Transport } from "@ctxmesh/model";
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import type { Connection, Libp2p, PeerInfo } from "@libp2p/interface";
import type { Multiaddr } from "@multiformats/multiaddr";
import { Admission } from "./admission.ts";
import type { Discovery, PeerMemory } from "./discovery.ts";
import type { BroadcastHandler, Gossip } from "./gossip.ts";
import { deviceOf, parseAddress } from "./identity.ts";
import { KeepAlive } from "./keep-alive.ts";
import type { NodeOptions, Services } from "./node.ts";
import { PeerChannels, SYNC_PROTOCOL } from "./peer-channels.ts";
import { parseNetworkKey } from "./network-key.ts";
import { Security, securityOf } from "./security.ts";
import type { SecurityPolicy } from "./security.ts";
import { Supervisor } from "./supervisor.ts";

const SEED_BYTES = 32;
/** How long a connection may lack its channel or its gossip stream. */
const SICK_MS = 5_000;

/** What a libp2p transport is made of. */
export interface Libp2pTransportOptions {
  /** The device's Ed25519 seed, 32 bytes (RFC 8032); the PeerId is of the device key itself. */
  readonly seed: Uint8Array;
  /** Multiaddrs to listen on, such as `/ip4/0.0.0.0/tcp/4001`; none for a node that only dials. */
  readonly listen: readonly string[];
  /** Multiaddrs to keep connected, with or without `/p2p/<id>`. */
  readonly peers: readonly string[];
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
  readonly clock: Clock;
  readonly logger: Logger;
  /** More connected peers than this make gossip the cheaper way to broadcast. Default `LIMITS.directPeers`. */
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
   * `LIMIT_EXCEEDED` over `LIMITS.syncMessageBytes`.
   */
  broadcast(bytes: Uint8Array): Promise<number>;
  /** Sets the one handler of gossiped messages; without one they are ignored. Its verdict decides forwarding. */
  onBroadcast(handler: BroadcastHandler): void;
  /** The members connected now. */
  peers(): readonly ConnectedPeer[];
  /** Whether more than `gossipAbove` peers are connected. */
  usesGossip(): boolean;
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
  const peers = options.peers.map((text) => parseAddress(text, "peers"));
  const networkKey =
    options.networkKey === undefined ? undefined : parseNetworkKey(options.networkKey);
  const security = new Security(options.security ?? "prefer-pq", options.logger);
  return new MeshTransport(options, { listen, peers, networkKey, security });
}

/** What was read from the options. */
interface Settings {
  readonly listen: readonly Multiaddr[];
  readonly peers: readonly Multiaddr[];
  readonly networkKey: Uint8Array | undefined;
  readonly security: Security;
}

/** All that lives from start to stop. */
interface Running {
  readonly node: Libp2p<Services>;
  readonly admission: Admission;
  readonly channels: PeerChannels;
  readonly supervisor: Supervisor;
  readonly gossip: Gossip;
  readonly discovery: Discovery;
  readonly keepAlive: KeepAlive;
}

class MeshTransport implements Libp2pTransport {
  readonly #options: Libp2pTransportOptions;
  readonly #settings: Settings;
  readonly #connectedSince = new Map<string, number>();
  /** Since when a connection is half working, on the clock of `performance.now()`. */
  readonly #sickSince = new Map<string, number>();
  #running: Running | undefined;
  #starting: Promise<void> | undefined;
  #handler: BroadcastHandler | undefined;

  constructor(options: Libp2pTransportOptions, settings: Settings) {
    this.#options = options;
    this.#settings = settings;
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
        connectedSinceMs: this.#connectedSince.get(device) ?? 0,
        ...(security === undefined ? {} : { security }),
      };
    });
  }

  usesGossip(): boolean {
    const connected = this.#running?.admission.size ?? 0;
    return connected > (this.#options.gossipAbove ?? LIMITS.directPeers);
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
    const { isMember, logger, space } = this.#options;
    const { peers, security } = this.#settings;
    // libp2p takes about as long to load as all the rest of a node: who starts a transport waits for it, nobody else.
    const { Discovery } = await import("./discovery.ts");
    const { Gossip, topicOf } = await import("./gossip.ts");
    const privateKey = await generateKeyPairFromSeed("Ed25519", this.#options.seed);
    const self = toHex(privateKey.publicKey.raw);
    const admission = new Admission({
      self,
      isMember,
      logger,
      onIdentified: (socket, device) => {
        supervisor.identified(socket, device);
      },
    });
    const isConnected = (device: string): boolean => admission.connection(device) !== undefined;
    const isSettled = (connection: Connection): boolean => security.isSettled(connection);
    const channels = new PeerChannels({ self, isMember, isSettled, logger, onChannel });
    const topic = topicOf(space);
    const onHint = (peer: PeerInfo): void => {
      discovery.hint(peer);
    };
    const keepAlive = new KeepAlive(logger);
    const parts = { privateKey, gater: admission.gater, topic, keepAlive };
    const node = await this.#createNode(parts, onHint);
    const dial = (address: Multiaddr, signal: AbortSignal): Promise<Connection> =>
      node.dial(address, { signal });
    const onTick = (): void => {
      this.#lookAfterConnections(running);
    };
    const known = { self, isMember, isConnected, logger };
    // Beyond that a mesh is sparse, and gossip and sync carry on what comes.
    const hasEnough = (): boolean => admission.size >= LIMITS.directPeers;
    const supervisor = new Supervisor({ ...known, hasEnough, dial, onTick }, peers);
    const gossip = new Gossip(node.services.pubsub, topic, () => this.#handler, logger);
    const { memory } = this.#options;
    const onLinks = (): void => {
      keepAlive.probe();
    };
    const discovery = new Discovery(node, { ...known, supervisor, memory, onLinks });
    const running: Running = {
      node,
      admission,
      channels,
      supervisor,
      gossip,
      discovery,
      keepAlive,
    };
    await this.#listenToNode(running);
    return running;
  }

  async #createNode(
    parts: Pick<NodeOptions, "privateKey" | "gater" | "topic" | "keepAlive">,
    onHint: (peer: PeerInfo) => void,
  ): Promise<Libp2p<Services>> {
    const { logger, mdns = false } = this.#options;
    const { listen, networkKey, security } = this.#settings;
    const { createNode } = await import("./node.ts");
    const { createHandshakes } = await import("./handshakes.ts");
    return createNode({
      ...parts,
      listen,
      handshakes: await createHandshakes(security, parts.privateKey, logger),
      networkKey,
      onHint: mdns ? onHint : undefined,
      logger,
    });
  }

  async #listenToNode({
    node,
    admission,
    channels,
    supervisor,
    discovery,
  }: Running): Promise<void> {
    const { clock, logger } = this.#options;
    const { security } = this.#settings;
    node.addEventListener("connection:open", ({ detail: connection }) => {
      const device = admission.opened(connection);
      if (device === undefined) return;
      this.#connectedSince.set(device, clock.now());
      const { direction } = connection;
      logger.info("peer.connected", {
        device,
        address: connection.remoteAddr.toString(),
        direction,
      });
      void channels.open(device, connection);
    });
    node.addEventListener("connection:close", ({ detail: connection }) => {
      const device = admission.closed(connection);
      if (device === undefined) return;
      this.#connectedSince.delete(device);
      this.#sickSince.delete(device);
      logger.info("peer.disconnected", { device });
      supervisor.lost(device);
    });
    node.addEventListener("peer:identify", ({ detail }) => {
      const device = deviceOf(detail.peerId);
      if (!security.settle(detail) || device === undefined) return;
      void channels.open(device, detail.connection);
      void discovery.met(detail.connection);
    });
    await discovery.listen();
    for (const mark of security.marks) {
      await node.handle(mark, (stream) => {
        stream.abort(new Error("nothing is spoken here"));
      });
    }
    await node.handle(SYNC_PROTOCOL, (stream, connection) => {
      channels.accept(stream, connection);
    });
  }

  /** Cuts connections of former members, and those that work only half: the supervisor dials them anew. */
  #lookAfterConnections({ admission, channels, discovery, keepAlive }: Running): void {
    keepAlive.tick();
    discovery.tick(Array.from(admission.connections(), ([, connection]) => connection));
    for (const [device, connection] of admission.connections()) {
      if (!this.#options.isMember(device)) {
        void channels.close(device, "no longer a member").finally(() => {
          connection.abort(new Error("no longer a member"));
        });
        continue;
      }
      void channels.open(device, connection);
      const healthy = channels.has(device) && hasGossipStream(connection);
      if (healthy) {
        this.#sickSince.delete(device);
        continue;
      }
      const since = this.#sickSince.get(device) ?? performance.now();
      this.#sickSince.set(device, since);
      if (performance.now() - since < SICK_MS) continue;
      this.#options.logger.warn("peer.half-connected", { device, channel: channels.has(device) });
      connection.abort(new Error("no channel or no gossip stream"));
    }
  }
}

/** Whether we can gossip over a connection. The library never reopens this stream by itself. */
function hasGossipStream(connection: Connection): boolean {
  return connection.streams.some(
    (stream) => stream.direction === "outbound" && stream.protocol.startsWith("/meshsub/"),
  );
}
