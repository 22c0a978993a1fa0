// SPDX-License-Identifier: Apache-2.0
/**
 * Notices handshakes that fail, which the library tells nobody: neither who was dialled, nor, where the cause is a
 * network key, who dialled. What is known is put into words that say the likely cause.
 */
import type { MultiaddrConnection, StreamCloseEvent } from "@libp2p/interface";
import { isRelayed } from "./identity.ts";
import type { Refusals } from "./refusals.ts";

/** Counted and logged where it is found (`handshakes.ts`). */
const BY_POLICY = "is require-pq";

/** The handshakes of connections that others opened. */
export class HandshakeWatch {
  readonly #pending = new WeakSet<MultiaddrConnection>();
  readonly #refusals: Refusals;
  readonly #hasNetworkKey: boolean;

  constructor(refusals: Refusals, hasNetworkKey: boolean) {
    this.#refusals = refusals;
    this.#hasNetworkKey = hasNetworkKey;
  }

  /** Somebody has connected, and has to prove who it is. */
  begin(socket: MultiaddrConnection): void {
    this.#pending.add(socket);
    socket.addEventListener("close", (event) => {
      this.#closed(socket, event);
    });
  }

  /** It has. */
  passed(socket: MultiaddrConnection): void {
    this.#pending.delete(socket);
  }

  #closed(socket: MultiaddrConnection, { error }: StreamCloseEvent): void {
    if (!this.#pending.delete(socket)) return;
    const cause = error?.message ?? "the remote closed";
    if (cause.includes(BY_POLICY)) return;
    this.#refusals.note({
      kind: "handshake",
      code: "AUTH_FAILED",
      reason: `no handshake came about: ${this.#likely(socket)} (${cause})`,
      address: socket.remoteAddr.toString(),
      direction: "inbound",
    });
  }

  #likely(socket: MultiaddrConnection): string {
    if (isRelayed(socket.remoteAddr)) return "the remote, or the relay, gave up";
    return this.#hasNetworkKey
      ? "the remote has another network key or none, or speaks another protocol"
      : "the remote has a network key, or speaks another protocol";
  }
}

/** A dial whose connection was accepted and then cut in the midst of the handshake. */
const CUT = /ECONNRESET|EPIPE|closed|ended|end of|EOF|reset|aborted/iu;
/** The same before the handshake, while the network key's nonces are exchanged. */
const CUT_AT_ONCE = /^(?:read|write) E|Unexpected EOF/u;

/**
 * Whether the dialled end refused the handshake, and in what words; undefined for other failures, such as that of nobody
 * being there. `error` is what the library's dial throws.
 */
export function refusedInHandshake(error: unknown): string | undefined {
  if (!(error instanceof Error) || error.message.includes(BY_POLICY)) return undefined;
  const inHandshake = error.name === "EncryptionFailedError" && CUT.test(error.message);
  if (!inHandshake && !CUT_AT_ONCE.test(error.message)) return undefined;
  return `the remote closed during the handshake: it has another network key, requires a post-quantum key exchange, or this device has no grant there (${error.message})`;
}
