// SPDX-License-Identifier: Apache-2.0
/** A bad link between programs on one machine: TCP forwarders that delay, throttle, stall, swallow and cut. */
import { createConnection, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { createSeededRandom } from "./deterministic.ts";
import { LinkDirection, PERFECT_LINK } from "./link-emulator-direction.ts";
import type { DirectionCounters, LinkSettings, Segment } from "./link-emulator-direction.ts";

/** A direction of a link, by its two ends: from `a` to `b`, or back. */
export type LinkWay = "ab" | "ba";

/** A host and a TCP port. */
export interface LinkSocket {
  readonly host: string;
  readonly port: number;
}

/** Where a program at one end reaches one at the other. */
export interface LinkForward {
  /** What is at the other end. */
  readonly target: LinkSocket;
  /** At which end the dialling program is; default `a`. */
  readonly from?: "a" | "b";
  /** Where to listen for it; default: any port of 127.0.0.1. */
  readonly listen?: LinkSocket;
}

/** What a link is made of. */
export interface LinkOptions {
  /** Of jitter and losses, default 1: the same segments in the same order meet the same fate. */
  readonly seed?: number;
  /** Of both directions; those that are absent as in {@link PERFECT_LINK}. */
  readonly settings?: Partial<LinkSettings>;
  /** Called with the data that arrives, and the number of its connection. */
  readonly onData?: (way: LinkWay, bytes: Uint8Array, connection: number) => void;
}

/** How a link comes and goes, in milliseconds: up first. */
export interface FlapSchedule {
  readonly upMs: number;
  readonly downMs: number;
}

/** A link. All its connections share its bandwidth and its queue, one of each per direction. */
export interface LinkEmulator extends AsyncDisposable {
  /** Lets programs at one end reach a program at the other. Resolves to where they dial. */
  forward(options: LinkForward): Promise<LinkSocket>;
  /** Changes the settings of one direction, or both. Throws `RangeError`. */
  set(changes: Partial<LinkSettings>, way?: LinkWay): void;
  /** Blocks both directions by a schedule, until called without one, which leaves the link up. */
  flap(schedule?: FlapSchedule): void;
  /** Breaks every connection at both ends at once (RST). */
  cut(): void;
  /** Connections that are open at one end at least. */
  readonly connections: number;
  /** What has passed so far. */
  counters(): Readonly<Record<LinkWay, DirectionCounters>>;
}

/** Bytes for one program that it has not read, above which the other one is stopped. */
const UNREAD_BYTES = 262_144;

/** One end of a connection: of the program that dialled, or of the one that was dialled. */
interface End {
  readonly flow: number;
  /** On which what this end sends travels. */
  readonly way: LinkWay;
  readonly target: LinkSocket | undefined;
  /** Absent at the dialled end until the dial has travelled there. */
  socket: Socket | undefined;
  /** Whether it may be read: the connection is established as far as this end can know. */
  established: boolean;
}

const other = (way: LinkWay): LinkWay => (way === "ab" ? "ba" : "ab");

/** Ends a connection with RST. Where its end was announced already, libuv refuses that and would keep the socket for ever. */
function breakOff(socket: Socket | undefined): void {
  if (socket?.writableEnded === true) socket.destroy();
  else socket?.resetAndDestroy();
}

class Emulator implements LinkEmulator {
  readonly #directions: Readonly<Record<LinkWay, LinkDirection>>;
  readonly #onData: LinkOptions["onData"];
  readonly #servers = new Set<Server>();
  /** Those at the end that a way leads to, by connection. */
  readonly #ends: Readonly<Record<LinkWay, Map<number, End>>> = { ab: new Map(), ba: new Map() };
  readonly #timers: Record<LinkWay, NodeJS.Timeout | undefined> = { ab: undefined, ba: undefined };
  /** Those that are being delivered. */
  readonly #pumping = new Set<LinkWay>();
  #flapping: NodeJS.Timeout | undefined;
  #flows = 0;
  #closed = false;

  constructor({ seed = 1, settings = {}, onData }: LinkOptions) {
    const all = { ...PERFECT_LINK, ...settings };
    this.#onData = onData;
    this.#directions = {
      ab: new LinkDirection(all, createSeededRandom(2 * seed)),
      ba: new LinkDirection(all, createSeededRandom(2 * seed + 1)),
    };
  }

  get connections(): number {
    return new Set([...this.#ends.ab.keys(), ...this.#ends.ba.keys()]).size;
  }

  counters(): Readonly<Record<LinkWay, DirectionCounters>> {
    return { ab: this.#directions.ab.counters, ba: this.#directions.ba.counters };
  }

  async forward({ target, from = "a", listen }: LinkForward): Promise<LinkSocket> {
    const { host, port } = listen ?? { host: "127.0.0.1", port: 0 };
    const way = from === "a" ? "ab" : "ba";
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      this.#accept(socket, way, target);
    });
    this.#servers.add(server);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(port, host, resolve);
    });
    return { host, port: (server.address() as AddressInfo).port };
  }

  set(changes: Partial<LinkSettings>, way?: LinkWay): void {
    for (const one of way === undefined ? (["ab", "ba"] as const) : [way]) {
      this.#directions[one].set(changes, performance.now());
      this.#pump(one);
    }
  }

  flap(schedule?: FlapSchedule): void {
    clearTimeout(this.#flapping);
    this.set({ blocked: false });
    if (schedule === undefined) return;
    const turn = (blocked: boolean): void => {
      this.set({ blocked });
      const ms = blocked ? schedule.downMs : schedule.upMs;
      this.#flapping = setTimeout(() => {
        turn(!blocked);
      }, ms);
    };
    turn(false);
  }

  cut(): void {
    for (const way of ["ab", "ba"] as const) {
      for (const [flow, { socket }] of this.#ends[way]) {
        this.#directions.ab.forget(flow);
        this.#directions.ba.forget(flow);
        breakOff(socket);
      }
      this.#ends[way].clear();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#flapping);
    const closed = Array.from(
      this.#servers,
      (server) => new Promise((resolve) => server.close(resolve)),
    );
    this.cut();
    for (const way of ["ab", "ba"] as const) clearTimeout(this.#timers[way]);
    await Promise.all(closed);
  }

  /** A program has dialled; the other one hears of it when that has travelled. */
  #accept(socket: Socket, way: LinkWay, target: LinkSocket): void {
    this.#flows += 1;
    const flow = this.#flows;
    const near: End = { flow, way, target: undefined, socket, established: false };
    const far: End = { flow, way: other(way), target, socket: undefined, established: false };
    this.#ends[other(way)].set(flow, near);
    this.#ends[way].set(flow, far);
    this.#attach(near, socket);
    this.#step(near, "open");
  }

  /** What the program at an end does, travels to the other end. */
  #attach(end: End, socket: Socket): void {
    const { flow, way } = end;
    end.socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (bytes) => {
      this.#directions[way].push(flow, bytes, performance.now());
      this.#pump(way);
    });
    socket.on("end", () => {
      this.#step(end, "end");
    });
    socket.on("drain", () => {
      this.#regulate(other(way));
    });
    socket.on("error", () => undefined);
    socket.on("close", (failed) => {
      if (this.#ends[other(way)].get(flow) !== end) return;
      this.#ends[other(way)].delete(flow);
      if (failed) this.#step(end, "reset");
    });
  }

  #step({ flow, way }: End, kind: Exclude<Segment["kind"], "data">): void {
    this.#directions[way].pushStep(flow, kind, performance.now());
    this.#pump(way);
  }

  /** Delivers what has arrived, and comes back when more does. */
  #pump(way: LinkWay): void {
    // What is called from here may change the link; the loop goes on with what that lets through.
    if (this.#pumping.has(way)) return;
    this.#pumping.add(way);
    clearTimeout(this.#timers[way]);
    const direction = this.#directions[way];
    let arrived = direction.arrivals(performance.now());
    while (arrived.length > 0) {
      for (const segment of arrived) this.#deliver(way, segment);
      arrived = direction.arrivals(performance.now());
    }
    this.#pumping.delete(way);
    this.#regulate("ab");
    this.#regulate("ba");
    const nextAt = direction.nextAt();
    if (nextAt === undefined || this.#closed) return;
    this.#timers[way] = setTimeout(
      () => {
        this.#pump(way);
      },
      Math.max(0, Math.ceil(nextAt - performance.now())),
    );
  }

  #deliver(way: LinkWay, { flow, kind, bytes }: Segment): void {
    const end = this.#ends[way].get(flow);
    // It broke, and the other end will hear of that.
    if (end === undefined) return;
    switch (kind) {
      case "open":
        this.#dial(end);
        break;
      case "accepted":
        end.established = true;
        break;
      case "data":
        this.#onData?.(way, bytes, flow);
        end.socket?.write(bytes);
        break;
      case "end":
        end.socket?.end();
        break;
      case "reset":
        this.#ends[way].delete(flow);
        this.#directions[other(way)].forget(flow);
        breakOff(end.socket);
        break;
    }
  }

  #dial(end: End): void {
    if (end.target === undefined) return;
    const socket = createConnection({ ...end.target, allowHalfOpen: true });
    this.#attach(end, socket);
    socket.once("connect", () => {
      end.established = true;
      this.#step(end, "accepted");
    });
  }

  /** Stops and starts whoever sends this way: by what waits for the link, and by what the other end has not read. */
  #regulate(way: LinkWay): void {
    const { isFull } = this.#directions[way];
    for (const [flow, { socket, established }] of this.#ends[other(way)]) {
      if (socket === undefined || socket.connecting) continue;
      const unread = this.#ends[way].get(flow)?.socket?.writableLength ?? 0;
      const stop = isFull || !established || unread > UNREAD_BYTES;
      if (stop && !socket.isPaused()) socket.pause();
      else if (!stop && socket.isPaused()) socket.resume();
    }
  }
}

/** Creates a link without connections. */
export function createLinkEmulator(options: LinkOptions = {}): LinkEmulator {
  return new Emulator(options);
}
