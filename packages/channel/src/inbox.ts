// SPDX-License-Identifier: Apache-2.0
/** Received messages between a socket that pushes and a reader that pulls. */
import { LIMITS } from "@ctxmesh/model";

/** At or above this the source has to be paused: one message of the largest size. */
const HIGH_WATER_BYTES: number = LIMITS.syncMessageBytes;
/** At or below this a paused source may go on. */
const LOW_WATER_BYTES: number = LIMITS.syncMessageBytes / 4;
/** What an entry costs besides its bytes, so that a flood of empty messages is bounded, too. */
const ENTRY_BYTES = 64;

/** A queue with one reader, and marks that tell when to pause and to resume its source. */
export class Inbox {
  #messages: Uint8Array[] = [];
  #next = 0;
  #bytes = 0;
  #ended = false;
  #wake: (() => void) | undefined;
  readonly #onLow: () => void;

  /** `onLow` is called whenever the reader has brought the queue down to its low mark. */
  constructor(onLow: () => void) {
    this.#onLow = onLow;
  }

  /** Whether the source should be paused. */
  get full(): boolean {
    return this.#bytes >= HIGH_WATER_BYTES;
  }

  /** Whether more is queued than any well-behaved source can cause: `LIMITS.channelBufferBytes`. */
  get overflown(): boolean {
    return this.#bytes > LIMITS.channelBufferBytes;
  }

  /** Queues a message; after {@link end} it is dropped. */
  push(message: Uint8Array): void {
    if (this.#ended) return;
    this.#messages.push(message);
    this.#bytes += message.length + ENTRY_BYTES;
    this.#wake?.();
  }

  /** No more messages. What is queued stays readable unless `discard`. */
  end(discard: boolean): void {
    this.#ended = true;
    if (discard) {
      this.#messages = [];
      this.#next = 0;
      this.#bytes = 0;
    }
    this.#wake?.();
  }

  /** The messages in order, until the end. */
  async *drain(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const message = this.#shift();
      if (message !== undefined) {
        yield message;
      } else if (this.#ended) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
  }

  #shift(): Uint8Array | undefined {
    const message = this.#messages[this.#next];
    if (message === undefined) return undefined;
    this.#next += 1;
    if (this.#next === this.#messages.length) {
      this.#messages = [];
      this.#next = 0;
    }
    this.#bytes -= message.length + ENTRY_BYTES;
    if (this.#bytes <= LOW_WATER_BYTES) this.#onLow();
    return message;
  }
}
