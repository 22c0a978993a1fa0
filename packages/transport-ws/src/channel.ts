// SPDX-License-Identifier: Apache-2.0
/** The `Channel` port over one WebSocket; each message is one binary frame. */
import type { Channel, Remote } from "@ctxmesh/model";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { RawData, WebSocket } from "ws";
import { Inbox } from "@ctxmesh/channel";
import { keepAlive } from "./heartbeat.ts";
import {
  bytesOf,
  CLOSE_CODES,
  closeSocket,
  comeBackMs,
  describeClose,
  restartReason,
} from "./sockets.ts";

/**
 * A channel over an authenticated WebSocket, which it owns. While the reader is behind, the socket is
 * not read. A socket on which nothing came for a whole ping interval is cut.
 */
export class SocketChannel implements Channel {
  readonly remote: Remote;
  /** Resolves with the reason once the WebSocket is closed, from whichever side. Never rejects. */
  readonly closed: Promise<string>;
  readonly #socket: WebSocket;
  readonly #inbox: Inbox;
  readonly #closed = Promise.withResolvers<string>();
  #reason: string | undefined;
  #closing: Promise<void> | undefined;
  #comeBackMs: number | undefined;
  #restartMs: number | undefined;

  constructor(socket: WebSocket, remote: Remote) {
    this.remote = remote;
    this.closed = this.#closed.promise;
    this.#socket = socket;
    this.#inbox = new Inbox(() => {
      if (socket.isPaused) socket.resume();
    });
    socket.on("message", (data, isBinary) => {
      this.#onMessage(data, isBinary);
    });
    socket.on("error", (error) => {
      this.#reason ??= error.message;
    });
    socket.once("close", (code, reason) => {
      this.#inbox.end(false);
      this.#comeBackMs = comeBackMs(code, reason);
      this.#closed.resolve(this.#reason ?? describeClose(code, reason));
    });
    keepAlive(socket, (reason) => {
      this.#reason ??= reason;
    });
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  /** Resolves when the kernel has taken the message; until then its bytes must not change. */
  async send(message: Uint8Array): Promise<void> {
    if (message.length > LIMITS.syncMessageBytes) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `a message of ${String(message.length)} bytes is over the limit of ${String(LIMITS.syncMessageBytes)} (syncMessageBytes)`,
      );
    }
    if (this.#socket.readyState !== this.#socket.OPEN) throw this.#closedError();
    if (this.bufferedBytes + message.length > LIMITS.socketBufferBytes) {
      const reason = `more than ${String(LIMITS.socketBufferBytes)} bytes wait to be sent (socketBufferBytes)`;
      void this.#shutDown(CLOSE_CODES.tryAgainLater, reason);
      throw this.#closedError(reason);
    }
    await new Promise<void>((resolve, reject) => {
      this.#socket.send(message, { binary: true }, (error) => {
        if (error) reject(this.#closedError(error.message));
        else resolve();
      });
    });
  }

  /** Once it is closed: in how many milliseconds the other end, which is restarted, wants to be dialled again, if it said so. */
  get comeBackMs(): number | undefined {
    return this.#comeBackMs;
  }

  /** From now on a close from this end says that it is restarted, and asks the other one to come back after a time, in milliseconds. */
  prepareRestart(inMs: number): void {
    this.#restartMs = inMs;
  }

  receive(): AsyncIterable<Uint8Array> {
    return this.#inbox.drain();
  }

  close(reason = "closed"): Promise<void> {
    const inMs = this.#restartMs;
    if (inMs === undefined) return this.#shutDown(CLOSE_CODES.normal, reason);
    return this.#shutDown(CLOSE_CODES.restart, restartReason(inMs));
  }

  #shutDown(code: number, reason: string): Promise<void> {
    this.#reason ??= reason;
    this.#inbox.end(true);
    // Unread messages are dropped, but the other end's close is behind them.
    this.#socket.resume();
    this.#closing ??= closeSocket(this.#socket, code, reason);
    return this.#closing;
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (!isBinary) {
      void this.#shutDown(CLOSE_CODES.unsupportedData, "a message is a binary frame");
      return;
    }
    this.#inbox.push(bytesOf(data));
    if (this.#inbox.full) this.#socket.pause();
  }

  #closedError(reason = this.#reason): MeshError {
    const why = reason === undefined ? "" : `: ${reason}`;
    return new MeshError("CLOSED", `the channel to ${this.remote.device} is closed${why}`);
  }
}
