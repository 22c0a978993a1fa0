// SPDX-License-Identifier: Apache-2.0
/** Dials what is missing, for ever. The library dials nothing by itself and gives up on what it lost. */
import type { Logger } from "@ctxmesh/model";
import { LIMITS } from "@ctxmesh/model";
import type { Connection } from "@libp2p/interface";
import type { Multiaddr } from "@multiformats/multiaddr";
import { deviceOf, deviceOfAddress, socketOf } from "./identity.ts";

const TICK_MS = 1_000;
/** The shortest wait before a dial. */
const NUDGE_MS = 100;
/** The end with the higher device key lets the other one dial first, which avoids double connections. */
const GIVE_WAY_MS = 300;
const DIAL_MS = 3_000;
const PARALLEL_DIALS = 8;
/** The bound of the first wait; it doubles with each failure up to one of the next two. */
const FIRST_WAIT_MS = 500;
/** The longest wait between dials of what was configured, or lost lately: whatever comes back is connected within 2 s. */
const PROMPT_WAIT_MS = 2_000;
/** The longest wait between dials of an address that was learnt and has not answered for `PROMPT_FOR_MS`. */
const PATIENT_WAIT_MS = 32_000;
const PROMPT_FOR_MS = 600_000;

/**
 * Where an address comes from: the configuration; the peer itself, signed; or anybody on the local network. Those of
 * one source never take the place of those of another.
 */
export type AddressSource = "configured" | "signed" | "hint";

/** What the supervisor acts on. */
export interface SupervisorOptions {
  /** Our own device key, hex. */
  readonly self: string;
  readonly isConnected: (device: string) => boolean;
  readonly isMember: (device: string) => boolean;
  /** Whether so many are connected that learnt addresses need not be dialled. */
  readonly hasEnough: () => boolean;
  readonly dial: (address: Multiaddr, signal: AbortSignal) => Promise<Connection>;
  /** Called on each tick, to look after the connections there are. */
  readonly onTick: () => void;
  readonly logger: Logger;
}

interface Target {
  readonly address: Multiaddr;
  readonly socket: string;
  readonly source: AddressSource;
  /** Known from the address or from a connection. */
  device: string | undefined;
  /** This and the next on the clock of `performance.now()`. */
  dueAt: number;
  /** When it was first missed. */
  missedAt: number;
  failures: number;
  dialling: boolean;
  /** Whether to dial again at once when the dial under way fails. */
  nudged: boolean;
}

