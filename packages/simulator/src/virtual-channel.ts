// SPDX-License-Identifier: Apache-2.0
/** A channel over two lines, with the backpressure and the close rules of the port. */
import type { Channel, Remote } from "@ctxmesh/model";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { Line } from "./virtual-network.ts";

/** Bytes on their way to one end above which its sender waits, as a socket's buffers would make it. */
const HIGH_WATER_BYTES = 262_144;
/** How long a message that ran into a cut or clogged line waits before it is tried again. */
const RETRY_MS = 1_000;

/** A process at one end of a channel. */
export interface Endpoint {
  /** Of the machine. */
  readonly id: string;
  /** Has the machine do something, at once unless it stands still. */
  deliver(run: () => void): void;
}

/** What drives a connection. */
export interface ConnectionDriver {
  nowMs(): number;
  after(delayMs: number, run: () => void): void;
  /** A message arrived at an end. */
  delivered(message: Uint8Array): void;
  over(connection: Connection): void;
}

/** A message on its way, or the word that no more follow. */
type Packet = Uint8Array | "end";

const closed = (): MeshError => new MeshError("CLOSED", "the channel is closed");

/** One end. */
export class ChannelEnd implements Channel {
  readonly remote: Remote;
  readonly endpoint: Endpoint;
  readonly #send: Way;
  readonly #driver: ConnectionDriver;
  readonly #onEnded: () => void;
  #otherWay: Way | undefined;
  #received: Uint8Array[] = [];
  #wakeReceiver: (() => void) | undefined;
  #state: "open" | "draining" | "ended" | "dead" = "open";
  #listeners: (() => void)[] = [];

  constructor(
    driver: ConnectionDriver,
    endpoint: Endpoint,
    remote: Remote,
    send: Way,
    onEnded: () => void,
  ) {
    this.#driver = driver;
    this.endpoint = endpoint;
    this.remote = remote;
    this.#send = send;
    this.#onEnded = onEnded;
  }

  /** Whether nothing comes or goes any more. */
  get isOver(): boolean {
    return this.#state === "ended" || this.#state === "dead";
  }

  get bufferedBytes(): number {
    return this.#send.bytes;
  }

  /** Bytes that came and were not read. */
  get unreadBytes(): number {
    return this.#received.reduce((sum, { length }) => sum + length, 0);
  }

  async send(message: Uint8Array): Promise<void> {
    if (message.length > LIMITS.syncMessageBytes) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `a message of ${String(message.length)} bytes is over the limit of ${String(LIMITS.syncMessageBytes)} (syncMessageBytes)`,
      );
    }
    if (this.#state !== "open") throw closed();
    this.#send.push(message.slice());
    while (this.#send.bytes >= HIGH_WATER_BYTES) {
      await this.#send.room();
      if (this.#state !== "open") throw closed();
    }
  }

  async *receive(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const message = this.#received.shift();
      if (message !== undefined) {
        this.#otherWay?.read(message.length);
        yield message;
      } else if (this.#state !== "open") {
        this.#finish();
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wakeReceiver = resolve;
        });
        this.#wakeReceiver = undefined;
      }
    }
  }

  /** The way by which messages come. */
  attach(way: Way): void {
    this.#otherWay = way;
  }

  /** A packet came out of the line. */
  arrive(packet: Packet): void {
    this.endpoint.deliver(() => {
      this.#take(packet);
    });
  }

  #take(packet: Packet): void {
    if (this.#state !== "open") return;
    if (packet === "end") {
      this.#state = "draining";
      this.#send.drop();
      if (this.#received.length === 0) this.#finish();
    } else {
      this.#driver.delivered(packet);
      this.#received.push(packet);
    }
    this.#wakeReceiver?.();
  }

  close(): Promise<void> {
    if (this.#state === "open") {
      this.#send.push("end");
      this.#end();
    } else if (this.#state === "draining") {
      this.#end();
    }
    return Promise.resolve();
  }

  /** The connection is gone, as this end finds: what it had not read is lost. The other end hears of it when the line lets it. */
  break(): void {
    this.endpoint.deliver(() => {
      if (this.isOver) return;
      this.#send.drop();
      this.#send.push("end");
      this.#end();
    });
  }

  /** The process at this end is gone: nobody here hears of anything any more. */
  kill(): void {
    if (this.#state === "dead") return;
    this.#state = "dead";
    this.#send.drop();
    this.#received = [];
    this.#listeners = [];
    this.#onEnded();
  }

  /** Calls `listener` once nothing comes or goes any more. */
  onOver(listener: () => void): void {
    this.#listeners.push(listener);
  }

  #end(): void {
    this.#received = [];
    this.#wakeReceiver?.();
    this.#finish();
  }

  #finish(): void {
    if (this.isOver) return;
    this.#state = "ended";
    this.#send.wakeAll();
    this.#onEnded();
    for (const listener of this.#listeners.splice(0)) listener();
  }
}

