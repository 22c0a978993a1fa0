// SPDX-License-Identifier: Apache-2.0
/** Who may connect, and which of two connections to the same peer stays. */
import type { Logger } from "@ctxmesh/model";
import type { Connection, ConnectionGater, MultiaddrConnection, PeerId } from "@libp2p/interface";
import { deviceOf, socketOf } from "./identity.ts";

/** Two connections of one pair that come up within this time were dialled by both sides at once. */
const SAME_TIME_MS = 5_000;
/** An admitted connection that is not up by then has failed. */
const UPGRADE_MS = 3_000;
const REMEMBERED_REFUSALS = 256;

interface OpenConnection {
  readonly connection: Connection;
  /** On the clock of `performance.now()`. */
  readonly openedAt: number;
}

/** What admission needs to know. */
export interface AdmissionOptions {
  /** Our own device key, hex. */
  readonly self: string;
  readonly isMember: (device: string) => boolean;
  /** Called with what a dialled address turned out to be, whether or not the connection stays. */
  readonly onIdentified: (socket: string, device: string) => void;
  readonly logger: Logger;
}

/**
 * Lets members in only, and one connection per pair. When both ends dial at once, the end with the
 * lower device key refuses the later connection; the other one never refuses, so one always stays. A
 * connection that comes in while an older one seems up means that the remote has lost that one: it
 * is cut before the new one opens, so that every service sees a disconnect and starts afresh.
 */
export class Admission {
  readonly gater: ConnectionGater;
  readonly #options: AdmissionOptions;
  /** Oldest first; there are two only while both ends have dialled at once. */
  readonly #connections = new Map<string, readonly OpenConnection[]>();
  readonly #admitted = new Map<string, number>();
  /** Devices whose refusal has been logged. */
  readonly #refused = new Set<string>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.gater = {
      denyDialPeer: (peerId) => !this.#isMember(peerId),
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
    return this.#connections.get(device)?.[0]?.connection;
  }

  /** The open connections by device. */
  *connections(): Generator<readonly [device: string, connection: Connection], void, undefined> {
    for (const device of this.#connections.keys()) {
      const connection = this.connection(device);
      if (connection !== undefined) yield [device, connection];
    }
  }

  /** Notes a connection that is up. Returns its device when it is the first one to it. */
  opened(connection: Connection): string | undefined {
    const device = deviceOf(connection.remotePeer);
    if (device === undefined || connection.status !== "open") return undefined;
    this.#admitted.delete(device);
    const others = this.#connections.get(device) ?? [];
    this.#connections.set(device, [...others, { connection, openedAt: performance.now() }]);
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

  #isMember(peerId: PeerId): boolean {
    const device = deviceOf(peerId);
    return device !== undefined && this.#options.isMember(device);
  }

  #admit(peerId: PeerId, socket: MultiaddrConnection, direction: "inbound" | "outbound"): boolean {
    const device = deviceOf(peerId);
    if (device !== undefined && direction === "outbound") {
      this.#options.onIdentified(socketOf(socket.remoteAddr), device);
    }
    if (device === undefined || !this.#options.isMember(device)) {
      this.#logRefusal(device ?? peerId.toString(), socket.remoteAddr.toString(), direction);
      return false;
    }
    this.#refused.delete(device);
    return this.#admitMember(device);
  }

  #admitMember(device: string): boolean {
    const now = performance.now();
    const existing = this.#connections.get(device) ?? [];
    const pending = now - (this.#admitted.get(device) ?? Number.NEGATIVE_INFINITY) < UPGRADE_MS;
    const sameTime = pending || existing.some(({ openedAt }) => now - openedAt < SAME_TIME_MS);
    if (sameTime) return this.#options.self > device;
    for (const { connection } of existing) {
      connection.abort(new Error("replaced by a newer connection"));
    }
    this.#admitted.set(device, now);
    return true;
  }

  /** A warning the first time; a stranger may try every second. */
  #logRefusal(device: string, address: string, direction: string): void {
    const fields = { code: "AUTH_FAILED", reason: "not a member", device, address, direction };
    if (this.#refused.has(device)) {
      this.#options.logger.debug("peer.refused", fields);
      return;
    }
    if (this.#refused.size >= REMEMBERED_REFUSALS) this.#refused.clear();
    this.#refused.add(device);
    this.#options.logger.warn("peer.refused", fields);
  }
}
