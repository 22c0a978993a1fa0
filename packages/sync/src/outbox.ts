// SPDX-License-Identifier: Apache-2.0
/**
 * What waits to be sent over one link, by class. Control messages go before urgent batches, those before the usual ones, and what can wait
 * goes last; but whatever waits gets its share (`LINK_SHARES`), and nothing stands at the head of its class for longer than
 * `LIMITS.linkStarvationMs` while others go. Within a class the order is kept, and so it is within a chain, which has one class.
 *
 * The queue is short: pushes that find no room are told of instead, and the peer pulls them when the link has time. The log is the queue.
 */
import { LIMITS } from "@ctxmesh/model";
import type { LinkClass, LinkQueue } from "@ctxmesh/model";
import { chainKey } from "./chain-map.ts";
import { LINK_CLASSES, LINK_SHARES } from "./link-class.ts";
import type { Queued } from "./link-class.ts";
import { PART_OVERHEAD, encodePart } from "./link-parts.ts";
import type { ChainSeq } from "./messages.ts";
import { Pacer } from "./pacer.ts";

/** The shortest part of a message, in bytes; shorter ones would be mostly overhead. */
const PART_BYTES = 1_024;
/** The longest part, as a time of the budget: what is urgent waits for no more than one. */
const PART_MS = 250;
/** The least that a class's queue holds on a link with a budget, in bytes. */
const QUEUE_BYTES = 16_384;

/** What an outbox works with. */
export interface OutboxOptions {
  /** Hands bytes to the channel; resolves when it is ready for more. */
  readonly send: (bytes: Uint8Array) => Promise<void>;
  readonly now: () => number;
  /** Bytes per second; without it only the channel holds anything up. */
  readonly budget: number | undefined;
  /** The channel is broken. */
  readonly failed: (error: unknown) => void;
}

interface Entry extends Queued {
  readonly bytes: Uint8Array;
  /** How much of it was sent. */
  sent: number;
  /** Calls made once the channel took it. */
  readonly taken: (() => void)[];
}

/** The queue of one class. */
class ClassQueue {
  readonly entries: Entry[] = [];
  /** Not sent yet. */
  bytes = 0;
  /** What it may send before those in front of it, since they were sent while it waited. */
  credit = 0;
  /** Since when the head stands there, Unix milliseconds. */
  headSinceMs = 0;
}

