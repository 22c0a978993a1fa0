// SPDX-License-Identifier: Apache-2.0
/** The `Channel` port over one TCP connection; each message is one frame (`frames.ts`). */
import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { Inbox } from "@ctxmesh/channel";
import type { Channel, Remote } from "@ctxmesh/model";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import { FRAME_BYTES, FrameReader, FrameWriter } from "./frames.ts";
import type { LinkSession } from "./handshake.ts";

/** After so long without sending anything, in milliseconds, a sign of life goes out. */
const SPEAK_MS = 10_000;
/** A connection on which nothing came for so long, in milliseconds, is cut. */
const SILENCE_MS = 30_000;
/** Time for the other end to answer a close. */
const CLOSE_MS = 2_000;
/** Signs of life that may come at once, after a time in which nothing came through; beside these, one a second is far more than anybody needs. */
const SIGNS_AT_ONCE = 16;

const SIGN_OF_LIFE = new Uint8Array();

/**
 * A channel over an authenticated connection, which it owns. While the reader is behind, the connection is not read.
 * A connection on which nothing came for 30 s is cut, unless it is not read; the other end hears of us every 10 s.
 */
export class LinkChannel implements Channel {
  readonly remote: Remote;
  /** Resolves with the reason once the connection is closed, from whichever side. Never rejects. */
  readonly closed: Promise<string>;
  readonly #socket: Socket;
  readonly #reader: FrameReader;
  readonly #writer: FrameWriter;
  readonly #inbox: Inbox;
  readonly #closed = Promise.withResolvers<string>();
  readonly #openedMs = performance.now();
  readonly #speak: NodeJS.Timeout;
  readonly #silence: NodeJS.Timeout;
  #signs = 0;
  #reason: string | undefined;
  #isClosing = false;

  /** `early` is what came behind the other end's proof. */
  constructor(socket: Socket, remote: Remote, session: LinkSession, early: Uint8Array) {
    this.remote = remote;
    this.closed = this.#closed.promise;
    this.#socket = socket;
    this.#reader = new FrameReader(session.receiveKey);
    this.#writer = new FrameWriter(session.sendKey);
    this.#inbox = new Inbox(() => socket.resume());
    this.#speak = setTimeout(() => this.#write(SIGN_OF_LIFE), SPEAK_MS);
    this.#silence = setTimeout(() => this.#onSilence(), SILENCE_MS);
    socket.on("data", this.#onData);
    socket.on("error", (error) => {
      this.#reason ??= error.message;
    });
    socket.on("end", () => {
      this.#reason ??= "closed by the other end";
    });
    socket.once("close", () => {
      clearTimeout(this.#speak);
      clearTimeout(this.#silence);
      this.#inbox.end(false);
      this.#closed.resolve(this.#reason ?? "closed");
    });
    this.#onData(early);
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength;
  }

  /** Resolves when the kernel has taken the message. */
  async send(message: Uint8Array): Promise<void> {
    if (message.length > LIMITS.syncMessageBytes) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `a message of ${String(message.length)} bytes is over the limit of ${String(LIMITS.syncMessageBytes)} (syncMessageBytes)`,
      );
    }
    if (message.length === 0) throw new MeshError("INTERNAL", "an empty message is a sign of life");
    if (this.#isClosing || !this.#socket.writable) throw this.#closedError();
    if (this.bufferedBytes + message.length + FRAME_BYTES > LIMITS.socketBufferBytes) {
      const reason = `more than ${String(LIMITS.socketBufferBytes)} bytes wait to be sent (socketBufferBytes)`;
      void this.close(reason);
      throw this.#closedError(reason);
    }
    await new Promise<void>((resolve, reject) => {
      this.#write(message, (error) => {
        if (error) reject(this.#closedError(error.message));
        else resolve();
      });
    });
  }

  receive(): AsyncIterable<Uint8Array> {
    return this.#inbox.drain();
  }

  async close(reason = "closed"): Promise<void> {
    this.#reason ??= reason;
    this.#inbox.end(true);
    if (!this.#isClosing) {
      this.#isClosing = true;
      this.#socket.end();
      // Unread messages are dropped, but the other end's close is behind them.
      this.#socket.resume();
      const timer = setTimeout(() => this.#socket.destroy(), CLOSE_MS);
      this.#socket.once("close", () => clearTimeout(timer));
    }
    await this.closed;
  }

  #write(message: Uint8Array, sent?: (error?: Error | null) => void): void {
    this.#speak.refresh();
    if (this.#socket.writable) this.#socket.write(this.#writer.write(message), sent);
  }

  readonly #onData = (bytes: Uint8Array): void => {
    this.#silence.refresh();
    if (this.#isClosing) return;
    try {
      for (const message of this.#reader.read(bytes)) {
        if (message.length > 0) this.#inbox.push(message);
        else this.#onSign();
      }
    } catch (error) {
      this.#cut(toMeshError(error).message);
      return;
    }
    if (this.#inbox.full) this.#socket.pause();
  };

  /** They cost nobody's budget, so there may not be many. */
  #onSign(): void {
    this.#signs += 1;
    const most = SIGNS_AT_ONCE + (performance.now() - this.#openedMs) / 1_000;
    if (this.#signs > most) throw new MeshError("PROTOCOL_VIOLATION", "too many signs of life");
  }

  #onSilence(): void {
    if (this.#socket.isPaused()) this.#silence.refresh();
    else this.#cut(`nothing was received for ${String(SILENCE_MS)} ms`);
  }

  #cut(reason: string): void {
    this.#reason ??= reason;
    this.#isClosing = true;
    this.#inbox.end(true);
    this.#socket.destroy();
  }

  #closedError(reason = this.#reason): MeshError {
    const why = reason === undefined ? "" : `: ${reason}`;
    return new MeshError("CLOSED", `the channel to ${this.remote.device} is closed${why}`);
  }
}