/** Keeps a connection to every configured peer, and to members whose address it learnt. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  /** By address, so that one is not dialled twice. */
  readonly #targets = new Map<string, Target>();
  readonly #stop = new AbortController();
  readonly #dials = new Set<Promise<void>>();
  /** The devices (hex) that are being dialled, each at one address at a time. */
  readonly #dialling = new Set<string>();
  #started = false;
  #timer: NodeJS.Timeout | undefined;
  #tickAt = 0;

  constructor(options: SupervisorOptions, peers: readonly Multiaddr[]) {
    this.#options = options;
    for (const address of peers) {
      const device = deviceOfAddress(address);
      if (device !== options.self) this.#addTarget(address, device, "configured");
    }
  }

  start(): void {
    this.#started = true;
    this.#tick();
  }

  /** Stops dialling and waits for the dials under way to be called off. */
  async stop(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await Promise.all(this.#dials);
  }

  /** Notes whose address a socket is; what was configured without a name has one from then on. */
  identified(socket: string, device: string): void {
    for (const [key, target] of this.#targets) {
      if (target.socket !== socket || target.source !== "configured") continue;
      if (device === this.#options.self) this.#targets.delete(key);
      else target.device = device;
    }
  }

  /** Takes addresses of a device (hex), with its id in them, in place of those that the same source had. */
  learn(
    device: string,
    addresses: readonly Multiaddr[],
    source: Exclude<AddressSource, "configured">,
  ): void {
    const wanted = new Map(
      addresses.slice(0, LIMITS.addressesPerPeer).map((address) => [address.toString(), address]),
    );
    let room: number = LIMITS.knownAddresses;
    for (const [key, target] of this.#targets) {
      if (target.source !== source) continue;
      if (target.device === device && !wanted.has(key)) this.#targets.delete(key);
      else room -= 1;
    }
    for (const [key, address] of wanted) {
      if (this.#targets.has(key) || this.#isConfigured(address, device) || room <= 0) continue;
      room -= 1;
      this.#addTarget(address, device, source);
    }
    this.#schedule(NUDGE_MS);
  }

  /** Notes that the connection to a device is gone. */
  lost(device: string): void {
    const now = performance.now();
    for (const target of this.#targets.values()) {
      if (target.device !== device) continue;
      target.dueAt = now + this.#giveWayMs(device);
      target.missedAt = now;
      target.failures = 0;
    }
    this.#schedule(NUDGE_MS);
  }

  /** Dials what is missing soon, since something has changed: all of it, or one device (hex). */
  nudge(device?: string): void {
    const now = performance.now();
    for (const target of this.#targets.values()) {
      if (device !== undefined && target.device !== device) continue;
      target.nudged = target.dialling;
      target.dueAt = Math.min(target.dueAt, now + Math.max(NUDGE_MS, jittered(FIRST_WAIT_MS)));
    }
    this.#schedule(NUDGE_MS);
  }

  #addTarget(address: Multiaddr, device: string | undefined, source: AddressSource): void {
    const now = performance.now();
    // Many learn of the same device at the same moment; who is configured is waited for.
    const spread = source === "configured" ? 0 : jittered(TICK_MS);
    this.#targets.set(address.toString(), {
      address,
      socket: socketOf(address),
      source,
      device,
      dueAt: now + this.#giveWayMs(device) + spread,
      missedAt: now,
      failures: 0,
      dialling: false,
      nudged: false,
    });
  }

  #isConfigured(address: Multiaddr, device: string): boolean {
    const socket = socketOf(address);
    return [...this.#targets.values()].some(
      (target) =>
        target.source === "configured" && target.socket === socket && target.device === device,
    );
  }

  #giveWayMs(device: string | undefined): number {
    return device !== undefined && device < this.#options.self ? GIVE_WAY_MS : 0;
  }

  /** Ticks after this time, or earlier if that was decided before. */
  #schedule(ms: number): void {
    if (!this.#started || this.#stop.signal.aborted) return;
    const at = performance.now() + ms;
    if (this.#timer !== undefined && this.#tickAt <= at) return;
    clearTimeout(this.#timer);
    this.#tickAt = at;
    this.#timer = setTimeout(() => {
      this.#tick();
    }, ms);
  }

  #tick(): void {
    this.#timer = undefined;
    this.#options.onTick();
    const now = performance.now();
    const longestDueFirst = [...this.#targets.values()].toSorted((a, b) => a.dueAt - b.dueAt);
    for (const target of longestDueFirst) {
      if (this.#dials.size >= PARALLEL_DIALS) break;
      if (!this.#isDue(target, now)) continue;
      const dial = this.#dial(target, now).finally(() => this.#dials.delete(dial));
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
    if (target.source !== "configured" && this.#options.hasEnough()) return false;
    return !this.#dialling.has(device);
  }

  async #dial(target: Target, startedAt: number): Promise<void> {
    const { dial, logger } = this.#options;
    const { device: wanted } = target;
    target.dialling = true;
    target.nudged = false;
    if (wanted !== undefined) this.#dialling.add(wanted);
    try {
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(DIAL_MS)]);
      const connection = await dial(target.address, signal);
      const device = deviceOf(connection.remotePeer);
      if (device !== undefined) this.identified(target.socket, device);
      target.failures = 0;
      target.missedAt = performance.now();
      target.dueAt = target.missedAt + TICK_MS;
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const address = target.address.toString();
      const name = error instanceof Error ? error.name : "";
      if (name === "InvalidPeerIdError" && target.device === undefined) {
        this.#targets.delete(address);
        logger.debug("peer.is-self", { address });
        return;
      }
      const fields = { address, device: target.device, reason: String(error) };
      if (target.failures === 0) logger.info("peer.unreachable", fields);
      else logger.debug("peer.unreachable", fields);
      target.failures += 1;
      target.dueAt = target.nudged ? performance.now() : this.#nextDial(target, startedAt);
    } finally {
      target.dialling = false;
      if (wanted !== undefined) this.#dialling.delete(wanted);
      this.#schedule(NUDGE_MS);
    }
  }

  /**
   * Full jitter: a time evenly spread over a wait that doubles with each failure, so that nodes that lost each other at the
   * same moment do not dial in step. It counts from the start of the dial that failed: one that took long has waited.
   */
  #nextDial({ source, failures, missedAt }: Target, startedAt: number): number {
    const now = performance.now();
    const prompt = source === "configured" || now - missedAt < PROMPT_FOR_MS;
    const longest = prompt ? PROMPT_WAIT_MS : PATIENT_WAIT_MS;
    const wait = jittered(Math.min(longest, FIRST_WAIT_MS * 2 ** Math.min(failures, 10)));
    return Math.max(startedAt + wait, now + NUDGE_MS);
  }
}

/** Anything from nothing up to a wait. */
const jittered = (ms: number): number => ms * Math.random();
