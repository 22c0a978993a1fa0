// SPDX-License-Identifier: Apache-2.0
/**
 * Lines between machines, one for each direction. Channels over them are reliable and ordered, as TCP and what is built on
 * it are: a lost packet is a stall until it was sent again, a line that is cut holds everything up until it is whole again, or
 * until one end has waited too long and gives up, which the other end may not hear of for a while.
 */
import type { Remote } from "@ctxmesh/model";
import type { Dice } from "./dice.ts";
import { Connection } from "./virtual-channel.ts";
import type { ChannelEnd, Endpoint } from "./virtual-channel.ts";

/** What a line is like on a good day. */
export interface LineQuality {
  /** One way, in milliseconds. */
  readonly latencyMs: number;
  /** Up to this much more for each message. */
  readonly jitterMs: number;
  /** Probability that a message stalls until it was sent again. */
  readonly loss: number;
  /** Bytes that go out in a millisecond. */
  readonly bytesPerMs: number;
}

/** One direction between two machines. */
export class Line {
  readonly from: string;
  readonly to: string;
  readonly good: LineQuality;
  readonly dice: Dice;
  /** What it is like now. */
  quality: LineQuality;
  /** Packets vanish. */
  isCut = false;
  /** How often it was cut. */
  cuts = 0;
  /** Nothing comes out before this time. */
  cloggedUntilMs = 0;
  /** When the last bytes are out on the wire. */
  busyUntilMs = 0;

  constructor(from: string, to: string, quality: LineQuality, dice: Dice) {
    this.from = from;
    this.to = to;
    this.good = quality;
    this.quality = quality;
    this.dice = dice;
  }

  /** When a message that is sent now comes out, as far as the line knows now. */
  arrivalMs(nowMs: number, bytes: number): number {
    const { latencyMs, jitterMs, loss, bytesPerMs } = this.quality;
    this.busyUntilMs = Math.max(nowMs, this.busyUntilMs) + bytes / bytesPerMs;
    let stallMs = 0;
    for (let wait = MIN_RTO_MS; wait < MAX_RTO_MS && this.dice.chance(loss); wait *= 2) {
      stallMs += wait;
    }
    return this.busyUntilMs + latencyMs + jitterMs * this.dice.float() + stallMs;
  }
}

/** Bounds of the time after which TCP sends again. */
const MIN_RTO_MS = 200;
const MAX_RTO_MS = 6_400;
/** An end that hears nothing for about this long gives up, as the transports' pings make it. */
const SILENCE_MIN_MS = 10_000;
const SILENCE_MAX_MS = 30_000;

const RECENT = 256;

/** Counters of what the network did. */
export interface NetworkCounts {
  readonly messages: number;
  readonly bytes: number;
  readonly stalled: number;
  readonly resets: number;
}

/** What the network needs of the simulation. */
export interface NetworkHost {
  nowMs(): number;
  after(delayMs: number, run: () => void): void;
}

/** All lines and the channels over them. */
export class VirtualNetwork {
  readonly #host: NetworkHost;
  readonly #dice: Dice;
  readonly #lines = new Map<string, Line>();
  readonly #connections = new Set<Connection>();
  /** Some of the messages that came out of a line last, for whoever listens there. */
  readonly recent: Uint8Array[] = [];
  #messages = 0;
  #bytes = 0;
  #stalled = 0;
  #resets = 0;

  constructor(host: NetworkHost, dice: Dice) {
    this.#host = host;
    this.#dice = dice;
  }

