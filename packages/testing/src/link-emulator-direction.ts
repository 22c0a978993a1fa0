// SPDX-License-Identifier: Apache-2.0
/** One direction of an emulated link, without clock and sockets: what is pushed in comes out later, in order. */
import type { RandomSource } from "@ctxmesh/model";

/** How one direction of a link treats what is sent over it. */
export interface LinkSettings {
  /** Time that every segment is under way, in milliseconds. */
  readonly delayMs: number;
  /** Up to so many milliseconds more, evenly spread. Segments of one connection never overtake each other. */
  readonly jitterMs: number;
  /** Bytes of all connections together that the link takes per second; `Infinity` for no limit. */
  readonly bytesPerSecond: number;
  /** Bytes that may wait for the link before senders are stopped, unless one piece alone is larger. */
  readonly queueBytes: number;
  /**
   * Probability that a segment is lost, at most 0.5. TCP sends it again after max(200 ms, 2 x `delayMs`), doubled each time
   * that it is lost again (RFC 6298); its connection stalls until then.
   */
  readonly loss: number;
  /** Whether nothing passes, without a word. What TCP would send again arrives once it is over. */
  readonly blocked: boolean;
}

/** A link without any faults. */
export const PERFECT_LINK: LinkSettings = {
  delayMs: 0,
  jitterMs: 0,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  queueBytes: 65_536,
  loss: 0,
  blocked: false,
};

/** Data, or a step in the life of a connection: dialled, accepted, no more data, broken. */
export type SegmentKind = "open" | "accepted" | "data" | "end" | "reset";

/** What travels. `bytes` is empty unless it is data. */
export interface Segment {
  /** Number of the connection. */
  readonly flow: number;
  readonly kind: SegmentKind;
  readonly bytes: Uint8Array;
}

/** What one direction has done so far. */
export interface DirectionCounters {
  /** Data that has come out at the far end. */
  readonly bytes: number;
  /** Segments that were lost, counted each time. */
  readonly lost: number;
  /** Bytes that wait for the link now. */
  readonly queuedBytes: number;
}

/** Data in one packet on a path with an MTU of 1,500, less what tunnels take. */
export const SEGMENT_BYTES = 1_400;
/** Bytes under way, beyond which senders are stopped: a large TCP window. */
const WINDOW_BYTES = 4_194_304;
const LEAST_RETRANSMISSION_MS = 200;
const MOST_LOSSES = 6;
const NOTHING = new Uint8Array();

interface Waiting extends Segment {
  readonly pushedAt: number;
}

interface UnderWay extends Segment {
  arrivesAt: number;
}

/**
 * One direction. All times are milliseconds on a clock of the caller's, and never go back. Headers of packets are not counted,
 * and TCP's congestion window is not modelled: a stall is the only thing that a loss costs.
 */
export class LinkDirection {
  readonly #random: RandomSource;
  #settings: LinkSettings;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  /** By connection, in order. */
  readonly #underWay = new Map<number, UnderWay[]>();
  #underWayBytes = 0;
  /** When the link has put the last segment on the wire. */
  #freeAt = Number.NEGATIVE_INFINITY;
  #passedBytes = 0;
  #lost = 0;

  constructor(settings: LinkSettings, random: RandomSource) {
    this.#settings = checked(settings);
    this.#random = random;
  }

  get settings(): LinkSettings {
    return this.#settings;
  }

