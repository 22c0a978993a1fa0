// SPDX-License-Identifier: Apache-2.0
/** Dials what is missing, for ever. The library dials nothing by itself and gives up on what it lost. */
import type { Logger } from "@ctxmesh/model";
import { LIMITS } from "@ctxmesh/model";
import type { Connection } from "@libp2p/interface";
import type { Multiaddr } from "@multiformats/multiaddr";
import type { Link } from "./admission.ts";
import { refusedInHandshake } from "./handshake-watch.ts";
import { deviceOf, deviceOfAddress, isRelayed, socketOf } from "./identity.ts";
import type { Refusals } from "./refusals.ts";

const TICK_MS = 1_000;
/** The shortest wait before a dial. */
const NUDGE_MS = 100;
/** The end with the higher device key lets the other one dial first, which avoids double connections. */
const GIVE_WAY_MS = 300;
const DIAL_MS = 3_000;
/** At once, of either kind. */
const PARALLEL_DIALS = 8;
/** A dial through a relay waits so long for one that needs none. */
const RELAY_GIVES_WAY_MS = 300;
/** The bound of the first wait; it doubles with each failure up to one of the next four. */
const FIRST_WAIT_MS = 100;
/** The longest wait between dials of what was not missed for `SOON_FOR_MS`: nodes that start together, or again, are there soon. */
const SOON_WAIT_MS = 500;
const SOON_FOR_MS = 5_000;
/** The longest wait between dials of a relay: whom it connects has to be dialled after it, and all that within 2 s. */
const RELAY_WAIT_MS = 1_000;
/** The longest wait between dials of what was configured, or lost lately: whatever comes back is connected within 2 s. */
const PROMPT_WAIT_MS = 2_000;
/** The longest wait between dials of an address that was learnt and has not answered for `PROMPT_FOR_MS`. */
const PATIENT_WAIT_MS = 32_000;
const PROMPT_FOR_MS = 600_000;

/**
 * Where an address comes from: the configuration, for a peer or for a relay; the peer itself, signed; or anybody on the
 * local network. Those of one source never take the place of those of another.
 */
export type AddressSource = "configured" | "relay" | "signed" | "hint";

/** What the supervisor acts on. */
export interface SupervisorOptions {
  /** Our own device key, hex. */
  readonly self: string;
  /** What a device, hex, is connected over. */
  readonly link: (device: string) => Link | undefined;
  readonly isMember: (device: string) => boolean;
  /** Whether so many are connected that learnt addresses need not be dialled. */
  readonly hasEnough: () => boolean;
  readonly dial: (address: Multiaddr, signal: AbortSignal) => Promise<Connection>;
  readonly refusals: Refusals;
  /** Called on each tick, to look after the connections there are. */
  readonly onTick: () => void;
  readonly logger: Logger;
}

