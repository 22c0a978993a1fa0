// SPDX-License-Identifier: Apache-2.0
/**
 * A relay (libp2p circuit relay v2): connects agents that can't dial each other, such as those behind gateways. It lets in who is
 * an agent of the space, as agents do, keeps reservations and circuits within limits, and answers where members
 * are. What it passes on is encrypted between the two agents. It is no member of the mesh: it takes part in neither sync nor gossip.
 */
import type { Logger, TransportStatus } from "@ctxmesh/model";
import { LIMITS, MeshError, toHex } from "@ctxmesh/model";
import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import type { Connection, ConnectionGater, Libp2p, PeerId, PrivateKey } from "@libp2p/interface";
import type { Multiaddr } from "@multiformats/multiaddr";
import { HandshakeWatch } from "./handshake-watch.ts";
import { deviceOf, parseAddress } from "./identity.ts";
import { KeepAlive } from "./keep-alive.ts";
import { parseNetworkKey } from "./network-key.ts";
import type { RelayServices } from "./relay-node.ts";
import { Refusals } from "./refusals.ts";
import { Security } from "./security.ts";
import type { SecurityPolicy } from "./security.ts";

const TICK_MS = 1_000;
const SEED_BYTES = 32;

/** What a relay is made of. */
export interface RelayOptions {
  /** The device's Ed25519 seed, 32 bytes; the PeerId is of the device key itself. */
  readonly seed: Uint8Array;
  /** Multiaddrs to listen on, such as `/ip4/0.0.0.0/tcp/4002`. */
  readonly listen: readonly string[];
  /** Multiaddrs that agents are told, in place of those. */
  readonly announce?: readonly string[];
  /** Which key exchange will do; default `prefer-pq`. */
  readonly security?: SecurityPolicy;
  /** Text of the `swarm.key` file that the agents have. */
  readonly networkKey?: string;
  /** Whether a device, hex, may connect: an agent; asked for each connection, reservation and circuit, and each second. */
  readonly isMember: (device: string) => boolean;
  readonly logger: Logger;
  /** Limits of one circuit: bytes, both ways, and milliseconds; by default those of `LIMITS`. */
  readonly circuit?: { readonly bytes: number; readonly ms: number };
}

/** A relay. */
export interface Relay {
  /** Listens. Throws `ADDRESS_UNAVAILABLE`. */
  start(): Promise<void>;
  /** Multiaddrs, with the id, that agents name as their relay; none unless it is started. */
  addresses(): readonly string[];
  status(): TransportStatus;
  /** Cuts all circuits and closes everything. Idempotent. */
  stop(): Promise<void>;
}

/** Creates a relay. Throws `CONFIG_INVALID` for an address, `KEY_INVALID` for seed or network key, `POLICY_REFUSED` where the policy can't be met. */
export function createRelay(options: RelayOptions): Relay {
  if (options.seed.length !== SEED_BYTES) {
    throw new MeshError(
      "KEY_INVALID",
      `a device seed has 32 bytes, not ${String(options.seed.length)}`,
    );
  }
  const refusals = new Refusals(options.logger);
  return new RelayServer(options, {
    listen: options.listen.map((text) => parseAddress(text, "listen")),
    announce: options.announce?.map((text) => parseAddress(text, "announce")),
    networkKey: options.networkKey === undefined ? undefined : parseNetworkKey(options.networkKey),
    security: new Security(options.security ?? "prefer-pq", options.logger, refusals),
    refusals,
  });
}

interface Settings {
  readonly listen: readonly Multiaddr[];
  readonly announce: readonly Multiaddr[] | undefined;
  readonly networkKey: Uint8Array | undefined;
  readonly security: Security;
  readonly refusals: Refusals;
}

class RelayServer implements Relay {
  readonly #options: RelayOptions;
  readonly #settings: Settings;
  readonly #keepAlive: KeepAlive;
  #node: Libp2p<RelayServices> | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Counts the circuits. */
  #circuits = (): number => 0;

  constructor(options: RelayOptions, settings: Settings) {
    this.#options = options;
    this.#settings = settings;
    this.#keepAlive = new KeepAlive(options.logger);
  }

