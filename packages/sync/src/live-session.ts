// SPDX-License-Identifier: Apache-2.0
import type { Channel, DeviceKey } from "@ctxmesh/model";
import type { Askable } from "./asker.ts";
import { Attendance } from "./attendance.ts";
import type { BatchSource } from "@ctxmesh/replica";
import { LIMITS, toMeshError } from "@ctxmesh/model";
import { queuedAs } from "./link-class.ts";
import { Link } from "./link.ts";
import { encodeMessage } from "./messages.ts";
import type { ChainSeq, SyncMessage } from "./messages.ts";
import { initialState } from "./session-state.ts";
import type { SessionState } from "./session-state.ts";

/** Pushed batches of one remote that may wait for the store at the same time. */
const MAX_PUSHES_IN_FLIGHT = 256;
/** A message of records or headers counts as so many of them: it is up to 1 MiB, and may wait longer. */
export const RECORDS_IN_PUSHES = 32;
/** A word of a hub about what it has counts as so many: up to thousands of positions are looked up. */
export const CONFIRMATIONS_IN_PUSHES = 32;

/** A question counts as so many: no more than `LIMITS.asksPerRemote` are worked on. */
export const ASKS_IN_PUSHES: number = MAX_PUSHES_IN_FLIGHT / LIMITS.asksPerRemote;

/** The same batch goes to many peers, and is the same message for each. */
const pushes = new WeakMap<Uint8Array, Uint8Array>();

function encoded(message: SyncMessage): Uint8Array {
  if (message.type !== "push") return encodeMessage(message);
  const bytes = pushes.get(message.batch) ?? encodeMessage(message);
  pushes.set(message.batch, bytes);
  return bytes;
}

/** A session on its channel: its state, what is on the way out, and when reading has to wait. */
export class LiveSession implements BatchSource {
  readonly channel: Channel;
  readonly openedMs: number;
  /** Whether the remote does its part. */
  readonly attendance: Attendance = new Attendance();
  readonly charge: BatchSource["charge"];
  /** The remote as what can be asked, and asks. */
  readonly asked: Askable;
  /** Whether both ends have greeted, now or before it was closed. */
  wasOpen = false;
  state: SessionState;
  /** Refusals that count against the remote. */
  refusals = 0;
  /** Why it was ended, when this end did it. */
  reason: string | undefined;
  /** Pushed batches, and other things that are on their way into the replica. */
  #inFlight = 0;
  /** What is on its way out, and how much goes over. */
  readonly link: Link;
  #resume: (() => void) | undefined;

  /** `charge` charges the session's device for the batches that it brings; `budget`: bytes per second that may go out. */
  constructor(
    channel: Channel,
    openedMs: number,
    charge: BatchSource["charge"],
    { now, budget }: { readonly now: () => number; readonly budget: number | undefined },
  ) {
    this.channel = channel;
    this.asked = { device: channel.remote.device as DeviceKey, role: channel.remote.role };
    this.charge = charge;
    this.link = new Link({
      channel,
      now,
      budget,
      failed: (error) => {
        this.end(toMeshError(error).message);
      },
    });
    this.state = { ...initialState, believes: channel.remote.role === "hub" };
    this.openedMs = openedMs;
  }

  get device(): string {
    return this.channel.remote.device;
  }

  /** As the transport has verified it. */
  get deviceKey(): DeviceKey {
    return this.channel.remote.device as DeviceKey;
  }

  get isHub(): boolean {
    return this.channel.remote.role === "hub";
  }

  get isClosed(): boolean {
    return this.state.phase === "closed";
  }

  /** Bytes that the remote has not read. */
  get unreadBytes(): number {
    return this.link.outbox.bytes + this.channel.bufferedBytes;
  }

  /** Whether a batch should be pushed now. What is not is told of, and pulled when there is time for it. */
  hasRoomFor(batch: Uint8Array): boolean {
    return this.unreadBytes < LIMITS.channelBufferBytes / 2 && this.link.hasRoomFor(batch);
  }

  /** A batch should be pushed, and is if it finds room and the remote has what is before it. */
  offered(batch: Uint8Array): void {
    if (this.state.phase === "open") this.link.offered(batch);
  }

  /** A batch of an answer as it is worth its way; a remote that keeps everything takes it whole alone. */
  withoutExpired(batch: Uint8Array): Uint8Array {
    return this.state.keeps === undefined ? batch : this.link.withoutExpired(batch);
  }

  /** Queues a message in its class; a broken channel ends its receive loop by itself. */
  post(message: SyncMessage): void {
    if (this.isClosed) return;
    if (message.type === "push") this.link.pushed(message.batch);
    this.link.outbox.post(encoded(message), queuedAs(message));
    this.#endIfSlow();
  }

  /** Queues a message that is no batch; resolves when the channel took it, or the session has ended. */
  async posted(message: SyncMessage): Promise<void> {
    this.post(message);
    await this.link.outbox.flushed(["control"]);
  }

  /** Queues an answer to a pull, which holds batches up to these positions, in the place of pushes of the same batches. */
  answer(message: SyncMessage, upTo: readonly ChainSeq[]): void {
    if (this.isClosed) return;
    this.link.outbox.postInstead(encodeMessage(message), queuedAs(message), upTo);
    this.#endIfSlow();
  }

  /** No peer that reads what it asked for lets so much gather. */
  #endIfSlow(): void {
    if (this.link.outbox.owedBytes > LIMITS.channelBufferBytes)
      this.end("the peer reads too slowly");
  }

  /** Resolves when everything posted so far was taken by the channel, or the session has ended; without regard to the link's budget. */
  async flushed(): Promise<void> {
    this.link.outbox.lift();
    await this.link.outbox.flushed();
  }

  /** Closes at once; what is queued is lost. */
  end(reason: string): void {
    this.#finish(reason);
    this.link.outbox.close();
    this.channel.close(reason).catch(() => undefined);
  }

  /** Reads no further, sends what is queued, then closes. */
  dismiss(reason: string): void {
    const flushed = this.flushed();
    this.#finish(reason);
    flushed.then(async () => this.channel.close(reason)).catch(() => undefined);
  }

  /** Closes the channel after its receive loop has ended; never rejects. */
  async over(): Promise<void> {
    this.state = { ...this.state, phase: "closed" };
    this.link.outbox.close();
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