interface Target {
  readonly address: Multiaddr;
  readonly socket: string;
  readonly source: AddressSource;
  /** Whether it leads through a relay. */
  readonly relayed: boolean;
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
  /** Apart, so that those of many who are away do not hold up those through a relay. */
  readonly #dials: Readonly<Record<Link, Set<Promise<void>>>> = {
    direct: new Set(),
    relayed: new Set(),
  };
  /** The devices (hex) that are being dialled, each at one address at a time, and at one through a relay. */
  readonly #dialling = new Set<string>();
  #started = false;
  #timer: NodeJS.Timeout | undefined;
  #tickAt = 0;

  constructor(
    options: SupervisorOptions,
    peers: readonly Multiaddr[],
    relays: readonly Multiaddr[] = [],
  ) {
    this.#options = options;
    const add = (address: Multiaddr, source: AddressSource): void => {
      const device = deviceOfAddress(address);
      if (device !== options.self) this.#addTarget(address, device, source);
    };
    for (const address of relays) add(address, "relay");
    for (const address of peers) add(address, "configured");
  }

  start(): void {
    this.#started = true;
    this.#tick();
  }

  /** Stops dialling and waits for the dials under way to be called off. */
  async stop(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await Promise.all([...this.#dials.direct, ...this.#dials.relayed]);
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
    source: Exclude<AddressSource, "configured" | "relay">,
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
    // Many learn of the same device at the same moment; who is configured is waited for. One time for all, or one that leads through a
    // relay would not give way.
    const spread = jittered(TICK_MS);
    for (const [key, address] of wanted) {
      if (this.#targets.has(key) || this.#isConfigured(address, device) || room <= 0) continue;
      room -= 1;
      this.#addTarget(address, device, source, spread);
    }
    this.#schedule(NUDGE_MS);
  }

  /** Notes that the connection to a device is gone; `early`: so soon that it is waited longer each time that this happens. */
  lost(device: string, early = false): void {
    const now = performance.now();
    for (const target of this.#targets.values()) {
      if (target.device !== device) continue;
      if (!early) target.missedAt = now;
      target.failures = early ? target.failures + 1 : 0;
      target.dueAt = early ? this.#nextDial(target, now) : now + this.#giveWayMs(target);
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

  /** Dials through relays soon whoever is not connected, since we can be reached through one now. */
  nudgeRelayed(): void {
    const now = performance.now();
    for (const target of this.#targets.values()) {
      if (!target.relayed) continue;
      target.nudged = target.dialling;
      target.dueAt = Math.min(target.dueAt, now + this.#giveWayMs(target));
    }
    this.#schedule(NUDGE_MS);
  }

  #addTarget(
    address: Multiaddr,
    device: string | undefined,
    source: AddressSource,
    spread = 0,
  ): void {
    const now = performance.now();
    const relayed = isRelayed(address);
    this.#targets.set(address.toString(), {
      address,
      socket: socketOf(address),
      source,
      relayed,
      device,
      dueAt: now + this.#giveWayMs({ device, relayed }) + spread,
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

  #giveWayMs({ device, relayed }: Pick<Target, "device" | "relayed">): number {
    const first = relayed ? RELAY_GIVES_WAY_MS : 0;
    return first + (device !== undefined && device < this.#options.self ? GIVE_WAY_MS : 0);
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
      const dials = this.#dials[target.relayed ? "relayed" : "direct"];
      if (dials.size >= PARALLEL_DIALS || !this.#isDue(target, now)) continue;
      const dial = this.#dial(target, now).finally(() => dials.delete(dial));
      dials.add(dial);
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
    const { device, source, relayed } = target;
    if (target.dialling || now < target.dueAt) return false;
    if (device === undefined) return true;
    const link = this.#options.link(device);
    // Who is reached through a relay alone is dialled on, now and then, at the addresses that need none.
    if (link === "direct" || (link === "relayed" && relayed)) return false;
    if (!this.#options.isMember(device)) return false;
    const learnt = source === "signed" || source === "hint";
    if (learnt && link === undefined && this.#options.hasEnough()) return false;
    return !this.#dialling.has(dialKey(device, relayed));
  }

  async #dial(target: Target, startedAt: number): Promise<void> {
    const { dial } = this.#options;
    const wanted = target.device === undefined ? "" : dialKey(target.device, target.relayed);
    target.dialling = true;
    target.nudged = false;
    this.#dialling.add(wanted);
    try {
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(DIAL_MS)]);
      const connection = await dial(target.address, signal);
      const device = deviceOf(connection.remotePeer);
      if (device !== undefined && !target.relayed) this.identified(target.socket, device);
      target.dueAt = performance.now() + TICK_MS;
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#failed(target, error, startedAt);
    } finally {
      target.dialling = false;
      this.#dialling.delete(wanted);
      this.#schedule(NUDGE_MS);
    }
  }

  #failed(target: Target, error: unknown, startedAt: number): void {
    const { logger, link, refusals } = this.#options;
    const address = target.address.toString();
    const name = error instanceof Error ? error.name : "";
    if (name === "InvalidPeerIdError" && target.device === undefined) {
      this.#targets.delete(address);
      logger.debug("peer.is-self", { address });
      return;
    }
    const refused = refusedInHandshake(error);
    const fields = { address, device: target.device, reason: refused ?? String(error) };
    // One that is connected otherwise by now is not missed.
    const missed = target.device === undefined || link(target.device) === undefined;
    if (target.failures === 0 && missed) logger.info("peer.unreachable", fields);
    else logger.debug("peer.unreachable", fields);
    if (refused !== undefined) {
      refusals.note({
        kind: "remote",
        code: "AUTH_FAILED",
        reason: refused,
        address,
        direction: "outbound",
        ...(target.device === undefined ? {} : { device: target.device }),
      });
    }
    target.failures += 1;
    target.dueAt = target.nudged ? performance.now() : this.#nextDial(target, startedAt);
  }

  /**
   * Full jitter: a time evenly spread over a wait that doubles with each failure, so that nodes that lost each other at the
   * same moment do not dial in step. It counts from the start of the dial that failed: one that took long has waited.
   */
  #nextDial(target: Target, startedAt: number): number {
    const { failures } = target;
    const now = performance.now();
    const longest = this.#longestWaitMs(target, now);
    const wait = jittered(Math.min(longest, FIRST_WAIT_MS * 2 ** Math.min(failures, 10)));
    return Math.max(startedAt + wait, now + NUDGE_MS);
  }

  #longestWaitMs({ source, missedAt, device }: Target, now: number): number {
    if (device !== undefined && this.#options.link(device) !== undefined) return PATIENT_WAIT_MS;
    if (now - missedAt < SOON_FOR_MS) return SOON_WAIT_MS;
    if (source === "relay") return RELAY_WAIT_MS;
    const prompt = source === "configured" || now - missedAt < PROMPT_FOR_MS;
    return prompt ? PROMPT_WAIT_MS : PATIENT_WAIT_MS;
  }
}

/** Names a device and the way to it. */
const dialKey = (device: string, relayed: boolean): string =>
  relayed ? `${device} through a relay` : device;

/** Anything from nothing up to a wait. */
const jittered = (ms: number): number => ms * Math.random();
