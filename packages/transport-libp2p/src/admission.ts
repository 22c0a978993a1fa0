// SPDX-License-Identifier: Apache-2.0
/** Who may connect, and which of two connections to the same peer stays. */
import type { Connection, ConnectionGater, MultiaddrConnection, PeerId } from "@libp2p/interface";
import { deviceOf, isRelayed, socketOf } from "./identity.ts";
import type { HandshakeWatch } from "./handshake-watch.ts";
import type { Refusals } from "./refusals.ts";

/** Two connections of one pair that come up within this time were dialled by both sides at once. */
const SAME_TIME_MS = 5_000;
/** An admitted connection that is not up by then has failed. */
const UPGRADE_MS = 3_000;

interface OpenConnection {
  readonly connection: Connection;
  readonly relayed: boolean;
  /** On the clock of `performance.now()`. */
  readonly openedAt: number;
}

/** What a device is connected over. */
export type Link = "direct" | "relayed";

/** What admission needs to know. */
export interface AdmissionOptions {
  /** Our own device key, hex. */
  readonly self: string;
  readonly isMember: (device: string) => boolean;
  /** Whether a device, hex, is one that relays; it is dialled, and never dials. */
  readonly isRelay: (device: string) => boolean;
  /** Called with what a dialled address turned out to be, whether or not the connection stays. */
  readonly onIdentified: (socket: string, device: string) => void;
  readonly handshakes: HandshakeWatch;
  readonly refusals: Refusals;
}

/**
 * Lets members in only, and one connection per pair. When both ends dial at once, the end with the
 * lower device key refuses the later connection; the other one never refuses, so one always stays. A
 * connection that comes in while an older one seems up means that the remote has lost that one: it
 * is cut before the new one opens, so that every service sees a disconnect and starts afresh.
 *
 * A direct connection is better than one through a relay: it is let in whenever it comes, and takes the other's place in
 * the same way; one through a relay that comes up together with a direct one is refused.
 */
export class Admission {
  readonly gater: ConnectionGater;
  readonly #options: AdmissionOptions;
  /** Oldest first; there are two only while both ends have dialled at once. */
  readonly #connections = new Map<string, readonly OpenConnection[]>();
  readonly #replaced = new WeakSet<Connection>();
  /** When a connection was let in that is not up yet, by device and link. */
  readonly #admitted: Readonly<Record<Link, Map<string, number>>> = {
    direct: new Map(),
    relayed: new Map(),
  };

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.gater = {
      denyDialPeer: (peerId) => !this.#mayBeDialled(peerId),
      denyInboundConnection: (socket) => {
        options.handshakes.begin(socket);
        return false;
      },
      denyInboundEncryptedConnection: (peerId, socket) => !this.#admit(peerId, socket, "inbound"),
      denyOutboundEncryptedConnection: (peerId, socket) => !this.#admit(peerId, socket, "outbound"),
    };
  }

  /** How many devices are connected. */
  get size(): number {
    return this.#connections.size;
  }

  /** The open connection to a device. */
  connection(device: string): Connection | undefined {
    const open = this.#connections.get(device);
    return (open?.find(({ relayed }) => !relayed) ?? open?.[0])?.connection;
  }

  /** What a device is connected over now, if it is. */
  link(device: string): Link | undefined {
    const connection = this.connection(device);
    if (connection === undefined) return undefined;
    return isRelayed(connection.remoteAddr) ? "relayed" : "direct";
  }

  /** The open connections by device. */
  *connections(): Generator<readonly [device: string, connection: Connection], void, undefined> {
    for (const device of this.#connections.keys()) {
      const connection = this.connection(device);
      if (connection !== undefined) yield [device, connection];
    }
  }

  /** Whether a connection was cut since there is a newer one. */
  isReplaced(connection: Connection): boolean {
    return this.#replaced.has(connection);
  }

  /** The open connections. */
  get open(): readonly Connection[] {
    return Array.from(this.connections(), ([, connection]) => connection);
  }

  /** Notes a member's connection that is up. Returns its device when it is the first one to it. */
  opened(connection: Connection): string | undefined {
    const device = deviceOf(connection.remotePeer);
    if (device === undefined || connection.status !== "open") return undefined;
    const relayed = isRelayed(connection.remoteAddr);
    this.#admitted[relayed ? "relayed" : "direct"].delete(device);
    const others = this.#connections.get(device) ?? [];
    const opened = { connection, relayed, openedAt: performance.now() };
    this.#connections.set(device, [...others, opened]);
    return others.length === 0 ? device : undefined;
  }

  /** Notes a connection that is gone. Returns its device when it was the last one to it. */
  closed(connection: Connection): string | undefined {
    const device = deviceOf(connection.remotePeer);
    const open = device === undefined ? undefined : this.#connections.get(device);
    if (device === undefined || open === undefined) return undefined;
    const others = open.filter((other) => other.connection !== connection);
    if (others.length > 0) {
      this.#connections.set(device, others);
      return undefined;
    }
    this.#connections.delete(device);
    return device;
  }

  #mayBeDialled(peerId: PeerId): boolean {
    const device = deviceOf(peerId);
    const { isMember, isRelay } = this.#options;
    return device !== undefined && (isMember(device) || isRelay(device));
  }

  #admit(peerId: PeerId, socket: MultiaddrConnection, direction: "inbound" | "outbound"): boolean {
    const device = deviceOf(peerId);
    const { isMember, isRelay, onIdentified, handshakes, refusals } = this.#options;
    handshakes.passed(socket);
    const relayed = isRelayed(socket.remoteAddr);
    const outbound = direction === "outbound";
    if (device !== undefined && outbound && !relayed) {
      onIdentified(socketOf(socket.remoteAddr), device);
    }
    if (device !== undefined && isMember(device)) {
      refusals.forget(device);
      return this.#admitMember(device, relayed ? "relayed" : "direct");
    }
    if (device !== undefined && outbound && !relayed && isRelay(device)) return true;
    refusals.note({
      kind: "membership",
      code: "AUTH_FAILED",
      reason: "not a member",
      device: device ?? peerId.toString(),
      address: socket.remoteAddr.toString(),
      direction,
    });
    return false;
  }

  #admitMember(device: string, link: Link): boolean {
    const now = performance.now();
    const isNew = ({ openedAt }: OpenConnection): boolean => now - openedAt < SAME_TIME_MS;
    const isPending = (of: Link): boolean =>
      now - (this.#admitted[of].get(device) ?? Number.NEGATIVE_INFINITY) < UPGRADE_MS;
    const existing = this.#connections.get(device) ?? [];
    const direct = existing.filter(({ relayed }) => !relayed);
    if (link === "relayed" && (isPending("direct") || direct.some(isNew))) return false;
    const rivals = link === "relayed" ? existing : direct;
    if (isPending(link) || rivals.some(isNew)) return this.#options.self > device;
    for (const { connection } of existing) {
      this.#replaced.add(connection);
      connection.abort(new Error("replaced by a newer connection"));
    }
    this.#admitted[link].set(device, now);
    return true;
  }
}
