// SPDX-License-Identifier: Apache-2.0
/** The port between whoever opens WebSockets for bearers of tokens, and the endpoint that finds out who they are. */

/** One WebSocket, limited in what it takes; each message is one binary frame. */
export interface GuestSocket {
  /** Bytes given to `send` that are not on the wire yet. Whoever sends has to look after it. */
  readonly bufferedBytes: number;
  /** Sends a message, whose bytes must not change any more; nothing happens once it is closed. */
  send(message: Uint8Array): void;
  /** Messages in order, `LIMITS.syncMessageBytes` each at most, none before {@link Guest.admit}; ends when it closes. One consumer; reading slowly slows the sender. */
  receive(): AsyncIterable<Uint8Array>;
  /** Resolves with the reason once it is closed, from whichever side. Never rejects. */
  readonly closed: Promise<string>;
  /** Closes it, by force when the other end does not answer. `code` is one of RFC 6455, 7.4. Idempotent. */
  close(code: number, reason: string): Promise<void>;
}

/** Somebody who has opened a WebSocket and has some seconds, from the first packet, to show a token. */
export interface Guest {
  /** Path and query, as they were sent. */
  readonly target: string;
  /** The header `Authorization`. */
  readonly authorization?: string;
  /** What it offers in `Sec-WebSocket-Protocol`. */
  readonly protocols: readonly string[];
  /** For logs. */
  readonly address: string;
  readonly socket: GuestSocket;
  /** It is known who it is: its time is over no more, and what it sends is read. */
  admit(): void;
}
