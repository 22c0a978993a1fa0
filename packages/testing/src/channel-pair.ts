// SPDX-License-Identifier: Apache-2.0
/** Two ends of one channel in memory, with the backpressure and the close rules of the port. */
import type { Channel, Remote } from "@ctxmesh/model";
import { LIMITS, MeshError } from "@ctxmesh/model";

/** Bytes on their way to one end above which its sender waits, as a socket's buffers would make it. */
const HIGH_WATER_BYTES = 262_144;

/** A connected pair; what `a` sends, `b` receives, and the other way round. */
export interface ChannelPair {
  readonly a: Channel;
  readonly b: Channel;
  /**
   * Both ends close at once, as when the network goes: messages not yet received are lost, waiting
   * sends reject with `CLOSED`, `receive()` ends on both sides.
   */
  cut(): void;
}

/** One direction: messages in flight, the receiver and the senders that wait. */
class Pipe {
  #messages: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;
  #wakeReceiver: (() => void) | undefined;
  #wakeSenders: (() => void)[] = [];

  get bytes(): number {
    return this.#bytes;
  }

  push(message: Uint8Array): void {
    this.#messages.push(message.slice());
    this.#bytes += message.length;
    this.#wakeReceiver?.();
  }

  /** No more messages. Those in flight stay readable unless `discard`. */
  end(discard: boolean): void {
    this.#ended = true;
    if (discard) {
      this.#messages = [];
      this.#bytes = 0;
    }
    this.#wakeReceiver?.();
    this.#wakeAll();
  }

  /** Resolves when there is room, or at the end of the pipe. */
  async room(): Promise<void> {
    while (this.#bytes >= HIGH_WATER_BYTES && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wakeSenders.push(resolve);
      });
    }
  }

  async *drain(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) {
        this.#bytes -= message.length;
        if (this.#bytes < HIGH_WATER_BYTES) this.#wakeAll();
        yield message;
      } else if (this.#ended) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wakeReceiver = resolve;
        });
        this.#wakeReceiver = undefined;
      }
    }
  }

  #wakeAll(): void {
    const waiting = this.#wakeSenders;
    this.#wakeSenders = [];
    for (const wake of waiting) wake();
  }
}

/** Open or closed, for both ends together: `close` closes both directions. */
interface Link {
  open: boolean;
}

class MemoryChannel implements Channel {
  readonly remote: Remote;
  readonly #link: Link;
  readonly #outgoing: Pipe;
  readonly #incoming: Pipe;

  constructor(remote: Remote, link: Link, outgoing: Pipe, incoming: Pipe) {
    this.remote = remote;
    this.#link = link;
    this.#outgoing = outgoing;
    this.#incoming = incoming;
  }

  get bufferedBytes(): number {
    return this.#outgoing.bytes;
  }

  async send(message: Uint8Array): Promise<void> {
    if (message.length > LIMITS.syncMessageBytes) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `a message of ${String(message.length)} bytes is over the limit of ${String(LIMITS.syncMessageBytes)} (syncMessageBytes)`,
      );
    }
    if (!this.#link.open) throw closed();
    this.#outgoing.push(message);
    if (this.#outgoing.bytes < HIGH_WATER_BYTES) return;
    await this.#outgoing.room();
    if (!this.#link.open) throw closed();
  }

  receive(): AsyncIterable<Uint8Array> {
    return this.#incoming.drain();
  }

  close(): Promise<void> {
    if (this.#link.open) {
      this.#link.open = false;
      this.#incoming.end(true);
      this.#outgoing.end(false);
    }
    return Promise.resolve();
  }
}

function closed(): MeshError {
  return new MeshError("CLOSED", "the channel is closed");
}

/**
 * Two connected in-memory channels. `a` and `b` of the argument are the remotes that the channels
 * show: `a` is what the returned `a` sees of its other end. Messages are copied at `send`; delivery
 * is in order, in microtasks, without timers, so a run is deterministic. A send waits while 256 KiB
 * or more are unread at the other end.
 */
export function createChannelPair(remotes: {
  readonly a: Remote;
  readonly b: Remote;
}): ChannelPair {
  const link: Link = { open: true };
  const toA = new Pipe();
  const toB = new Pipe();
  return {
    a: new MemoryChannel(remotes.a, link, toB, toA),
    b: new MemoryChannel(remotes.b, link, toA, toB),
    cut() {
      link.open = false;
      toA.end(true);
      toB.end(true);
    },
  };
}
