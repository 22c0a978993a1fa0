// SPDX-License-Identifier: Apache-2.0
/** The two ends of a TLS socket: the connection below it as a stream of Node, and what it decrypts as a stream of libp2p. */
import { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { AbortOptions, MessageStream, StreamMessageEvent } from "@libp2p/interface";
import { AbstractMessageStream } from "@libp2p/utils";
import type { SendResult } from "@libp2p/utils";

/** Time for a connection to close before it is reset. */
const CLOSE_MS = 1_000;

type Written = (error?: Error | null) => void;

/** A connection as a stream of Node. The connection is read only as fast as this is. */
export class RawDuplex extends Duplex {
  readonly #connection: MessageStream;
  #written: Written | undefined;
  /** Whether more may come; what the connection does follows, so that it is not asked twice. */
  #wanted = false;
  #resuming = false;

  constructor(connection: MessageStream) {
    super();
    this.#connection = connection;
    this.#pause();
    connection.addEventListener("message", (event) => {
      this.#onData(event);
    });
    connection.addEventListener("drain", () => {
      this.#settle();
    });
    connection.addEventListener("close", (event) => {
      this.#settle(event.error ?? new Error("the connection closed"));
      // The end is heard of by TlsStream, or by the handshake.
      this.push(null);
      this.destroy();
    });
  }

  override _read(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#resume();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Written): void {
    this.#send(chunk, done);
  }

  override _writev(chunks: readonly { readonly chunk: Uint8Array }[], done: Written): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  #send(bytes: Uint8Array, done: Written): void {
    try {
      if (this.#connection.send(bytes)) done();
      else this.#written = done;
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #onData({ data }: StreamMessageEvent): void {
    let more = true;
    for (const chunk of data instanceof Uint8Array ? [data] : data) more = this.push(chunk);
    if (more || !this.#wanted) return;
    this.#wanted = false;
    if (!this.#resuming) this.#pause();
  }

  /** `resume()` hands over what was held and lets the socket go on after that: a `pause()` from inside would be undone. */
  #resume(): void {
    if (this.#resuming || this.#connection.status !== "open") return;
    this.#resuming = true;
    this.#connection.resume();
    this.#resuming = false;
    if (!this.#wanted) this.#pause();
  }

  /** What is on its way when a connection is closed still comes, and a pause would throw where nobody can catch it. */
  #pause(): void {
    if (this.#connection.status === "open") this.#connection.pause();
  }

  #settle(error?: Error): void {
    const done = this.#written;
    this.#written = undefined;
    done?.(error);
  }
}

/** What a TLS socket over a connection carries. Both close together. */
export class TlsStream extends AbstractMessageStream {
  readonly #connection: MessageStream;
  readonly #socket: TLSSocket;

  constructor(connection: MessageStream, socket: TLSSocket) {
    super({
      log: connection.log,
      inactivityTimeout: connection.inactivityTimeout,
      maxReadBufferLength: connection.maxReadBufferLength,
      direction: connection.direction,
    });
    this.#connection = connection;
    this.#socket = socket;
    socket.on("data", (bytes) => {
      this.onData(bytes);
    });
    socket.on("drain", () => {
      this.safeDispatchEvent("drain");
    });
    // The remote closed its side, or what it sent can't be decrypted.
    socket.on("close", () => {
      if (socket.errored !== null) connection.abort(socket.errored);
      else void this.#closeConnection();
    });
    connection.addEventListener("close", (event) => {
      socket.destroy();
      if (event.error === undefined) this.onTransportClosed();
      else if (event.local === true) this.abort(event.error);
      else this.onRemoteReset();
    });
    if (connection.status !== "open") this.onTransportClosed();
  }

  override async close(options?: AbortOptions): Promise<void> {
    // What was sent has to get out first.
    await new Promise<void>((resolve) => {
      this.#socket.end(resolve);
    });
    await this.#connection.close(options);
  }

  async #closeConnection(): Promise<void> {
    try {
      await this.#connection.close({ signal: AbortSignal.timeout(CLOSE_MS) });
    } catch (error) {
      this.#connection.abort(error instanceof Error ? error : new Error(String(error)));
    }
  }

  override sendData(data: Parameters<AbstractMessageStream["sendData"]>[0]): SendResult {
    // In one piece, so that a frame and its header are one record.
    return { sentBytes: data.byteLength, canSendMore: this.#socket.write(data.subarray()) };
  }

  override sendPause(): void {
    this.#socket.pause();
  }

  override sendResume(): void {
    this.#socket.resume();
  }

  override sendReset(error: Error): void {
    this.#connection.abort(error);
    this.#socket.destroy();
  }
}