/** Queues what is to be sent, and hands it to the channel in its turn. Nothing here has a timer: call {@link pump} as time passes. */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #queues = new Map(LINK_CLASSES.map((name) => [name, new ClassQueue()]));
  #pacer: Pacer | undefined;
  /** Handed to the channel, which has not taken it. */
  #ahead = 0;
  #lastSent: Promise<void> = Promise.resolve();
  #owed = 0;
  #closed = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
    const { budget, now } = options;
    if (budget !== undefined) this.#pacer = new Pacer(budget, now());
  }

  /** Bytes per second that the link may take. */
  get budget(): number | undefined {
    return this.#options.budget;
  }

  #queue(name: LinkClass): ClassQueue {
    const queue = this.#queues.get(name);
    if (queue === undefined) throw new Error(`no class ${name}`);
    return queue;
  }

  /** Bytes that wait, or were handed over and not taken. */
  get bytes(): number {
    return this.#ahead + this.waitingBytes;
  }

  /** Bytes that wait. */
  get waitingBytes(): number {
    let bytes = 0;
    for (const queue of this.#queues.values()) bytes += queue.bytes;
    return bytes;
  }

  /** Bytes of messages that wait and are no pushes: answers, and what keeps the peers in step. */
  get owedBytes(): number {
    return this.#owed;
  }

  /** What waits in each class. */
  report(): Record<LinkClass, LinkQueue> {
    const of = (name: LinkClass): LinkQueue => {
      const { entries, bytes } = this.#queue(name);
      return { messages: entries.length, bytes };
    };
    return { control: of("control"), high: of("high"), normal: of("normal"), low: of("low") };
  }

  /** Whether a push of so many bytes finds room in its class. An empty queue has room for one. */
  hasRoom(name: LinkClass, bytes: number): boolean {
    const queue = this.#queue(name);
    return queue.entries.length === 0 || queue.bytes + bytes <= this.#mostBytes;
  }

  get #mostBytes(): number {
    const { budget } = this.#options;
    return budget === undefined
      ? LIMITS.linkQueueBytes
      : Math.max(QUEUE_BYTES, (budget * LIMITS.linkQueueMs) / 1_000);
  }

  /** Queues a message. */
  post(bytes: Uint8Array, queued: Queued): void {
    if (this.#closed) return;
    this.#insert({ ...queued, bytes, sent: 0, taken: [] });
    this.pump();
  }

  /**
   * Queues an answer in the place of the pushes of its class that it holds, so that nothing is sent twice: those of each chain up to
   * the seq that `upTo` says.
   */
  postInstead(bytes: Uint8Array, queued: Queued, upTo: readonly ChainSeq[]): void {
    if (this.#closed) return;
    const seqs = new Map(upTo.map((head) => [chainKey(head), head.seq]));
    const queue = this.#queue(queued.class);
    const isHeld = ({ push, sent }: Entry): boolean =>
      push !== undefined && sent === 0 && push.seq <= (seqs.get(chainKey(push)) ?? 0);
    const place = queue.entries.findIndex(isHeld);
    if (place !== -1) {
      const kept = queue.entries.filter((entry) => !isHeld(entry));
      queue.entries.splice(0, queue.entries.length, ...kept);
      queue.bytes = kept.reduce((sum, entry) => sum + entry.bytes.length - entry.sent, 0);
    }
    this.#insert({ ...queued, bytes, sent: 0, taken: [] }, place === -1 ? undefined : place);
    this.pump();
  }

  #insert(entry: Entry, place?: number): void {
    const queue = this.#queue(entry.class);
    if (queue.entries.length === 0) {
      queue.headSinceMs = this.#options.now();
      queue.credit = 0;
    }
    queue.entries.splice(place ?? queue.entries.length, 0, entry);
    queue.bytes += entry.bytes.length;
    if (entry.push === undefined) this.#owed += entry.bytes.length;
  }

  /** Sends what may be sent by now. */
  pump(): void {
    while (!this.#closed) {
      const nowMs = this.#options.now();
      if (this.#pacer?.isOpen(nowMs) === false) return;
      const name = this.#next(nowMs);
      const entry = name === undefined ? undefined : this.#queue(name).entries[0];
      if (name === undefined || entry === undefined) return;
      const size = this.#pieceOf(entry);
      if (this.#ahead > 0 && this.#ahead + size > LIMITS.linkAheadBytes) return;
      this.#sendFrom(name, entry, size, nowMs);
    }
  }

  /** How much of a class's head goes next. */
  #pieceOf({ bytes, sent }: Entry): number {
    const left = bytes.length - sent;
    if (this.#pacer === undefined) return left;
    const most = Math.max(PART_BYTES, (this.#pacer.budget * PART_MS) / 1_000) - PART_OVERHEAD;
    return Math.min(left, most);
  }

  /** The class whose turn it is. */
  #next(nowMs: number): LinkClass | undefined {
    const waiting = LINK_CLASSES.filter((name) => this.#queue(name).entries.length > 0);
    if (waiting.length < 2) return waiting[0];
    const starving = waiting.find(
      (name) => Math.abs(nowMs - this.#queue(name).headSinceMs) > LIMITS.linkStarvationMs,
    );
    const due = waiting.find((name, i) => {
      const { credit, entries } = this.#queue(name);
      return i > 0 && entries[0] !== undefined && credit >= this.#pieceOf(entries[0]);
    });
    return starving ?? due ?? waiting[0];
  }

  #sendFrom(name: LinkClass, entry: Entry, size: number, nowMs: number): void {
    const queue = this.#queue(name);
    const isWhole = size === entry.bytes.length;
    const piece = entry.bytes.subarray(entry.sent, entry.sent + size);
    entry.sent += size;
    queue.bytes -= size;
    queue.headSinceMs = nowMs;
    const isLast = entry.sent === entry.bytes.length;
    if (isLast) queue.entries.shift();
    if (isLast && entry.push === undefined) this.#owed -= entry.bytes.length;
    this.#credit(name, size);
    const message = isWhole ? piece : encodePart(LINK_CLASSES.indexOf(name), isLast, piece);
    this.#hand(message, isLast ? entry.taken : []);
  }

  /** Bytes of a class go: those that wait meanwhile get their share of the next ones. */
  #credit(sent: LinkClass, bytes: number): void {
    for (const [name, queue] of this.#queues) {
      if (name === sent) queue.credit = Math.max(0, queue.credit - bytes);
      else if (queue.entries.length > 0) queue.credit += bytes * LINK_SHARES[name];
    }
  }

  #hand(message: Uint8Array, taken: readonly (() => void)[]): void {
    this.#ahead += message.length;
    this.#pacer?.spend(message.length);
    this.#lastSent = this.#options
      .send(message)
      .catch(this.#options.failed)
      .finally(() => {
        this.#ahead -= message.length;
        for (const done of taken) done();
        this.pump();
      });
  }

  /** Resolves when the channel took what is queued now, of one class or of all; or when the outbox is closed. */
  async flushed(classes: readonly LinkClass[] = LINK_CLASSES): Promise<void> {
    const waits = classes.flatMap((name) => {
      const last = this.#queue(name).entries.at(-1);
      return last === undefined
        ? []
        : [
            new Promise<void>((resolve) => {
              last.taken.push(resolve);
            }),
          ];
    });
    await Promise.all(waits);
    await this.#lastSent;
  }

  /** The rest goes without regard to the budget: the link is about to be closed, and what is queued is little. */
  lift(): void {
    this.#pacer = undefined;
    this.pump();
  }

  /** Gives up what is queued. */
  close(): void {
    this.#closed = true;
    for (const queue of this.#queues.values()) {
      for (const { taken } of queue.entries.splice(0)) for (const done of taken) done();
      queue.bytes = 0;
    }
  }
}
