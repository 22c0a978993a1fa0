// SPDX-License-Identifier: Apache-2.0
/** Runs a handshake over a WebSocket, with a deadline and limits on what comes before its end. */
import type { Duplex } from "node:stream";
import { LIMITS, toMeshError } from "@ctxmesh/model";
import type { RawData, WebSocket } from "ws";
import { Timed } from "./arrivals.ts";
import type { Arrival } from "./arrivals.ts";
import type { Handshake } from "./handshake.ts";
import { bytesOf, CLOSE_CODES, closeSocket, describeClose } from "./sockets.ts";

/** Bytes on the socket, frames included, before the other end is authenticated. */
const PRE_AUTH_BYTES = 4_096;

/** How a handshake ended, if not well: who gave it up, and why. */
export interface AuthenticationFailure {
  /** `refused`: by us. `closed`: by the other end. `unreachable`: there was no WebSocket. */
  readonly kind: "refused" | "closed" | "unreachable";
  readonly reason: string;
  /** The close code of the other end, if it closed. */
  readonly code?: number;
}

/** Called once, synchronously, so that a message right behind the last proof meets a listener. */
export interface AuthenticationHooks {
  readonly onDone: (device: string) => void;
  readonly onFailed: (failure: AuthenticationFailure) => void;
}

/** One WebSocket on its way to an authenticated channel. The deadline runs from its arrival, or from construction; nothing extends it. */
export class Authentication {
  readonly #socket: WebSocket;
  readonly #handshake: Handshake;
  readonly #hooks: AuthenticationHooks;
  readonly #arrival: Arrival;
  #opened = false;
  #settled = false;
  #error = "";
  #bytes = 0;

  constructor(
    socket: WebSocket,
    handshake: Handshake,
    hooks: AuthenticationHooks,
    arrival: Arrival = new Timed(() => undefined),
  ) {
    this.#socket = socket;
    this.#handshake = handshake;
    this.#hooks = hooks;
    this.#arrival = arrival;
    arrival.expect(() => {
      this.refuse(`not authenticated after ${String(LIMITS.handshakeMs)} ms`);
    });
    socket.on("error", (error) => {
      this.#error = error.message;
    });
    socket.on("close", this.#onClose);
  }

  /** Starts the handshake on an open WebSocket over the given connection. */
  begin(connection: Duplex): void {
    this.#opened = true;
    // After the WebSocket's own listener, which has parsed a chunk by the time it is counted here.
    const count = (chunk: Uint8Array): void => {
      this.#bytes += chunk.length;
      if (this.#settled) connection.off("data", count);
      else if (this.#bytes > PRE_AUTH_BYTES) {
        this.#socket.pause();
        this.refuse(`more than ${String(PRE_AUTH_BYTES)} bytes before authentication`);
      }
    };
    connection.on("data", count);
    this.#socket.on("message", this.#onMessage);
    this.#send(this.#handshake.start());
  }

  /** Gives up, telling the other end why. */
  refuse(reason: string): void {
    if (!this.#settle()) return;
    void closeSocket(this.#socket, CLOSE_CODES.unauthorized, reason);
    const kind = this.#opened ? "refused" : "unreachable";
    this.#hooks.onFailed({ kind, reason });
  }

  readonly #onMessage = (data: RawData, isBinary: boolean): void => {
    try {
      const { send, device } = this.#handshake.receive(isBinary ? bytesOf(data) : new Uint8Array());
      this.#send(send);
      if (device !== undefined && this.#settle()) this.#hooks.onDone(device);
    } catch (error) {
      this.refuse(toMeshError(error).message);
    }
  };

  readonly #onClose = (code: number, reason: Uint8Array): void => {
    if (!this.#settle()) return;
    if (this.#opened) {
      this.#hooks.onFailed({ kind: "closed", reason: describeClose(code, reason), code });
    } else {
      this.#hooks.onFailed({ kind: "unreachable", reason: this.#error });
    }
  };

  #send(messages: readonly Uint8Array[]): void {
    // A failed send closes the socket, which is heard of there.
    for (const message of messages) this.#socket.send(message, { binary: true }, () => undefined);
  }

  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    this.#arrival.end();
    this.#socket.off("message", this.#onMessage);
    this.#socket.off("close", this.#onClose);
    return true;
  }
}
