// SPDX-License-Identifier: Apache-2.0
/** The `Channel` port over one libp2p stream. */
import type { Channel, Remote } from "@ctxmesh/model";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { Stream, StreamMessageEvent } from "@libp2p/interface";
import { encodeGoodbye, encodeMessage, FrameDecoder } from "./frames.ts";
import { Inbox } from "@ctxmesh/channel";

/** Time for what was sent to leave, and then for the remote to close its side, before the stream is reset. */
const CLOSE_MS = 2_000;

/**
 * A channel over an open stream, which it owns. Reading is bounded: the stream is paused while the
 * reader is behind, so that the muxer stops granting window and the remote's `send` waits.
 */
export class StreamChannel implements Channel {
  readonly remote: Remote;
  /** Resolves with the reason once the channel is closed, from whichever side. Never rejects. */
  readonly closed: Promise<string>;
  readonly #stream: Stream;
  readonly #decoder = new FrameDecoder();
  readonly #inbox: Inbox;
  readonly #onViolation: (reason: string) => void;
  readonly #closed = Promise.withResolvers<string>();
  #open = true;
  #paused = false;
  #resuming = false;
  #wakeSenders: (() => void)[] = [];
  #closing: Promise<void> | undefined;

  /** `onViolation` is called when what the remote sends are no frames. */
  constructor(
    stream: Stream,
    remote: Remote,
    onViolation: (reason: string) => void = () => undefined,
  ) {
    this.remote = remote;
    this.#onViolation = onViolation;
    this.closed = this.#closed.promise;
    this.#stream = stream;
    this.#inbox = new Inbox(() => {
      this.#resume();
    });
    stream.maxReadBufferLength = LIMITS.channelBufferBytes;
    stream.addEventListener("message", (event) => {
      this.#onData(event);
    });
    stream.addEventListener("drain", () => {
      this.#wakeAll();
    });
    stream.addEventListener("end", () => {
      this.#finish("the remote ended the stream");
    });
    stream.addEventListener("close", (event) => {
      this.#resume();
      this.#finish(event.error?.message ?? "the connection closed");
    });
    if (stream.status !== "open") this.#finish("the stream closed while it was opened");
  }

  /** What `send` took and the stream has not passed on to the connection. */
  get bufferedBytes(): number {
    return this.#stream.writeBufferLength;
  }

  async send(message: Uint8Array): Promise<void> {
    const frame = encodeMessage(message);
    if (!this.#open) throw closedError(this.remote);
    if (this.bufferedBytes + frame.length > LIMITS.channelBufferBytes) {
      const reason = `more than ${String(LIMITS.channelBufferBytes)} bytes wait to be sent (channelBufferBytes)`;
      this.#fail(reason);
      throw closedError(this.remote, reason);
    }
    try {
      this.#stream.send(frame);
    } catch (error) {
      throw closedError(this.remote, error);
    }
    while (this.#open && this.#stream.writableNeedsDrain) {
      await new Promise<void>((resolve) => {
        this.#wakeSenders.push(resolve);
      });
    }
    if (!this.#open) throw closedError(this.remote);
  }

  receive(): AsyncIterable<Uint8Array> {
    return this.#inbox.drain();
  }

  close(reason = "closed"): Promise<void> {
    this.#closing ??= this.#shutDown(reason);
    return this.#closing;
  }

  /** Resets the stream at once. */
  #fail(reason: string): void {
    this.#finish(reason);
    this.#stream.abort(new MeshError("CLOSED", reason));
  }

  async #shutDown(reason: string): Promise<void> {
    if (!this.#open) return;
    this.#inbox.end(true);
    this.#markClosed(reason);
    try {
      this.#stream.send(encodeGoodbye(reason));
      await this.#stream.close({ signal: AbortSignal.timeout(CLOSE_MS) });
      this.#resetUnlessClosed(CLOSE_MS);
    } catch {
      this.#stream.abort(new MeshError("CLOSED", reason));
    }
  }

  /** The remote is gone, or said goodbye: what was received stays readable. */
  #finish(reason: string): void {
    this.#inbox.end(false);
    if (!this.#open) return;
    this.#markClosed(reason);
    if (this.#stream.status !== "open") return;
    if (this.bufferedBytes > 0 || this.#stream.writableNeedsDrain) {
      this.#stream.abort(new MeshError("CLOSED", reason));
      return;
    }
    this.#stream.close({ signal: AbortSignal.timeout(CLOSE_MS) }).catch((error: unknown) => {
      this.#stream.abort(new MeshError("CLOSED", reason, { cause: error }));
    });
  }

  #markClosed(reason: string): void {
    this.#open = false;
    this.#wakeAll();
    this.#closed.resolve(reason);
  }

  #resetUnlessClosed(afterMs: number): void {
    if (this.#stream.status === "closed") return;
    const timer = setTimeout(() => {
      this.#stream.abort(new MeshError("CLOSED", "the remote did not close its side"));
    }, afterMs);
    timer.unref();
    this.#stream.addEventListener("close", () => {
      clearTimeout(timer);
    });
  }

  #onData(event: StreamMessageEvent): void {
    if (!this.#open) return;
    try {
      const chunks = event.data instanceof Uint8Array ? [event.data] : event.data;
      for (const chunk of chunks) this.#onChunk(chunk);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#fail(reason);
      this.#onViolation(reason);
      return;
    }
    if (this.#inbox.overflown) {
      this.#fail(`unread messages are over ${String(LIMITS.channelBufferBytes)} bytes`);
    } else if (this.#inbox.full && !this.#resuming) {
      this.#pause();
    }
  }

  #onChunk(chunk: Uint8Array): void {
    for (const frame of this.#decoder.push(chunk)) {
      if (frame.kind === "goodbye") {
        this.#finish(`the remote closed: ${frame.reason}`);
        return;
      }
      this.#inbox.push(frame.bytes);
    }
  }

  #pause(): void {
    if (this.#paused || !this.#open || this.#stream.readStatus !== "readable") return;
    this.#paused = true;
    this.#stream.pause();
  }

  /**
   * Lets the stream go on. Its `resume()` hands over what it held and grants window after that, so a
   * `pause()` from inside the hand-over would be undone; the check for it comes afterwards.
   */
  #resume(): void {
    if (!this.#paused || this.#resuming) return;
    this.#resuming = true;
    try {
      this.#stream.resume();
    } catch {
      // The stream is closed for reading; its close event has ended the inbox or will.
    }
    this.#resuming = false;
    this.#paused = false;
    if (this.#inbox.full) this.#pause();
  }

  #wakeAll(): void {
    const waiting = this.#wakeSenders;
    this.#wakeSenders = [];
    for (const wake of waiting) wake();
  }
}

function closedError(remote: Remote, cause?: unknown): MeshError {
  const why = typeof cause === "string" ? `: ${cause}` : "";
  return new MeshError("CLOSED", `the channel to ${remote.device} is closed${why}`, { cause });
}
