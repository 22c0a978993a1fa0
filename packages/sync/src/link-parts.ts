// SPDX-License-Identifier: Apache-2.0
/**
 * Messages in parts. On a link with a budget a long message would hold up what is more urgent for as long as it takes, so it is cut, and
 * others go between its parts:
 *
 * ```
 * [19, class: uint, last: bool, bytes: bstr]        part     the next piece of the message of that class that is under way; 0 control,
 *                                                            1 high, 2 normal, 3 low; the message is whole with its last one
 * ```
 *
 * The parts of one message come in order, and those of the next one of its class behind them. A part is no message of the session: it ends
 * here, and what the parts amount to is read like a message that came in one piece.
 */
import { decodeCbor, encodeCbor } from "@ctxmesh/codec";
import { LIMITS } from "@ctxmesh/model";
import { LINK_CLASSES } from "./link-class.ts";
import { arrayOf, booleanOf, bytesOf, refuse, uintOf } from "./message-parts.ts";

const PART = 19;
/** CBOR of an array of four that begins with the number of the type. */
const PREFIX = [0x84, PART] as const;
/** Bytes of a part besides its piece, at most. */
export const PART_OVERHEAD = 10;
/** A part has four items, and is never read where it has fewer bytes for each. */
const BYTES_PER_ITEM = 1;

/** A part of a message of a class, by the class's place in `LINK_CLASSES`. */
export const encodePart = (index: number, last: boolean, piece: Uint8Array): Uint8Array =>
  encodeCbor([PART, index, last, piece]);

/** What has come of a message. */
interface Begun {
  readonly pieces: Uint8Array[];
  bytes: number;
}

/** Puts the parts that one remote sends together: one message of each class at a time, `LIMITS.syncMessageBytes` at most. */
export class Assembly {
  readonly #begun = new Map<number, Begun>();

  /**
   * Takes what came in: a message in one piece is given back as it is, a last part as the message that it ends, any other part as
   * undefined. Throws `PROTOCOL_VIOLATION`, `FORMAT_INVALID` or `LIMIT_EXCEEDED`.
   */
  take(bytes: Uint8Array): Uint8Array | undefined {
    if (PREFIX.some((byte, i) => bytes[i] !== byte)) return bytes;
    const items = arrayOf(
      decodeCbor(bytes, LIMITS.syncMessageBytes, "sync message", BYTES_PER_ITEM),
      4,
    );
    const index = uintOf(items[1], 0);
    if (items.length !== 4 || index >= LINK_CLASSES.length) refuse("is no part of a message");
    const [last, piece] = [booleanOf(items[2]), bytesOf(items[3])];
    if (piece.length === 0) refuse("is an empty part");
    const begun = this.#begun.get(index) ?? { pieces: [], bytes: 0 };
    begun.pieces.push(piece);
    begun.bytes += piece.length;
    if (begun.bytes > LIMITS.syncMessageBytes) refuse("is longer in parts than it may be");
    if (!last) {
      this.#begun.set(index, begun);
      return undefined;
    }
    this.#begun.delete(index);
    return joined(begun);
  }
}

function joined({ pieces, bytes }: Begun): Uint8Array {
  const message = new Uint8Array(bytes);
  let at = 0;
  for (const piece of pieces) {
    message.set(piece, at);
    at += piece.length;
  }
  return message;
}
