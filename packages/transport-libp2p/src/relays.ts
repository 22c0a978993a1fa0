// SPDX-License-Identifier: Apache-2.0
/**
 * Relays as an agent uses them (libp2p circuit relay v2): it stays connected to those of its configuration, keeps a
 * reservation there, says that it is reachable through them, and dials others through theirs. What goes over a relay is
 * an encrypted connection between the two agents, with the same handshakes as a direct one: a relay sees who talks to whom, and how much.
 */
import type { Logger, RelayStatus } from "@ctxmesh/model";
import { LIMITS } from "@ctxmesh/model";
import type { Connection, Libp2p, PeerId } from "@libp2p/interface";
import { isLoopback } from "@libp2p/utils";
import { multiaddr } from "@multiformats/multiaddr";
import type { Multiaddr } from "@multiformats/multiaddr";
import { deviceOf, deviceOfAddress, isRelayed, relayAddressOf, relayOf } from "./identity.ts";
import type { Internals, Services } from "./node.ts";

/** A relay that only others use is let go after so long without a circuit. */
const IDLE_MS = 60_000;

/** The library's reservations, as far as they are used here. */
interface ReservationStore extends EventTarget {
  hasReservation(relay: PeerId): boolean;
  addRelay(relay: PeerId, type: "configured"): Promise<Reserved>;
  relayFilter: { readonly has: () => boolean; readonly add: () => void };
}

interface Reserved {
  readonly details: { readonly reservation: { readonly addrs: readonly Uint8Array[] } };
}

/** What relays are used with. */
export interface RelaysOptions {
  /** Relays of the configuration. */
  readonly configured: readonly Multiaddr[];
  /** Whether a device, hex, may relay for us: a hub with a grant. */
  readonly isRelay: (device: string) => boolean;
  /** Called when we can be reached through one more relay. */
  readonly onReserved: (relay: string) => void;
  readonly logger: Logger;
}

interface OpenRelay {
  readonly connection: Connection;
  /** When something last went over it, on the clock of `performance.now()`. */
  usedAt: number;
}

/** The relays of one node. */
export class Relays {
  readonly #node: Libp2p<Services>;
  readonly #options: RelaysOptions;
  readonly #configured: ReadonlyMap<string, Multiaddr>;
  readonly #open = new Map<string, OpenRelay>();
  readonly #reserving = new Set<string>();
  /** Where we can be reached, by relay. */
  readonly #announced = new Map<string, readonly Multiaddr[]>();
  /** Relays whose refusal has been logged. */
  readonly #refused = new Set<string>();

