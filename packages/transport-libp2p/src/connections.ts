// SPDX-License-Identifier: Apache-2.0
/** What is done as the connections of an agent's node come and go, and while they last. */
import type { Clock, Logger } from "@ctxmesh/model";
import type { Connection, IdentifyResult, Libp2p } from "@libp2p/interface";
import type { Admission } from "./admission.ts";
import type { Discovery } from "./discovery.ts";
import { deviceOf } from "./identity.ts";
import type { KeepAlive } from "./keep-alive.ts";
import type { PeerChannels } from "./peer-channels.ts";
import { SYNC_PROTOCOL, versionsOf } from "./peer-channels.ts";
import type { Refusals } from "./refusals.ts";
import type { Relays } from "./relays.ts";
import type { Security } from "./security.ts";
import type { Supervisor } from "./supervisor.ts";

/** How long a connection may lack its channel or its gossip stream. */
const SICK_MS = 5_000;
/** A connection that ends before this was refused, or is about to be refused again. */
const EARLY_MS = 2_000;

/** Whom connections concern. */
export interface ConnectionsOptions {
  readonly admission: Admission;
  readonly channels: PeerChannels;
  readonly relays: Relays;
  readonly supervisor: Supervisor;
  readonly discovery: Discovery;
  readonly keepAlive: KeepAlive;
  readonly security: Security;
  readonly refusals: Refusals;
  readonly isMember: (device: string) => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The connections of one node. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #connectedSince = new Map<string, number>();
  /** When a connection came up, on the clock of `performance.now()`. */
  readonly #openedAt = new WeakMap<Connection, number>();
  /** Since when a connection is half working, on the same clock. */
  readonly #sickSince = new Map<string, number>();
  /** Connections whose other end has said what it speaks. */
  readonly #identified = new WeakSet<Connection>();

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  /** Since when a device, hex, is connected, Unix milliseconds by our clock. */
  since(device: string): number {
    return this.#connectedSince.get(device) ?? 0;
  }

  /** Follows a node, and answers in it. Before it starts. */
  async listen(node: Libp2p): Promise<void> {
    const { channels, discovery, relays, security } = this.#options;
    node.addEventListener("connection:open", ({ detail: connection }) => {
      this.#openedAt.set(connection, performance.now());
      if (!relays.opened(connection)) this.#opened(connection);
    });
    node.addEventListener("connection:close", ({ detail: connection }) => {
      this.#closed(connection);
    });
    node.addEventListener("peer:identify", ({ detail }) => {
      this.#onIdentified(detail);
    });
    await discovery.listen();
    for (const mark of security.marks) {
      await node.handle(mark, (stream) => {
        stream.abort(new Error("nothing is spoken here"));
      });
    }
    await node.handle(
      SYNC_PROTOCOL,
      (stream, connection) => {
        channels.accept(stream, connection);
      },
      { runOnLimitedConnection: true },
    );
  }

  #onIdentified(result: IdentifyResult): void {
    const { channels, discovery, relays, security } = this.#options;
    const { connection, peerId } = result;
    const device = deviceOf(peerId);
    this.#identified.add(connection);
    if (!security.settle(result) || device === undefined) return;
    if (relays.has(device)) {
      void discovery.met(connection);
      void relays.reserve(connection);
    } else if (this.#hasOurVersion(result)) {
      void channels.open(device, connection);
      void discovery.met(connection);
    }
  }

  #opened(connection: Connection): void {
    const { admission, channels, clock, logger } = this.#options;
    const device = admission.opened(connection);
    if (device === undefined) return;
    this.#connectedSince.set(device, clock.now());
    const { direction } = connection;
    const address = connection.remoteAddr.toString();
    logger.info("peer.connected", { device, address, direction });
    void channels.open(device, connection);
  }

  #closed(connection: Connection): void {
    const { admission, relays, supervisor, discovery, refusals, logger } = this.#options;
    const isRelay = relays.closed(connection);
    const device = isRelay ? deviceOf(connection.remotePeer) : admission.closed(connection);
    if (device === undefined) return;
    const openedAt = this.#openedAt.get(connection) ?? Number.NEGATIVE_INFINITY;
    const early = performance.now() - openedAt < EARLY_MS;
    supervisor.lost(device, early);
    discovery.lost();
    if (!isRelay) {
      this.#connectedSince.delete(device);
      this.#sickSince.delete(device);
      logger.info("peer.disconnected", { device });
    }
    if (!early || connection.direction !== "outbound" || this.#identified.has(connection)) return;
    if (admission.isReplaced(connection)) return;
    const reason =
      "the remote closed as soon as it knew who we are: this device has no grant there, or it has a newer connection to it";
    refusals.note({
      kind: "remote",
      code: "AUTH_FAILED",
      reason,
      device,
      address: connection.remoteAddr.toString(),
      direction: "outbound",
    });
  }

  /** Whether a peer speaks our version of the sync protocol; cuts the connection when it does not. */
  #hasOurVersion({ connection, protocols, peerId }: IdentifyResult): boolean {
    const theirs = versionsOf(protocols);
    if (theirs.includes(SYNC_PROTOCOL) || protocols.length === 0) return true;
    const reason = `the remote speaks ${theirs.join(" and ") || "no sync protocol"}, this node ${SYNC_PROTOCOL}`;
    this.#options.refusals.note({
      kind: "version",
      code: "PROTOCOL_VIOLATION",
      reason,
      device: deviceOf(peerId) ?? peerId.toString(),
      address: connection.remoteAddr.toString(),
      direction: connection.direction,
    });
    connection.abort(new Error(reason));
    return false;
  }

  /**
   * Passes time: cuts connections of former members, and those that work only half, which the supervisor dials anew; to be
   * called about every second.
   */
  tick(): void {
    const { admission, channels, discovery, keepAlive, relays, isMember, logger } = this.#options;
    keepAlive.tick();
    relays.tick();
    discovery.tick(admission.open, relays.connections);
    for (const [device, connection] of admission.connections()) {
      if (!isMember(device)) {
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
      logger.warn("peer.half-connected", { device, channel: channels.has(device) });
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
