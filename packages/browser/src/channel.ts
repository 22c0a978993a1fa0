// SPDX-License-Identifier: Apache-2.0
/** The `Channel` port over one WebSocket of a page; each message is one binary frame. */
import { Inbox } from "@ctxmesh/channel";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { Channel, Remote } from "@ctxmesh/model";
import { CLOSE_CODES, comeBackMs, describeClose } from "@ctxmesh/transport-ws";

/** With so much unsent, a message waits for its turn. A page hears of no write that has ended, so it looks again after a while, in milliseconds. */
const READY_BYTES = 262_144;
const LOOK_MS = 10;
/** Time for the other end to answer a close, in milliseconds. */
const CLOSE_MS = 2_000;
/** A close's reason is no longer (RFC 6455, 5.5.1). */
const REASON_BYTES = 123;

/** Closes with a reason that pages may send codes for: 1000, and 3000 to 4999. */
export function closeSocket(socket: WebSocket, code: number, reason: string): void {
  const buffer = new Uint8Array(REASON_BYTES);
  const { written } = new TextEncoder().encodeInto(reason, buffer);
  socket.close(code, new TextDecoder().decode(buffer.subarray(0, written)));
}

/** A channel over an authenticated WebSocket, which it owns. A page can't pause a socket: one whose messages pile up is closed. */
export class PageChannel implements Channel {
  readonly remote: Remote;
  /** Resolves with the reason once the WebSocket is closed, from whichever side. Never rejects. */
  readonly closed: Promise<string>;
  readonly #socket: WebSocket;
  readonly #inbox = new Inbox(() => undefined);
  readonly #closed = Promise.withResolvers<string>();
  #reason: string | undefined;
  #comeBackMs: number | undefined;
  #heardAt = performance.now();

  constructor(socket: WebSocket, remote: Remote) {
    this.remote = remote;
    this.closed = this.#closed.promise;
    this.#socket = socket;
    socket.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
      this.#onMessage(data);
    });
    socket.addEventListener("close", ({ code, reason }) => {
      const bytes = new TextEncoder().encode(reason);
      this.#comeBackMs = comeBackMs(code, bytes);
      this.#end(this.#reason ?? describeClose(code, bytes));
    });
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  /** Once it is closed: in how many milliseconds the other end wants to be dialled again, if it said so. */
  get comeBackMs(): number | undefined {
    return this.#comeBackMs;
  }

  /** For how long nothing has come, in milliseconds. */
  get silentMs(): number {
    return performance.now() - this.#heardAt;
  }

  async send(message: Uint8Array): Promise<void> {
    if (message.length > LIMITS.syncMessageBytes) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `a message of ${String(message.length)} bytes is over the limit of ${String(LIMITS.syncMessageBytes)} (syncMessageBytes)`,
      );
    }
    this.#assertOpen();
    if (this.bufferedBytes + message.length > LIMITS.socketBufferBytes) {
      void this.close(`more than ${String(LIMITS.socketBufferBytes)} bytes wait to be sent`);
      throw this.#closedError();
    }
    this.#socket.send(message as Uint8Array<ArrayBuffer>);
    while (this.bufferedBytes > READY_BYTES) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      this.#assertOpen();
    }
  }

  receive(): AsyncIterable<Uint8Array> {
    return this.#inbox.drain();
  }

  async close(reason = "closed"): Promise<void> {
    this.#reason ??= reason;
    this.#inbox.end(true);
    closeSocket(this.#socket, CLOSE_CODES.normal, reason);
    const timer = setTimeout(() => {
      this.#end(reason);
    }, CLOSE_MS);
    await this.closed;
    clearTimeout(timer);
  }

  /** Ends the channel without waiting for the other end, which can't be reached. */
  cut(reason: string): void {
    void this.close(reason);
    this.#end(reason);
  }

  #end(reason: string): void {
    this.#inbox.end(false);
    this.#closed.resolve(reason);
  }

  #onMessage(data: unknown): void {
    this.#heardAt = performance.now();
    if (!(data instanceof ArrayBuffer) || data.byteLength > LIMITS.syncMessageBytes) {
      void this.close("a message is a binary frame of bounded length");
      return;
    }
    this.#inbox.push(new Uint8Array(data));
    if (this.#inbox.overflown) void this.close("more came than could be read");
  }

  #assertOpen(): void {
    if (this.#socket.readyState !== WebSocket.OPEN || this.#reason !== undefined) {
      throw this.#closedError();
    }
  }

  #closedError(): MeshError {
    const why = this.#reason === undefined ? "" : `: ${this.#reason}`;
    return new MeshError("CLOSED", `the channel to ${this.remote.device} is closed${why}`);
  }
}
