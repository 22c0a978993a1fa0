// SPDX-License-Identifier: Apache-2.0
/**
 * Yamux grants the remote of a stream new window for each data frame that came, in a frame of 12 bytes (yamux spec,
 * "Window Update"), which costs a record of the handshake's cipher, a system call and a turn of the remote's loop for each
 * message. What is granted here in one frame is a good part of a window.
 */

const HEADER_BYTES = 12;
const WINDOW_UPDATE = 1;
const RESET = 8;
/** A quarter of the window that a stream begins with: the remote always has the rest, so that it never waits for what is held back. */
const WORTH_BYTES = 65_536;
/** Streams of one connection for which something is held back; the next ones are granted what they are at once. */
const MOST_STREAMS = 64;

/** The window updates of one connection that are held back. */
export class WindowUpdates {
  /** By stream id: bytes that were granted and not told of yet. */
  readonly #held = new Map<number, number>();

  /** Whether an outgoing frame is to be sent; one that is held back is sent with a later one. May write the sum into the frame. */
  passes(frame: Uint8Array): boolean {
    if (frame.length !== HEADER_BYTES || frame[1] !== WINDOW_UPDATE) return true;
    const view = new DataView(frame.buffer, frame.byteOffset, HEADER_BYTES);
    const id = view.getUint32(4);
    // Flags open, close or reset the stream: they never wait.
    const flags = view.getUint16(2);
    if (flags === RESET) this.#held.delete(id);
    if (flags !== 0) return true;
    const bytes = (this.#held.get(id) ?? 0) + view.getUint32(8);
    if (bytes < WORTH_BYTES && (this.#held.has(id) || this.#held.size < MOST_STREAMS)) {
      this.#held.set(id, bytes);
      return false;
    }
    this.#held.delete(id);
    view.setUint32(8, bytes);
    return true;
  }
}
