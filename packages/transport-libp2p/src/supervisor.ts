// SPDX-License-Identifier: Apache-2.0
/** Dials what is missing, for ever. The library dials nothing by itself and gives up on what it lost. */
import type { Logger } from "@ctxmesh/model";
import type { Connection } from "@libp2p/interface";
import type { Multiaddr } from "@multiformats/multiaddr";
import { deviceOf, deviceOfAddress, socketOf } from "./identity.ts";

const TICK_MS = 1_000;
/** The shortest wait between ticks, and the wait after a connection is lost. */
const NUDGE_MS = 100;
/** Share of a wait that is random, so that nodes do not dial in step. */
const JITTER = 0.4;
/** The end with the higher device key lets the other one dial first, which avoids double connections. */
const GIVE_WAY_MS = 300;
const DIAL_MS = 3_000;
const PARALLEL_DIALS = 8;
/** Addresses remembered from peers, over all peers and for one; they are dialled ever less often, down to every 32 ticks. */
const LEARNT_ADDRESSES = 256;
const LEARNT_PER_PEER = 8;

/** What the supervisor acts on. */
export interface SupervisorOptions {
  /** Our own device key, hex. */
  readonly self: string;
  readonly isConnected: (device: string) => boolean;
  readonly isMember: (device: string) => boolean;
  readonly dial: (address: Multiaddr, signal: AbortSignal) => Promise<Connection>;
  /** Called on each tick, to look after the connections there are. */
  readonly onTick: () => void;
  readonly logger: Logger;
}

interface Target {
  readonly address: Multiaddr;
  readonly learnt: boolean;
  /** Known from the address or from a connection. */
  device: string | undefined;
  /** On the clock of `performance.now()`. */
  dueAt: number;
  failures: number;
  dialling: boolean;
}

/** Keeps a connection to every configured peer, and to members whose address it learnt. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  /** By socket, so that one is not dialled twice. */
  readonly #targets = new Map<string, Target>();
  readonly #stop = new AbortController();
  readonly #dials = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SupervisorOptions, peers: readonly Multiaddr[]) {
    this.#options = options;
    for (const address of peers) {
      const device = deviceOfAddress(address);
      if (device !== options.self) this.#addTarget(address, device, false);
    }
  }

  start(): void {
    this.#tick();
  }

  /** Stops dialling and waits for the dials under way to be called off. */
  async stop(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await Promise.all(this.#dials);
  }

  /** Notes whose address a socket is. */
  identified(socket: string, device: string): void {
    const target = this.#targets.get(socket);
    if (target === undefined) return;
    if (device === this.#options.self) this.#targets.delete(socket);
    else target.device = device;
  }

  /**
   * Remembers, in memory, the addresses under which a connected member says it listens, unless its
   * address is configured. They replace what was learnt from it before.
   */
  learn(device: string, addresses: readonly Multiaddr[]): void {
    for (const address of addresses) {
      const known = this.#targets.get(socketOf(address));
      if (known !== undefined) known.device ??= device;
    }
    let learnt = 0;
    for (const [socket, target] of this.#targets) {
      if (target.device === device && !target.learnt) return;
      if (target.device === device) this.#targets.delete(socket);
      else if (target.learnt) learnt += 1;
    }
    const room = Math.max(0, LEARNT_ADDRESSES - learnt);
    for (const address of addresses.slice(0, Math.min(LEARNT_PER_PEER, room))) {
      this.#addTarget(address, device, true);
    }
  }

  /** Notes that the connection to a device is gone. */
  lost(device: string): void {
    for (const target of this.#targets.values()) {
      if (target.device === device) target.dueAt = performance.now() + this.#giveWayMs(device);
    }
    this.#schedule(NUDGE_MS);
  }

  #addTarget(address: Multiaddr, device: string | undefined, learnt: boolean): void {
    const socket = socketOf(address);
    if (this.#targets.has(socket)) return;
    this.#targets.set(socket, {
      address,
      device,
      learnt,
      dueAt: performance.now() + this.#giveWayMs(device),
      failures: 0,
      dialling: false,
    });
  }

  #giveWayMs(device: string | undefined): number {
    return device !== undefined && device < this.#options.self ? GIVE_WAY_MS : 0;
  }

  #schedule(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#stop.signal.aborted) return;
    this.#timer = setTimeout(
      () => {
        this.#tick();
      },
      ms * (1 - JITTER / 2 + JITTER * Math.random()),
    );
  }

  #tick(): void {
    this.#options.onTick();
    const now = performance.now();
    const longestDueFirst = [...this.#targets.values()].toSorted((a, b) => a.dueAt - b.dueAt);
    for (const target of longestDueFirst) {
      if (this.#dials.size >= PARALLEL_DIALS) break;
      if (!this.#isDue(target, now)) continue;
      const dial = this.#dial(target).finally(() => this.#dials.delete(dial));
      this.#dials.add(dial);
    }
    this.#schedule(this.#nextTickMs(now));
  }

  /** A tick, or less when an address falls due before that. */
  #nextTickMs(now: number): number {
    const waits = Array.from(this.#targets.values(), (target) => target.dueAt - now);
    return Math.min(
      TICK_MS,
      ...waits.filter((wait) => wait > 0).map((wait) => Math.max(wait, NUDGE_MS)),
    );
  }

  #isDue(target: Target, now: number): boolean {
    const { device } = target;
    if (target.dialling || now < target.dueAt) return false;
    if (device === undefined) return true;
    if (this.#options.isConnected(device) || !this.#options.isMember(device)) return false;
    return ![...this.#targets.values()].some((other) => other.dialling && other.device === device);
  }

  async #dial(target: Target): Promise<void> {
    const { dial, logger } = this.#options;
    const address = target.address.toString();
    target.dialling = true;
    try {
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(DIAL_MS)]);
      const connection = await dial(target.address, signal);
      const device = deviceOf(connection.remotePeer);
      if (device !== undefined) this.identified(socketOf(target.address), device);
      target.failures = 0;
      target.dueAt = performance.now() + TICK_MS;
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const name = error instanceof Error ? error.name : "";
      if (name === "InvalidPeerIdError" && target.device === undefined) {
        this.#targets.delete(socketOf(target.address));
        logger.debug("peer.is-self", { address });
        return;
      }
      const fields = { address, device: target.device, reason: String(error) };
      if (target.failures === 0) logger.info("peer.unreachable", fields);
      else logger.debug("peer.unreachable", fields);
      target.failures += 1;
      const backOff = target.learnt ? 2 ** Math.min(target.failures, 5) : 1;
      // Not due at once even without back-off, so that the peer's other addresses get their turn.
      target.dueAt = performance.now() + TICK_MS * (backOff - 0.5);
    } finally {
      target.dialling = false;
    }
  }
}
