// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import type { Channel, Hlc, LinkReport } from "@ctxmesh/model";
import { withoutExpired } from "./expired.ts";
import { Assembly } from "./link-parts.ts";
import { classOfLane, placeOf } from "./link-class.ts";
import { Outbox } from "./outbox.ts";
import { Meter } from "./pacer.ts";

/** The least that one answer to a pull carries on a link with a budget, in bytes. */
const CHUNK_BYTES = 4_096;
/** What it carries otherwise, as a time of the budget. */
const CHUNK_MS = 1_000;
/** A link with more than that to send, as a time, is busy: it is not told of each batch, and what is written shares batches. */
const BUSY_MS = 250;

/** What a link is made of. */
export interface LinkOptions {
  readonly channel: Channel;
  readonly now: () => number;
  /** Bytes per second that may go out; without it as many as the channel takes. */
  readonly budget: number | undefined;
  readonly failed: (error: unknown) => void;
}

/** The way to one remote: what waits for it, what it takes, and what has passed. */
export class Link {
  readonly outbox: Outbox;
  readonly #options: LinkOptions;
  readonly #assembly = new Assembly();
  readonly #in: Meter;
  readonly #out: Meter;
  /** How far the remote's frontier has come, as far as it has shown. */
  #reached = 0 as Hlc;
  /** What was left out since it had expired. */
  #expiredBytes = 0;
  /** Batches that were not pushed, though they should have been. */
  #deferred = 0;
  /** Their bytes, as far as they were not served since. */
  #deferredBytes = 0;

  constructor(options: LinkOptions) {
    const { channel, now, budget, failed } = options;
    this.#options = options;
    this.#in = new Meter(now());
    this.#out = new Meter(now());
    const send = async (bytes: Uint8Array): Promise<void> => {
      this.#out.add(bytes.length);
      return channel.send(bytes);
    };
    this.outbox = new Outbox({ send, now, budget, failed });
  }

  /** What came in: a whole message, or undefined while more parts of it are to come. Throws as {@link Assembly.take}. */
  received(bytes: Uint8Array): Uint8Array | undefined {
    this.#in.add(bytes.length);
    return this.#assembly.take(bytes);
  }

  /** Whether a push of this batch finds room. */
  hasRoomFor(batch: Uint8Array): boolean {
    return this.outbox.hasRoom(classOfLane(placeOf(batch).lane), batch.length);
  }

  /** A batch should be pushed: it is {@link pushed}, or else told of, and {@link served} later. */
  offered(batch: Uint8Array): void {
    this.#deferred++;
    this.#deferredBytes += batch.length;
  }

  /** It was. */
  pushed(batch: Uint8Array): void {
    this.#deferred--;
    this.served(batch.length);
  }

  /** Whether it has a budget. */
  get isPaced(): boolean {
    return this.#options.budget !== undefined;
  }

  /** Bytes that one answer to a pull carries at most, unless one batch has more. */
  get chunkBytes(): number {
    const { budget } = this.#options;
    if (budget === undefined) return LIMITS.syncChunkBytes;
    return Math.min(LIMITS.syncChunkBytes, Math.max(CHUNK_BYTES, (budget * CHUNK_MS) / 1_000));
  }

  /** So many bytes of batches were put into an answer. */
  served(bytes: number): void {
    this.#deferredBytes = Math.max(0, this.#deferredBytes - bytes);
  }

  /** The remote has applied a batch with this clock, at least. */
  reached(hlc: Hlc | undefined): void {
    if (hlc !== undefined && hlc > this.#reached) this.#reached = hlc;
  }

  /** A batch without what the remote has no use for any more, where bytes are scarce. */
  withoutExpired(batch: Uint8Array): Uint8Array {
    if (!this.isPaced || this.#reached === 0) return batch;
    const lean = withoutExpired(batch, this.#reached, this.#options.now());
    this.#expiredBytes += batch.length - lean.length;
    return lean;
  }

  /** The remote has all that is here. */
  caughtUp(): void {
    this.#deferredBytes = 0;
  }

  /** How long what is known to wait will take, in milliseconds: at the budget, or else as fast as it went of late. */
  drainMs(): number {
    const waiting = this.outbox.waitingBytes + this.#deferredBytes;
    if (waiting === 0) return 0;
    const rate = this.#options.budget ?? this.#out.rate(this.#options.now());
    return rate < 1 ? 0 : Math.ceil((waiting / rate) * 1_000);
  }

  /** Whether a link with a budget has more to do than it can at once. */
  get isBusy(): boolean {
    return this.isPaced && this.drainMs() > BUSY_MS;
  }

  /** Passes time. */
  tick(): void {
    const nowMs = this.#options.now();
    this.outbox.pump();
    this.#in.rate(nowMs);
    this.#out.rate(nowMs);
  }

  /** How it stands. */
  report(): LinkReport["traffic"] {
    const nowMs = this.#options.now();
    return {
      ...(this.#options.budget === undefined ? {} : { budget: this.#options.budget }),
      in: { bytes: this.#in.bytes, perSecond: Math.round(this.#in.rate(nowMs)) },
      out: { bytes: this.#out.bytes, perSecond: Math.round(this.#out.rate(nowMs)) },
      queue: this.outbox.report(),
      deferred: { pushes: this.#deferred, bytes: this.#deferredBytes },
      expiredBytes: this.#expiredBytes,
      drainMs: this.drainMs(),
    };
  }
}
