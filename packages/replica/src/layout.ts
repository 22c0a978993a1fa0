// SPDX-License-Identifier: Apache-2.0
/**
 * Where things are in the store. Every key starts with a tag byte; numbers are big-endian so that byte
 * order is number order.
 *
 * | tag  | key                         | value                                   |
 * |------|-----------------------------|-----------------------------------------|
 * | 0x01 | incarnation(16)             | started, Unix ms (u64): one of our own   |
 * | 0x02 | position(u64, from 1)       | batch bytes: the log, in order of arrival |
 * | 0x03 | replica(32) inc(16) seq(u64) | position(u64), header hash(32)           |
 * | 0x04 | header hash(32)             | position(u64)                           |
 * | 0x05 | replica(32) inc(16)         | seq(u64), header hash(32), hlc(u64): a chain's head |
 *
 * One write adds to all of 0x02 to 0x05, so they never disagree; on opening, the log is walked and must
 * lead to exactly the recorded heads. The log's order is a causal order.
 */
import { fromHex, parseHeaderHash, toHex } from "@ctxmesh/model";
import type {
  DeviceKey,
  HeaderHash,
  Hlc,
  IncarnationId,
  StoreChange,
  StoreRange,
} from "@ctxmesh/model";

const TAG = { incarnation: 1, log: 2, chain: 3, hash: 4, head: 5 } as const;
const U64 = 8;

/** A chain's newest applied batch. */
export interface Head {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly seq: number;
  readonly hash: HeaderHash;
  readonly hlc: Hlc;
}

/** The map key of a chain. */
export const chainKey = (replica: DeviceKey, incarnation: IncarnationId): string =>
  replica + incarnation;

function pack(tag: number | undefined, ...parts: readonly (Uint8Array | number)[]): Uint8Array {
  const start = tag === undefined ? 0 : 1;
  const length = parts.reduce<number>(
    (sum, part) => sum + (typeof part === "number" ? U64 : part.length),
    start,
  );
  const bytes = new Uint8Array(length);
  if (tag !== undefined) bytes[0] = tag;
  const view = new DataView(bytes.buffer);
  let at = start;
  for (const part of parts) {
    if (typeof part === "number") {
      view.setBigUint64(at, BigInt(part));
      at += U64;
    } else {
      bytes.set(part, at);
      at += part.length;
    }
  }
  return bytes;
}

/** The u64 at an offset. */
export const readU64 = (bytes: Uint8Array, offset: number): number =>
  Number(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(offset));

/** All keys of the log from a position. */
export const logRange = (from: number): StoreRange => ({
  gte: pack(TAG.log, from),
  lt: pack(TAG.log + 1),
});

/** A log record's key. */
export const logKey = (position: number): Uint8Array => pack(TAG.log, position);

/** Index entries of one chain with `fromSeq <= seq <= toSeq`. */
export const chainRange = (
  replica: DeviceKey,
  incarnation: IncarnationId,
  fromSeq: number,
  toSeq: number,
): StoreRange => ({
  gte: pack(TAG.chain, fromHex(replica), fromHex(incarnation), fromSeq),
  lt: pack(TAG.chain, fromHex(replica), fromHex(incarnation), toSeq + 1),
});

/** The key of one chain position. */
export const chainEntryKey = (
  replica: DeviceKey,
  incarnation: IncarnationId,
  seq: number,
): Uint8Array => pack(TAG.chain, fromHex(replica), fromHex(incarnation), seq);

/** A chain entry's value. */
export const readChainEntry = (value: Uint8Array): { position: number; hash: HeaderHash } => ({
  position: readU64(value, 0),
  hash: parseHeaderHash(toHex(value.subarray(U64))),
});

/** The key of a header hash. */
export const hashKey = (hash: HeaderHash): Uint8Array => pack(TAG.hash, fromHex(hash));

/** All heads. */
export const headRange: StoreRange = { gte: pack(TAG.head), lt: pack(TAG.head + 1) };

/** The map key of the chain that a head record's key names. */
export const chainOfHeadKey = (key: Uint8Array): string => toHex(key.subarray(1));

/** The record of an incarnation of our own. */
export const incarnationChange = (incarnation: IncarnationId, startedAt: number): StoreChange => ({
  key: pack(TAG.incarnation, fromHex(incarnation)),
  value: pack(undefined, startedAt),
});

/** All records of one accepted batch at a log position, except the head. */
export const batchChanges = (
  head: Head,
  position: number,
  bytes: Uint8Array,
): readonly StoreChange[] => [
  { key: logKey(position), value: bytes },
  {
    key: chainEntryKey(head.replica, head.incarnation, head.seq),
    value: pack(undefined, position, fromHex(head.hash)),
  },
  { key: hashKey(head.hash), value: pack(undefined, position) },
];

/** The head record of a chain. */
export const headChange = (head: Head): StoreChange => ({
  key: pack(TAG.head, fromHex(head.replica), fromHex(head.incarnation)),
  value: pack(undefined, head.seq, fromHex(head.hash), head.hlc),
});
