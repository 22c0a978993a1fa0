// SPDX-License-Identifier: Apache-2.0
/** The `Transport` port over libp2p, and gossip beside it. */
import type { Channel, Clock, Logger, SpaceId, Transport } from "@ctxmesh/model";
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import type { Connection, IdentifyResult, Libp2p } from "@libp2p/interface";
import type { Multiaddr } from "@multiformats/multiaddr";
import { multiaddr } from "@multiformats/multiaddr";
import { Admission } from "./admission.ts";
import type { BroadcastHandler, Gossip } from "./gossip.ts";
import { deviceOf, parseAddress, socketOf } from "./identity.ts";
import type { Services } from "./node.ts";
import { PeerChannels, SYNC_PROTOCOL } from "./peer-channels.ts";
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
 * Creates a transport over TCP, Noise and yamux for the members of one space. Throws `CONFIG_INVALID`
 * for a malformed address and `KEY_INVALID` for a seed that is not 32 bytes.
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
  return new MeshTransport(options, listen, peers);
}

/** All that lives from start to stop. */
interface Running {
  readonly node: Libp2p<Services>;
  readonly admission: Admission;
  readonly channels: PeerChannels;
  readonly supervisor: Supervisor;
  readonly gossip: Gossip;
}

class MeshTransport implements Libp2pTransport {
  readonly #options: Libp2pTransportOptions;
  readonly #listen: readonly Multiaddr[];
  readonly #peers: readonly Multiaddr[];
  readonly #connectedSince = new Map<string, number>();
  /** Since when a connection is half working, on the clock of `performance.now()`. */
  readonly #sickSince = new Map<string, number>();
  #running: Running | undefined;
  #starting: Promise<void> | undefined;
  #handler: BroadcastHandler | undefined;

  constructor(
    options: Libp2pTransportOptions,
    listen: readonly Multiaddr[],
    peers: readonly Multiaddr[],
  ) {
    this.#options = options;
    this.#listen = listen;
    this.#peers = peers;
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
    await Promise.all([running.supervisor.stop(), running.channels.stop()]);
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
    return Array.from(connections, ([device, connection]) => ({
      device,
      address: connection.remoteAddr.toString(),
      connectedSinceMs: this.#connectedSince.get(device) ?? 0,
    }));
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
      await startNode(running.node, this.#listen);
    } catch (error) {
      this.#starting = undefined;
      throw error;
    }
    this.#running = running;
    running.gossip.join();
    running.supervisor.start();
  }

  async #build(onChannel: (channel: Channel) => void): Promise<Running> {
    const { isMember, logger, space } = this.#options;
    // libp2p takes about as long to load as all the rest of a node: who starts a transport waits for it, nobody else.
    const { createNode } = await import("./node.ts");
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
    const channels = new PeerChannels({ self, isMember, logger, onChannel });
    const topic = topicOf(space);
    const node = await createNode({
      privateKey,
      listen: this.#listen,
      gater: admission.gater,
      topic,
    });
    const supervisor = new Supervisor(
      {
        self,
        logger,
        isMember,
        isConnected: (device) => admission.connection(device) !== undefined,
        dial: (address, signal) => node.dial(address, { signal }),
        onTick: () => {
          this.#lookAfterConnections(running);
        },
      },
      this.#peers,
    );
    const gossip = new Gossip(node.services.pubsub, topic, () => this.#handler, logger);
    const running: Running = { node, admission, channels, supervisor, gossip };
    await this.#listenToNode(running);
    return running;
  }

  async #listenToNode({ node, admission, channels, supervisor }: Running): Promise<void> {
    const { clock, logger } = this.#options;
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
      if (device !== undefined) supervisor.learn(device, listenAddresses(detail));
    });
    await node.handle(SYNC_PROTOCOL, (stream, connection) => {
      channels.accept(stream, connection);
    });
  }

  /** Cuts connections of former members, and those that work only half: the supervisor dials them anew. */
  #lookAfterConnections({ admission, channels }: Running): void {
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

/** The TCP addresses that a peer says it listens on, with its id. */
function listenAddresses({ listenAddrs, peerId }: IdentifyResult): Multiaddr[] {
  return listenAddrs
    .filter((address) => address.getComponents().at(1)?.name === "tcp")
    .map((address) => multiaddr(`${socketOf(address)}/p2p/${peerId.toString()}`));
}