  get counters(): DirectionCounters {
    return { bytes: this.#passedBytes, lost: this.#lost, queuedBytes: this.#waitingBytes };
  }

  /** Whether senders must wait. */
  get isFull(): boolean {
    return this.#waitingBytes >= this.#settings.queueBytes || this.#underWayBytes >= WINDOW_BYTES;
  }

  /** Changes settings; they hold for all that is not on the wire yet. Throws `RangeError`. */
  set(changes: Partial<LinkSettings>, now: number): void {
    this.#depart(now);
    const before = this.#settings;
    this.#settings = checked({ ...before, ...changes });
    if (!before.blocked || this.#settings.blocked) return;
    // Nothing was sent while the link was blocked; what was under way then is sent again.
    this.#freeAt = Math.max(this.#freeAt, now);
    for (const segments of this.#underWay.values()) {
      for (const segment of segments) {
        segment.arrivesAt = Math.max(segment.arrivesAt, now + this.#settings.delayMs);
      }
    }
  }

  /** Takes data of a connection, in segments of at most {@link SEGMENT_BYTES}. The bytes must not change afterwards. */
  push(flow: number, bytes: Uint8Array, now: number): void {
    for (let from = 0; from < bytes.length; from += SEGMENT_BYTES) {
      const part = bytes.subarray(from, from + SEGMENT_BYTES);
      this.#waiting.push({ flow, kind: "data", bytes: part, pushedAt: now });
      this.#waitingBytes += part.length;
    }
    this.#depart(now);
  }

  /** Takes a step in the life of a connection, which arrives behind the data before it. */
  pushStep(flow: number, kind: Exclude<SegmentKind, "data">, now: number): void {
    this.#waiting.push({ flow, kind, bytes: NOTHING, pushedAt: now });
    this.#depart(now);
  }

  /** Removes and returns what has arrived by now: of each connection in the order in which it was pushed. */
  arrivals(now: number): Segment[] {
    this.#depart(now);
    if (this.#settings.blocked) return [];
    const arrived: UnderWay[] = [];
    for (const [flow, segments] of this.#underWay) {
      const later = segments.findIndex(({ arrivesAt }) => arrivesAt > now);
      arrived.push(...segments.splice(0, later < 0 ? segments.length : later));
      if (segments.length === 0) this.#underWay.delete(flow);
    }
    for (const { bytes } of arrived) {
      this.#underWayBytes -= bytes.length;
      this.#passedBytes += bytes.length;
    }
    return arrived.toSorted((a, b) => a.arrivesAt - b.arrivesAt);
  }

  /** When to look again, if anything will happen by itself. */
  nextAt(): number | undefined {
    if (this.#settings.blocked) return undefined;
    const [head] = this.#waiting;
    const firsts = Array.from(
      this.#underWay.values(),
      ([first]) => first?.arrivesAt ?? Number.POSITIVE_INFINITY,
    );
    if (head !== undefined) firsts.push(Math.max(this.#freeAt, head.pushedAt));
    return firsts.length === 0 ? undefined : Math.min(...firsts);
  }

  /** Drops whatever a connection has here. */
  forget(flow: number): void {
    const kept = this.#waiting.filter((segment) => segment.flow !== flow);
    this.#waiting = kept;
    this.#waitingBytes = kept.reduce((sum, { bytes }) => sum + bytes.length, 0);
    for (const { bytes } of this.#underWay.get(flow) ?? []) this.#underWayBytes -= bytes.length;
    this.#underWay.delete(flow);
  }

  /** Puts on the wire what the link was free for by now. */
  #depart(now: number): void {
    if (this.#settings.blocked) return;
    let count = 0;
    for (const segment of this.#waiting) {
      const start = Math.max(this.#freeAt, segment.pushedAt);
      if (start > now) break;
      count += 1;
      this.#waitingBytes -= segment.bytes.length;
      this.#freeAt = start + (segment.bytes.length / this.#settings.bytesPerSecond) * 1_000;
      this.#send(segment, this.#freeAt);
    }
    this.#waiting.splice(0, count);
  }

  #send({ flow, kind, bytes }: Segment, sentAt: number): void {
    const { delayMs, jitterMs } = this.#settings;
    const segments = this.#underWay.get(flow) ?? [];
    const behind = segments.at(-1)?.arrivesAt ?? Number.NEGATIVE_INFINITY;
    const jitter = jitterMs === 0 ? 0 : jitterMs * this.#chance();
    const arrivesAt = Math.max(behind, sentAt + delayMs + jitter + this.#stallMs());
    segments.push({ flow, kind, bytes, arrivesAt });
    this.#underWay.set(flow, segments);
    this.#underWayBytes += bytes.length;
  }

  #stallMs(): number {
    const { loss, delayMs } = this.#settings;
    if (loss === 0) return 0;
    let stall = 0;
    let wait = Math.max(LEAST_RETRANSMISSION_MS, 2 * delayMs);
    for (let i = 0; i < MOST_LOSSES; i++) {
      if (this.#chance() >= loss) break;
      this.#lost += 1;
      stall += wait;
      wait *= 2;
    }
    return stall;
  }

  /** From 0, and below 1. */
  #chance(): number {
    return Buffer.from(this.#random.bytes(4)).readUInt32LE() / 2 ** 32;
  }
}

function checked(settings: LinkSettings): LinkSettings {
  const { delayMs, jitterMs, bytesPerSecond, queueBytes, loss } = settings;
  const fits =
    delayMs >= 0 &&
    jitterMs >= 0 &&
    bytesPerSecond > 0 &&
    queueBytes > 0 &&
    loss >= 0 &&
    loss <= 0.5;
  if (fits) return settings;
  throw new RangeError(`not the settings of a link: ${JSON.stringify(settings)}`);
}
