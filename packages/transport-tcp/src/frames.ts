// SPDX-License-Identifier: Apache-2.0
/**
 * Messages on a link, once both ends are known, without I/O:
 *
 * ```
 * frame = length u32 (of what follows) || ChaCha20-Poly1305 (RFC 8439) of one message, tag of 16 bytes included
 * key   = "client data" or "server data" of the handshake, the sender's
 * nonce = u32 zero || u64 number of the frame, from 0
 * aad   = the 4 bytes of the length
 * ```
 *
 * A message has `LIMITS.syncMessageBytes` at most; an empty one is a sign of life. A length that can't be is refused
 * before anything is allocated.
 */
import { LIMITS, MeshError } from "@ctxmesh/model";
import { NONCE_BYTES, open, seal, TAG_BYTES } from "./primitives.ts";

const LENGTH_BYTES = 4;
/** Memory that a frame gets before it has come: more is added as it comes. */
const FIRST_BYTES = 65_536;

/** Bytes that a message has on the wire besides its own. */
export const FRAME_BYTES: number = LENGTH_BYTES + TAG_BYTES;

/** The nonce of a frame by its number, from 0: 2^53 of them are never sent. */
export function frameNonce(number: number): Uint8Array {
  const nonce = new Uint8Array(NONCE_BYTES);
  new DataView(nonce.buffer).setBigUint64(NONCE_BYTES - 8, BigInt(number));
  return nonce;
}

function lengthBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(LENGTH_BYTES);
  new DataView(bytes.buffer).setUint32(0, length);
  return bytes;
}

/** Makes frames of messages, in order. */
export class FrameWriter {
  readonly #key: Uint8Array;
  #number: number;

  /** `first` is the number of the first frame. */
  constructor(key: Uint8Array, first = 0) {
    this.#key = key;
    this.#number = first;
  }

  /** The frame of a message, which goes out behind the one before it. */
  write(message: Uint8Array): Uint8Array {
    const aad = lengthBytes(message.length + TAG_BYTES);
    const nonce = frameNonce(this.#number);
    this.#number += 1;
    return Buffer.concat([aad, seal({ key: this.#key, nonce, aad }, message)]);
  }
}

/** Makes messages of the bytes of a connection, however they are cut. */
export class FrameReader {
  readonly #key: Uint8Array;
  #number = 0;
  #memory: Uint8Array = new Uint8Array(LENGTH_BYTES);
  #filled = 0;
  /** Bytes of the frame with its length, or of the length alone while that has not come. */
  #wanted = LENGTH_BYTES;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** The messages that these bytes complete, in order. Throws `PROTOCOL_VIOLATION`, after which the connection has to be closed. */
  read(bytes: Uint8Array): readonly Uint8Array[] {
    const messages: Uint8Array[] = [];
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + this.#wanted - this.#filled);
      at += part.length;
      this.#take(part);
      if (this.#filled < this.#wanted) continue;
      if (this.#wanted === LENGTH_BYTES) this.#begin();
      else messages.push(this.#finish());
    }
    return messages;
  }

  #take(part: Uint8Array): void {
    const filled = this.#filled + part.length;
    if (filled > this.#memory.length) {
      const memory = new Uint8Array(
        Math.min(this.#wanted, Math.max(filled, 2 * this.#memory.length)),
      );
      memory.set(this.#memory.subarray(0, this.#filled));
      this.#memory = memory;
    }
    this.#memory.set(part, this.#filled);
    this.#filled = filled;
  }

  #begin(): void {
    const length = new DataView(this.#memory.buffer).getUint32(0);
    if (length < TAG_BYTES || length > LIMITS.syncMessageBytes + TAG_BYTES) {
      throw new MeshError("PROTOCOL_VIOLATION", `a frame of ${String(length)} bytes`);
    }
    this.#wanted = LENGTH_BYTES + length;
    const memory = new Uint8Array(Math.min(this.#wanted, FIRST_BYTES));
    memory.set(this.#memory.subarray(0, LENGTH_BYTES));
    this.#memory = memory;
  }

  #finish(): Uint8Array {
    const aad = this.#memory.subarray(0, LENGTH_BYTES);
    const nonce = frameNonce(this.#number);
    const box = this.#memory.subarray(LENGTH_BYTES, this.#wanted);
    const message = open({ key: this.#key, nonce, aad }, box);
    if (message === undefined) {
      throw new MeshError(
        "PROTOCOL_VIOLATION",
        `frame ${String(this.#number)} is not from the other end`,
      );
    }
    this.#number += 1;
    this.#memory = new Uint8Array(LENGTH_BYTES);
    this.#filled = 0;
    this.#wanted = LENGTH_BYTES;
    return message;
  }
}