  constructor(node: Libp2p<Services>, options: RelaysOptions) {
    this.#node = node;
    this.#options = options;
    this.#configured = new Map(
      options.configured.map((address) => [deviceOfAddress(address) ?? "", address]),
    );
    const store = this.#store;
    // A relay that could not be reached once would never be asked again: whom to ask when is decided here.
    store.relayFilter = { has: () => false, add: () => undefined };
    store.addEventListener("relay:removed", (event) => {
      const { relay } = (event as CustomEvent<{ readonly relay: PeerId }>).detail;
      this.#withdraw(deviceOf(relay) ?? "");
    });
  }

  /** The connections to relays. */
  get connections(): readonly Connection[] {
    return Array.from(this.#open.values(), ({ connection }) => connection);
  }

  /** Whether a relay is connected. */
  has(device: string): boolean {
    return this.#open.has(device);
  }

  /** Takes note of a connection that is up; returns whether it is one to a relay. */
  opened(connection: Connection): boolean {
    const device = this.#relayOf(connection);
    if (device === undefined || connection.status !== "open") return false;
    const old = this.#open.get(device);
    this.#open.set(device, { connection, usedAt: performance.now() });
    old?.connection.abort(new Error("replaced by a newer connection"));
    this.#options.logger.info("relay.connected", {
      device,
      address: connection.remoteAddr.toString(),
    });
    return true;
  }

  /** Takes note of a connection that is gone; returns whether it was one to a relay. */
  closed(connection: Connection): boolean {
    const device = deviceOf(connection.remotePeer) ?? "";
    if (this.#open.get(device)?.connection !== connection) return false;
    this.#open.delete(device);
    this.#withdraw(device);
    this.#options.logger.info("relay.disconnected", { device });
    return true;
  }

  /** Gets a reservation where there is none, at a relay of the configuration. Never rejects. */
  async reserve(connection: Connection): Promise<void> {
    const device = deviceOf(connection.remotePeer) ?? "";
    if (!this.#configured.has(device) || this.#reserving.has(device)) return;
    if (this.#store.hasReservation(connection.remotePeer)) return;
    this.#reserving.add(device);
    try {
      const { details } = await this.#addRelay(connection.remotePeer);
      if (this.#open.get(device)?.connection !== connection) return;
      this.#announce(device, connection, details.reservation.addrs);
      this.#refused.delete(device);
      this.#options.onReserved(device);
    } catch (error) {
      const level = this.#refused.has(device) ? "debug" : "warn";
      this.#refused.add(device);
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.logger[level]("relay.not-reserved", { code: "UNREACHABLE", device, reason });
    } finally {
      this.#reserving.delete(device);
    }
  }

  /** The library asks by itself whoever relays, only to find that it needs nobody; a request of ours meanwhile ends with that one. */
  async #addRelay(relay: PeerId): Promise<Reserved> {
    try {
      return await this.#store.addRelay(relay, "configured");
    } catch (error) {
      if (!(error instanceof Error) || error.name !== "HadEnoughRelaysError") throw error;
      return await this.#store.addRelay(relay, "configured");
    }
  }

  /** Dials a device through a relay, which is dialled first unless it is connected. */
  async dial(address: Multiaddr, signal: AbortSignal): Promise<Connection> {
    const relay = relayOf(address) ?? "";
    const open = this.#open.get(relay);
    if (open === undefined) await this.#node.dial(relayAddressOf(address), { signal });
    else open.usedAt = performance.now();
    // Past the library's queue, which has one dial of a device under way and would join this one to a direct one.
    return await this.#transports.dial(address, { signal });
  }

  /** Reserves where that failed, and lets relays go that are not welcome any more or not needed. */
  tick(): void {
    const now = performance.now();
    for (const [device, relay] of this.#open) {
      const { connection } = relay;
      if (!this.#options.isRelay(device)) {
        connection.abort(new Error("no longer a relay"));
      } else if (this.#configured.has(device)) {
        void this.reserve(connection);
      } else if (connection.streams.some(({ protocol }) => protocol.endsWith("/hop"))) {
        relay.usedAt = now;
      } else if (now - relay.usedAt > IDLE_MS) {
        void connection.close().catch(() => undefined);
      }
    }
  }

  /** How the relays of the configuration stand. */
  status(): readonly RelayStatus[] {
    return Array.from(this.#configured, ([device, address]) => ({
      device,
      address: address.toString(),
      connected: this.#open.has(device),
      reserved: this.#announced.has(device),
    }));
  }

  get #transports(): Internals["transportManager"] {
    return this.#node.services.internals.transportManager;
  }

  get #store(): ReservationStore {
    const transport = this.#transports
      .getTransports()
      .find(
        (one): one is typeof one & { reservationStore: ReservationStore } =>
          "reservationStore" in one,
      );
    if (transport === undefined) throw new Error("there is no transport through relays");
    return transport.reservationStore;
  }

  #relayOf(connection: Connection): string | undefined {
    const device = deviceOf(connection.remotePeer);
    const usable = device !== undefined && this.#options.isRelay(device);
    return usable && !isRelayed(connection.remoteAddr) ? device : undefined;
  }

  /** The address by which we reach the relay first: it is known to work from somewhere. */
  #announce(device: string, { remoteAddr }: Connection, more: readonly Uint8Array[]): void {
    const relay = `/p2p/${remoteAddr.getComponents().at(-1)?.value ?? ""}`;
    const others = more.map((bytes) => multiaddr(bytes));
    const own = [
      remoteAddr,
      // Those of its own machine alone are of use to who is there, too.
      ...others.filter((address) => isLoopback(remoteAddr) || !isLoopback(address)),
    ].map(String);
    const addresses = [...new Set(own)]
      .filter((address) => address.endsWith(relay))
      .slice(0, LIMITS.addressesPerRelay)
      .map((address) => multiaddr(`${address}/p2p-circuit`));
    this.#announced.set(device, addresses);
    for (const address of addresses) {
      this.#node.services.internals.addressManager.confirmObservedAddr(address, {
        type: "observed",
      });
    }
    this.#options.logger.info("relay.reserved", { device, addresses: addresses.map(String) });
  }

  #withdraw(device: string): void {
    for (const address of this.#announced.get(device) ?? []) {
      this.#node.services.internals.addressManager.removeObservedAddr(address);
    }
    this.#announced.delete(device);
  }
}