  async start(): Promise<void> {
    const { seed, logger } = this.#options;
    const { listen } = this.#settings;
    const privateKey = await generateKeyPairFromSeed("Ed25519", seed);
    const node = await this.#build(privateKey);
    const { startNode } = await import("./node.ts");
    await startNode(node, listen);
    this.#node = node;
    this.#timer = setInterval(() => {
      this.#tick();
    }, TICK_MS);
    logger.info("relay.listening", { addresses: this.addresses() });
  }

  addresses(): readonly string[] {
    return this.#node?.getMultiaddrs().map(String) ?? [];
  }

  status(): TransportStatus {
    return {
      refusals: this.#settings.refusals.counts,
      relaying: {
        reservations: this.#node?.services.relay.reservations.size ?? 0,
        circuits: this.#circuits(),
      },
    };
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    const node = this.#node;
    this.#node = undefined;
    await node?.stop();
  }

  async #build(privateKey: PrivateKey): Promise<Libp2p<RelayServices>> {
    const { isMember, logger, circuit } = this.#options;
    const { security, refusals } = this.#settings;
    const { createRelayNode, circuitsOf } = await import("./relay-node.ts");
    const { createHandshakes } = await import("./handshakes.ts");
    const { PeerBook } = await import("./peer-book.ts");
    const { PeerExchange } = await import("./peer-exchange.ts");
    const node = await createRelayNode({
      ...this.#settings,
      privateKey,
      gater: this.#gater(),
      handshakes: await createHandshakes(security, privateKey, refusals),
      keepAlive: this.#keepAlive,
      logger,
      circuit: circuit ?? { bytes: LIMITS.relayCircuitBytes, ms: LIMITS.relayCircuitMs },
    });
    this.#circuits = () => circuitsOf(node);
    node.addEventListener("connection:open", ({ detail: connection }) => {
      this.#replaceOlder(node, connection);
    });
    node.addEventListener("peer:identify", ({ detail }) => {
      security.settle(detail);
    });
    const self = toHex(privateKey.publicKey.raw);
    const book = new PeerBook({ self, isMember, logger, onAddresses: () => undefined });
    await new PeerExchange(node, { book, privateKey: undefined, logger }).listen();
    for (const mark of security.marks) {
      await node.handle(mark, (stream) => {
        stream.abort(new Error("nothing is spoken here"));
      });
    }
    return node;
  }

  #gater(): ConnectionGater {
    const { refusals, networkKey } = this.#settings;
    const handshakes = new HandshakeWatch(refusals, networkKey !== undefined);
    return {
      denyDialPeer: () => true,
      denyInboundConnection: (socket) => {
        handshakes.begin(socket);
        return false;
      },
      denyInboundEncryptedConnection: (peerId, socket) => {
        handshakes.passed(socket);
        return !this.#isAgent(peerId, "membership", "not an agent", socket.remoteAddr);
      },
      denyInboundRelayReservation: (peerId) => !this.#isAgent(peerId, "relay", "not an agent"),
      denyOutboundRelayedConnection: (from, to) => {
        if (this.#circuits() >= LIMITS.relayCircuits) {
          this.#note(from, "relay", "LIMIT_EXCEEDED", "there are too many circuits");
          return true;
        }
        return (
          !this.#isAgent(from, "relay", "not an agent") ||
          !this.#isAgent(to, "relay", "not an agent")
        );
      },
    };
  }

  #isAgent(
    peerId: PeerId,
    kind: "membership" | "relay",
    reason: string,
    address?: Multiaddr,
  ): boolean {
    const device = deviceOf(peerId);
    if (device !== undefined && this.#options.isMember(device)) {
      this.#settings.refusals.forget(device);
      return true;
    }
    this.#note(peerId, kind, "AUTH_FAILED", reason, address);
    return false;
  }

  #note(
    peerId: PeerId,
    kind: "membership" | "relay",
    code: "AUTH_FAILED" | "LIMIT_EXCEEDED",
    reason: string,
    address = this.#node?.getConnections(peerId)[0]?.remoteAddr,
  ): void {
    this.#settings.refusals.note({
      kind,
      code,
      reason,
      device: deviceOf(peerId) ?? peerId.toString(),
      address: address?.toString() ?? "unknown",
      direction: "inbound",
    });
  }

  /** Who connects anew has lost the older connection; the library would go on opening circuits over that. */
  #replaceOlder(node: Libp2p, connection: Connection): void {
    for (const other of node.getConnections(connection.remotePeer)) {
      if (other.id !== connection.id) other.abort(new Error("replaced by a newer connection"));
    }
  }

  #tick(): void {
    this.#keepAlive.tick();
    for (const connection of this.#node?.getConnections() ?? []) {
      const device = deviceOf(connection.remotePeer);
      if (device !== undefined && this.#options.isMember(device)) continue;
      connection.abort(new Error("no longer a member"));
    }
  }
}