/** One direction of a connection: packets in order, each out of the line when it is its turn and the line lets it. */
export class Way {
  readonly #driver: ConnectionDriver;
  readonly line: Line;
  readonly #to: () => ChannelEnd;
  #packets: { readonly packet: Packet; atMs: number }[] = [];
  #bytes = 0;
  #waiting = false;
  #wakeSenders: (() => void)[] = [];

  constructor(driver: ConnectionDriver, line: Line, to: () => ChannelEnd) {
    this.#driver = driver;
    this.line = line;
    this.#to = to;
  }

  /** Sent and not read. */
  get bytes(): number {
    return this.#bytes;
  }

  push(packet: Packet): void {
    const length = packet === "end" ? 0 : packet.length;
    this.#bytes += length;
    // One that comes out before an earlier one waits behind it.
    this.#packets.push({ packet, atMs: this.line.arrivalMs(this.#driver.nowMs(), length) });
    this.#wait();
  }

  /** Tries again what a line held up. */
  retransmit(delayMs: number): void {
    const first = this.#packets[0];
    if (first === undefined) return;
    first.atMs = Math.max(first.atMs, this.#driver.nowMs() + delayMs);
  }

  #wait(): void {
    const first = this.#packets[0];
    if (first === undefined || this.#waiting) return;
    this.#waiting = true;
    this.#driver.after(first.atMs - this.#driver.nowMs(), () => {
      this.#waiting = false;
      this.#comeOut();
    });
  }

  #comeOut(): void {
    const nowMs = this.#driver.nowMs();
    const { isCut, cloggedUntilMs } = this.line;
    const first = this.#packets[0];
    if (first === undefined) return;
    if (isCut || cloggedUntilMs > nowMs) {
      first.atMs = Math.max(nowMs + (isCut ? RETRY_MS : 0), cloggedUntilMs);
    } else {
      // All that is due by now comes out together.
      while (this.#packets[0] !== undefined && this.#packets[0].atMs <= nowMs) {
        const due = this.#packets.shift();
        if (due !== undefined) this.#to().arrive(due.packet);
      }
    }
    this.#wait();
  }

  /** The other end has read so many bytes. */
  read(bytes: number): void {
    // What was in flight when it broke is read as well.
    this.#bytes = Math.max(0, this.#bytes - bytes);
    if (this.#bytes < HIGH_WATER_BYTES) this.wakeAll();
  }

  /** What is in flight is lost. */
  drop(): void {
    this.#packets = [];
    this.#bytes = 0;
    this.wakeAll();
  }

  /** Resolves when there may be room. */
  async room(): Promise<void> {
    return new Promise((resolve) => {
      this.#wakeSenders.push(resolve);
    });
  }

  wakeAll(): void {
    for (const wake of this.#wakeSenders.splice(0)) wake();
  }
}

type Side = readonly [endpoint: Endpoint, line: Line, sees: Remote];

/** Two connected ends. */
export class Connection {
  readonly a: ChannelEnd;
  readonly b: ChannelEnd;
  readonly #driver: ConnectionDriver;
  readonly #ways: readonly [Way, Way];

  constructor(driver: ConnectionDriver, [a, forth, aSees]: Side, [b, back, bSees]: Side) {
    this.#driver = driver;
    const toB = new Way(driver, forth, () => this.b);
    const toA = new Way(driver, back, () => this.a);
    this.#ways = [toB, toA];
    const ended = (): void => {
      if (this.a.isOver && this.b.isOver) driver.over(this);
    };
    this.a = new ChannelEnd(driver, a, aSees, toB, ended);
    this.b = new ChannelEnd(driver, b, bSees, toA, ended);
    this.a.attach(toA);
    this.b.attach(toB);
  }

  uses(line: Line): boolean {
    return this.#ways.some((way) => way.line === line);
  }

  /** Whether either direction is cut. */
  isCut(): boolean {
    return this.#ways.some((way) => way.line.isCut);
  }

  joins(a: string, b: string): boolean {
    const [one, other] = [this.a.endpoint.id, this.b.endpoint.id];
    return (one === a && other === b) || (one === b && other === a);
  }

  /** The end of a process, and the one away from it. */
  endsOf(endpoint: Endpoint): readonly [own: ChannelEnd, other: ChannelEnd] | undefined {
    if (this.a.endpoint === endpoint) return [this.a, this.b];
    return this.b.endpoint === endpoint ? [this.b, this.a] : undefined;
  }

  /** A mended line: what it held up is sent again soon. */
  retransmit(delayMs: number): void {
    for (const way of this.#ways) way.retransmit(delayMs);
  }

  /** Both ends find the connection gone, each at a time of its own. */
  reset(aAfterMs: number, bAfterMs: number): void {
    for (const way of this.#ways) way.drop();
    this.#driver.after(aAfterMs, () => {
      this.a.break();
    });
    this.#driver.after(bAfterMs, () => {
      this.b.break();
    });
  }
}