  /** Lays a line in each direction. */
  connect(a: string, b: string, quality: LineQuality): void {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const id = `${from}>${to}`;
      this.#lines.set(id, new Line(from, to, quality, this.#dice.fork(id)));
    }
  }

  /** The line of one direction, if there is one. */
  line(from: string, to: string): Line | undefined {
    return this.#lines.get(`${from}>${to}`);
  }

  /** All lines, in the order in which they were laid. */
  lines(): Iterable<Line> {
    return this.#lines.values();
  }

  /** Open channels, one for each two ends. */
  get connections(): number {
    return this.#connections.size;
  }

  counts(): NetworkCounts {
    const [messages, bytes, stalled, resets] = [
      this.#messages,
      this.#bytes,
      this.#stalled,
      this.#resets,
    ];
    return { messages, bytes, stalled, resets };
  }

  /** Opens a channel between two machines that have a line; `aSees` is what the channel of `a` shows of `b`. */
  open(a: Endpoint, b: Endpoint, aSees: Remote, bSees: Remote): readonly [ChannelEnd, ChannelEnd] {
    const forth = this.#lineOf(a, b);
    const back = this.#lineOf(b, a);
    const connection = new Connection(this.#driver(), [a, forth, aSees], [b, back, bSees]);
    this.#connections.add(connection);
    return [connection.a, connection.b];
  }

  #lineOf(from: Endpoint, to: Endpoint): Line {
    const line = this.line(from.id, to.id);
    if (line === undefined) throw new Error(`no line from ${from.id} to ${to.id}`);
    return line;
  }

  #driver(): ConstructorParameters<typeof Connection>[0] {
    return {
      nowMs: () => this.#host.nowMs(),
      after: (delayMs, run) => {
        this.#host.after(delayMs, run);
      },
      delivered: (message) => {
        this.recent[this.#messages % RECENT] = message;
        this.#messages += 1;
        this.#bytes += message.length;
      },
      over: (connection) => this.#connections.delete(connection),
    };
  }

  /** Cuts one direction, or mends it. Ends that hear nothing give up after a while. */
  setCut(from: string, to: string, isCut: boolean): void {
    const line = this.line(from, to);
    if (line === undefined || line.isCut === isCut) return;
    line.isCut = isCut;
    if (isCut) line.cuts += 1;
    const { cuts } = line;
    // Of a line that was whole in between, the ends have heard something.
    const isSameCut = (): boolean => line.isCut && line.cuts === cuts;
    for (const connection of this.#connections) {
      if (!connection.uses(line)) continue;
      if (isCut) this.#giveUpLater(connection, isSameCut);
      else connection.retransmit(this.#dice.between(0, MIN_RTO_MS));
    }
  }

  /** Nothing comes out of one direction for a while. */
  clog(from: string, to: string, forMs: number): void {
    const line = this.line(from, to);
    if (line === undefined) return;
    line.cloggedUntilMs = Math.max(line.cloggedUntilMs, this.#host.nowMs() + forMs);
    this.#stalled += 1;
  }

  /** Breaks the channels between two machines; what is in flight is lost. Returns how many. */
  reset(a: string, b: string): number {
    let broken = 0;
    for (const connection of this.#connections) {
      if (!connection.joins(a, b)) continue;
      connection.reset(this.#dice.between(0, 50), this.#dice.between(0, 50));
      broken += 1;
    }
    this.#resets += broken;
    return broken;
  }

  /**
   * A machine or its process is gone. Of a process the kernel tells the other ends; of a machine without power nobody
   * does, so they give up after a while.
   */
  vanish(endpoint: Endpoint, tells: boolean): void {
    for (const connection of this.#connections) {
      const ends = connection.endsOf(endpoint);
      if (ends === undefined) continue;
      const [own, other] = ends;
      own.kill();
      this.#host.after(tells ? this.#dice.between(1, 100) : this.#silenceMs(), () => {
        other.break();
      });
    }
  }

  /** The other ends of a machine that stands still give up after a while, if it still does. */
  silence(endpoint: Endpoint, isSilent: () => boolean): void {
    for (const connection of this.#connections) {
      if (connection.endsOf(endpoint) !== undefined) this.#giveUpLater(connection, isSilent);
    }
  }

  #giveUpLater(connection: Connection, stillSilent: () => boolean): void {
    for (const end of [connection.a, connection.b]) {
      this.#host.after(this.#silenceMs(), () => {
        if (stillSilent()) end.break();
      });
    }
  }

  #silenceMs(): number {
    return this.#dice.between(SILENCE_MIN_MS, SILENCE_MAX_MS);
  }

  /** Every line is as on a good day again. */
  heal(): void {
    for (const line of this.#lines.values()) {
      line.quality = line.good;
      line.cloggedUntilMs = 0;
      this.setCut(line.from, line.to, false);
    }
  }
}
