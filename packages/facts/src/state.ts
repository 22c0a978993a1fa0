// SPDX-License-Identifier: Apache-2.0
/**
 * A document's facts as one piece of bytes, for storage and full copies:
 *
 * ```
 * state = 0x01  count  ( writer:bytes(32)  incarnation:bytes(16)  frame ) * count
 * ```
 *
 * One frame per chain with its live slots, preceded by one for each interval beyond a gap; numbers and
 * frames as in `frame.ts`. Chains are in the order of their ids, so the same slots and the same knowledge
 * of chains give the same bytes, whatever the order in which they came.
 */
import { LIMITS, fromHex, parseDeviceKey, parseIncarnationId, toHex } from "@ctxmesh/model";
import { ByteReader, ByteWriter } from "./bytes.ts";
import type { ChainFrame, FactStore } from "./fact-store.ts";
import { readFrame, writeFrame } from "./frame.ts";
import { SlotStore } from "./slot-store.ts";

const VERSION = 1;
const EVERYTHING: ReadonlyMap<string, number> = new Map();

/** Chain frames as bytes; a diff, or with an empty summary the whole state. */
export function encodeFrames(frames: readonly ChainFrame[]): Uint8Array {
  const writer = new ByteWriter();
  writer.u8(VERSION);
  writer.uvarint(frames.length);
  for (const { chain, frame } of frames) {
    writer.bytes(fromHex(chain.writer));
    writer.bytes(fromHex(chain.incarnation));
    writeFrame(writer, frame);
  }
  return writer.finish();
}

/** Parses what {@link encodeFrames} makes. Throws `FORMAT_INVALID`. */
export function decodeFrames(bytes: Uint8Array): readonly ChainFrame[] {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== VERSION) reader.fail("has an unknown version");
  const count = reader.uvarint();
  if (count > reader.remaining) reader.fail("has an impossible chain count");
  const frames: ChainFrame[] = [];
  for (let i = 0; i < count; i++) {
    const chain = {
      writer: parseDeviceKey(toHex(reader.bytes(32))),
      incarnation: parseIncarnationId(toHex(reader.bytes(16))),
    };
    frames.push({ chain, frame: readFrame(reader, LIMITS.slotsPerDocument) });
  }
  if (reader.remaining > 0) reader.fail("has trailing bytes");
  return frames;
}

const nameOf = ({ chain }: ChainFrame): string => chain.writer + chain.incarnation;

/** The whole state of a store. */
export function encodeState(store: FactStore): Uint8Array {
  const frames = store.diff(EVERYTHING).toSorted((a, b) => {
    const [mine, its] = [nameOf(a), nameOf(b)];
    // Frames of one chain stay in the order in which they have to be applied.
    return mine < its ? -1 : mine > its ? 1 : 0;
  });
  return encodeFrames(frames);
}

/** A store of a state. Throws `FORMAT_INVALID`. */
export function decodeState(bytes: Uint8Array): SlotStore {
  const store = new SlotStore();
  for (const { chain, frame } of decodeFrames(bytes)) store.applyFrame(chain, frame);
  return store;
}
