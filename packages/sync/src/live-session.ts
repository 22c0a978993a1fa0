// SPDX-License-Identifier: Apache-2.0
import type { Channel } from "@ctxmesh/model";
import type { BatchSource } from "@ctxmesh/replica";
import { LIMITS, toMeshError } from "@ctxmesh/model";
import { initialState } from "./session-state.ts";
import type { SessionState } from "./session-state.ts";

/** Pushed batches of one remote that may wait for the store at the same time. */
const MAX_PUSHES_IN_FLIGHT = 256;
/** A message of records or headers counts as so many of them: it is up to 1 MiB, and may wait longer. */
export const RECORDS_IN_PUSHES = 32;
/** A word of a hub about what it has counts as so many: up to thousands of positions are looked up. */
export const CONFIRMATIONS_IN_PUSHES = 32;

/** A session on its channel: its state, what is on the way out, and when reading has to wait. */
export class LiveSession implements BatchSource {
  readonly channel: Channel;
  readonly openedMs: number;
  readonly charge: BatchSource["charge"];
  /** Whether both ends have greeted, now or before it was closed. */
  wasOpen = false;
  state: SessionState;
  /** Refusals that count against the remote. */
  refusals = 0;
  /** Why it was ended, when this end did it. */
  reason: string | undefined;
  /** Pushed batches, and other things that are on their way into the replica. */
  #inFlight = 0;
  /** Sends in order, one at a time. */
  #outbox: Promise<void> = Promise.resolve();
  /** Bytes handed to the outbox and not yet taken by the channel. */
  #queuedBytes = 0;
  #resume: (() => void) | undefined;

  /** `charge` charges the session's device for the batches that it brings. */
  constructor(channel: Channel, openedMs: number, charge: BatchSource["charge"]) {
    this.channel = channel;
    this.charge = charge;
    this.state = { ...initialState, believes: channel.remote.role === "hub" };
    this.openedMs = openedMs;
  }

  get device(): string {
    return this.channel.remote.device;
  }

  get isHub(): boolean {
    return this.channel.remote.role === "hub";
  }

  get isClosed(): boolean {
    return this.state.phase === "closed";
  }

  /** Bytes that the remote has not read. */
  get unreadBytes(): number {
    return this.#queuedBytes + this.channel.bufferedBytes;
  }

  /** Queues a message behind the ones before it; a broken channel ends its receive loop by itself. */
  post(bytes: Uint8Array): void {
    if (this.isClosed) return;
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes > LIMITS.channelBufferBytes) {
      this.end("the peer reads too slowly");
      return;
    }
    this.#outbox = this.#outbox
      .then(async () => this.channel.send(bytes))
      .catch((error: unknown) => {
        this.end(toMeshError(error).message);
      })
      .finally(() => {
        this.#queuedBytes -= bytes.length;
      });
  }

  /** Resolves when everything posted so far was taken by the channel, or the session has ended. */
  async flushed(): Promise<void> {
    return this.#outbox;
  }

  /** Closes at once; what is queued is lost. */
  end(reason: string): void {
    this.#finish(reason);
    this.channel.close(reason).catch(() => undefined);
  }

  /** Reads no further, sends what is queued, then closes. */
  dismiss(reason: string): void {
    this.#finish(reason);
    this.#outbox.then(async () => this.channel.close(reason)).catch(() => undefined);
  }

  /** Closes the channel after its receive loop has ended; never rejects. */
  async over(): Promise<void> {
    this.state = { ...this.state, phase: "closed" };
    await this.channel.close(this.reason).catch(() => undefined);
  }

  #finish(reason: string): void {
    this.reason ??= reason;
    this.state = { ...this.state, phase: "closed" };
    this.resume();
  }

  /** Counts something on its way into the replica until it is settled; resolves when there is room for more. */
  async admit(settled: Promise<unknown>, weight = 1): Promise<void> {
    this.#inFlight += weight;
    settled
      .catch((error: unknown) => {
        this.end(toMeshError(error).message);
      })
      .finally(() => {
        this.#inFlight -= weight;
        this.resume();
      })
      .catch(() => undefined);
    await this.waitUntil(() => this.#inFlight < MAX_PUSHES_IN_FLIGHT);
  }

  /** Keeps the channel unread until a condition holds, looked at on each {@link resume}, or until the end. */
  async waitUntil(holds: () => boolean): Promise<void> {
    while (!this.isClosed && !holds()) {
      await new Promise<void>((resolve) => {
        this.#resume = resolve;
      });
    }
  }

  /** Lets a wait look at its condition again. */
  resume(): void {
    this.#resume?.();
    this.#resume = undefined;
  }
}
