// SPDX-License-Identifier: Apache-2.0
/**
 * A document's facts as one piece of bytes, for storage and full copies:
 *
 * ```
 * state = 0x01  count  ( writer:bytes(32)  incarnation:bytes(16)  frame ) * count
 * ```
 *
 * One frame per chain with its live slots, preceded by one for each interval beyond a gap; numbers and
 * frames as in `frame.ts`. Where a chain's seqs don't rise with its clocks, which is so of hostile ones alone, there is a frame for each
 * run that does, each of its own interval but for the last, which covers the whole one. Chains are in the order of their ids, so the same slots and the same knowledge
 * of chains give the same bytes, whatever the order in which they came.
 */
import { LIMITS, fromHex, parseDeviceKey, parseIncarnationId, toHex } from "@ctxmesh/model";
import { ByteReader, ByteWriter } from "./bytes.ts";
import type { ChainFrame, FactStore } from "./fact-store.ts";
import { readFrame, writeFrame } from "./frame.ts";
import type { FactRecord } from "./frame.ts";
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

const rises = (record: FactRecord, before: FactRecord | undefined): boolean =>
  before === undefined || (record.seq > before.seq && record.hlc > before.hlc);

/** A chain's frame as ones in which seqs and clocks rise; the frame itself for every honest one. */
function risingFrames({ chain, frame }: ChainFrame): readonly ChainFrame[] {
  const { from, to, records } = frame;
  if (records.every((record, i) => rises(record, records[i - 1]))) return [{ chain, frame }];
  const runs: FactRecord[][] = [];
  for (const record of records.toSorted((a, b) => a.seq - b.seq || a.hlc - b.hlc)) {
    const run = runs.at(-1);
    if (run !== undefined && rises(record, run.at(-1))) run.push(record);
    else runs.push([record]);
  }
  return runs.map((run, i) => {
    const [first = from + 1, last = to] = [run[0]?.seq, run.at(-1)?.seq];
    const interval = i === runs.length - 1 ? { from, to } : { from: first - 1, to: last };
    return { chain, frame: { ...interval, records: run } };
  });
}

/** The whole state of a store. */
export function encodeState(store: FactStore): Uint8Array {
  const frames = store.diff(EVERYTHING).toSorted((a, b) => {
    const [mine, its] = [nameOf(a), nameOf(b)];
    // Frames of one chain stay in the order in which they have to be applied.
    return mine < its ? -1 : mine > its ? 1 : 0;
  });
  return encodeFrames(frames.flatMap(risingFrames));
}

/** A store of a state. Throws `FORMAT_INVALID`. */
export function decodeState(bytes: Uint8Array): SlotStore {
  const store = new SlotStore();
  for (const { chain, frame } of decodeFrames(bytes)) store.applyFrame(chain, frame);
  return store;
}
