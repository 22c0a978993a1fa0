// SPDX-License-Identifier: Apache-2.0
/** Frames with their chains as one piece of bytes; `state.ts` specifies it. */
import { LIMITS, fromHex, parseDeviceKey, parseIncarnationId, toHex } from "@ctxmesh/model";
import { ByteReader, ByteWriter } from "./bytes.ts";
import type { ChainFrame } from "./fact-store.ts";
import { readFrame, writeFrame } from "./frame.ts";
import type { FactRecord } from "./frame.ts";
import type { ChainId } from "./slot.ts";

const VERSION = 1;
const WRITER_BYTES = 32;
const INCARNATION_BYTES = 16;

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

/** The chain that was read last, which is mostly the next one, too: names are texts, and dear to make. */
let latest: { readonly id: Uint8Array; readonly chain: ChainId } | undefined;

function readChain(reader: ByteReader): ChainId {
  const id = reader.bytes(WRITER_BYTES + INCARNATION_BYTES);
  if (latest?.id.every((byte, i) => byte === id[i]) === true) return latest.chain;
  const chain = {
    writer: parseDeviceKey(toHex(id.subarray(0, WRITER_BYTES))),
    incarnation: parseIncarnationId(toHex(id.subarray(WRITER_BYTES))),
  };
  latest = { id, chain };
  return chain;
}

/** Parses what {@link encodeFrames} makes. Throws `FORMAT_INVALID`. */
export function decodeFrames(bytes: Uint8Array): readonly ChainFrame[] {
  const reader = new ByteReader(bytes);
  if (reader.u8() !== VERSION) reader.fail("has an unknown version");
  const count = reader.uvarint();
  if (count > reader.remaining) reader.fail("has an impossible chain count");
  const frames: ChainFrame[] = [];
  for (let i = 0; i < count; i++) {
    const chain = readChain(reader);
    frames.push({ chain, frame: readFrame(reader, LIMITS.slotsPerDocument) });
  }
  if (reader.remaining > 0) reader.fail("has trailing bytes");
  return frames;
}

const nameOf = ({ chain }: ChainFrame): string => chain.writer + chain.incarnation;

const rises = (record: FactRecord, before: FactRecord | undefined): boolean =>
  before === undefined || (record.seq > before.seq && record.hlc > before.hlc);

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** By seq and clock; then, since a hostile chain may repeat both, by slot. */
const bySeq = (a: FactRecord, b: FactRecord): number =>
  a.seq - b.seq ||
  a.hlc - b.hlc ||
  compareText(a.key, b.key) ||
  compareText(a.retract?.writer ?? "", b.retract?.writer ?? "");

/** A chain's frame as ones in which seqs and clocks rise; the frame itself for every honest one. */
export function risingFrames({ chain, frame }: ChainFrame): readonly ChainFrame[] {
  const { from, to, records } = frame;
  if (records.every((record, i) => rises(record, records[i - 1]))) return [{ chain, frame }];
  const runs: FactRecord[][] = [];
  for (const record of records.toSorted(bySeq)) {
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

/** What a diff has as bytes, in the order of the chains. */
export function encodeDiffFrames(diff: readonly ChainFrame[]): Uint8Array {
  // Frames of one chain stay in the order in which they have to be applied.
  const frames = diff.toSorted((a, b) => compareText(nameOf(a), nameOf(b)));
  return encodeFrames(frames.flatMap(risingFrames));
}
