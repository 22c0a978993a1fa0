// SPDX-License-Identifier: Apache-2.0
/**
 * Framing of channel messages on a byte stream.
 *
 * A message is `u32 big-endian length || bytes`, length 0 to `LIMITS.syncMessageBytes`. The last frame
 * of a direction is the goodbye, `0xffffffff || u32 length || UTF-8 reason` (200 bytes at most).
 */
import { LIMITS, MeshError } from "@ctxmesh/model";

/** What one frame holds. */
export type Frame =
  | { readonly kind: "message"; readonly bytes: Uint8Array }
  | { readonly kind: "goodbye"; readonly reason: string };

const PREFIX_BYTES = 4;
const GOODBYE_MARK = 0xffff_ffff;
const REASON_BYTES = 200;

/** Frames one message. Throws `LIMIT_EXCEEDED` over `LIMITS.syncMessageBytes`. */
export function encodeMessage(message: Uint8Array): Uint8Array {
  if (message.length > LIMITS.syncMessageBytes) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `a message of ${String(message.length)} bytes is over the limit of ${String(LIMITS.syncMessageBytes)} (syncMessageBytes)`,
    );
  }
  const frame = new Uint8Array(PREFIX_BYTES + message.length);
  new DataView(frame.buffer).setUint32(0, message.length);
  frame.set(message, PREFIX_BYTES);
  return frame;
}

/** The goodbye frame; a reason longer than 200 bytes is cut. */
export function encodeGoodbye(reason: string): Uint8Array {
  const frame = new Uint8Array(2 * PREFIX_BYTES + REASON_BYTES);
  const { written } = new TextEncoder().encodeInto(reason, frame.subarray(2 * PREFIX_BYTES));
  const view = new DataView(frame.buffer);
  view.setUint32(0, GOODBYE_MARK);
  view.setUint32(PREFIX_BYTES, written);
  return frame.subarray(0, 2 * PREFIX_BYTES + written);
}

/** Cuts a stream of chunks into frames; holds one unfinished frame at most. */
export class FrameDecoder {
  readonly #prefix = new Uint8Array(PREFIX_BYTES);
  #prefixFill = 0;
  #body: Uint8Array | undefined;
  #bodyFill = 0;
  #goodbye = false;

  /** The frames that this chunk completes, in order. Throws `PROTOCOL_VIOLATION` on a length over its limit. */
  *push(chunk: Uint8Array): Generator<Frame, void, undefined> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#body === undefined) {
        const part = chunk.subarray(at, at + PREFIX_BYTES - this.#prefixFill);
        this.#prefix.set(part, this.#prefixFill);
        this.#prefixFill += part.length;
        at += part.length;
        if (this.#prefixFill === PREFIX_BYTES) this.#startBody();
      } else {
        const part = chunk.subarray(at, at + this.#body.length - this.#bodyFill);
        this.#body.set(part, this.#bodyFill);
        this.#bodyFill += part.length;
        at += part.length;
      }
      const frame = this.#complete();
      if (frame !== undefined) yield frame;
    }
  }

  #startBody(): void {
    const length = new DataView(this.#prefix.buffer).getUint32(0);
    this.#prefixFill = 0;
    if (length === GOODBYE_MARK && !this.#goodbye) {
      this.#goodbye = true;
      return;
    }
    const limit = this.#goodbye ? REASON_BYTES : LIMITS.syncMessageBytes;
    if (length > limit) {
      throw new MeshError(
        "PROTOCOL_VIOLATION",
        `the peer announced a frame of ${String(length)} bytes; the limit is ${String(limit)}`,
      );
    }
    this.#body = new Uint8Array(length);
    this.#bodyFill = 0;
  }

  #complete(): Frame | undefined {
    if (this.#body === undefined || this.#bodyFill < this.#body.length) return undefined;
    const bytes = this.#body;
    this.#body = undefined;
    if (!this.#goodbye) return { kind: "message", bytes };
    this.#goodbye = false;
    return { kind: "goodbye", reason: new TextDecoder().decode(bytes) };
  }
}
