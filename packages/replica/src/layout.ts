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
 * | 0x06 | act id(32)                  | signed membership act                   |
 * | 0x07 | replica(32) inc(16)         | proof that the chain forks              |
 * | 0x08 | header hash(32)             | CBOR [header, signature] of a void batch whose body is not here |
 * | 0x09 | replica(32) inc(16)         | as 0x05: a head that a damaged store had, and this one has to reach |
 * | 0x0a | 0x01 or 0x02                | a checkpoint: see checkpoint-format.ts. 0x01: the base, 0x02: the newest |
 * | 0x0a | 0x03                        | digest(32) of what the newest one was judged by |
 * | 0x0a | 0x04                        | nothing: batches up to the base's position are being removed |
 * | 0x0a | 0x05                        | position(u64): the generation of 0x0c that the base goes with |
 * | 0x0b | position(u64) document name | a document's state as of that log position, sealed |
 * | 0x0c | position(u64) header hash(32) | up to 256 rising hashes, this the first: batches that an installed base stands for |
 * | 0x0d | 0x01 name(32)               | a signed base that is being received or may be handed on: see base-shelf.ts |
 * | 0x0d | 0x02 hash(32)               | one of its parts, sealed |
 * | 0x0e | header hash(32)             | CBOR [header, signature] of a head that an installed base brought |
 * | 0x0f | nothing                     | name(16) of the log in this store, which positions of events name; a store that takes another's place has another |
 *
 * One write adds to all of 0x02 to 0x05, so they never disagree; on opening, the log is walked and must
 * lead to exactly the recorded heads. The log's order is a causal order. It also holds the batches that
 * became void: what counts is worked out from 0x06 and 0x07 when the log is read.
 *
 * Up to the base's position 0x02 and 0x03 have only the batches that were void when it was made; what the others came to is in the
 * base. 0x04 keeps all of them, so that what is gone is still known.
 */
import { utf8Decode, utf8Encode } from "@ctxmesh/codec";
import {
  fromHex,
  parseDeviceKey,
  parseDocumentName,
  parseHeaderHash,
  parseIncarnationId,
  toHex,
} from "@ctxmesh/model";
import type {
  ActId,
  DeviceKey,
  DocumentName,
  HeaderHash,
  Hlc,
  IncarnationId,
  StoreChange,
  StoreRange,
} from "@ctxmesh/model";

/** First bytes of the keys. */
export const TAG = {
  incarnation: 1,
  log: 2,
  chain: 3,
  hash: 4,
  head: 5,
  act: 6,
  proof: 7,
  voidHeader: 8,
  expected: 9,
  checkpoint: 10,
  document: 11,
  baseHashes: 12,
  shelf: 13,
  baseHead: 14,
  logName: 15,
} as const;
/** From here on records are not the replica's own. */
const FIRST_FOREIGN_TAG = 0x10;
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

/** The log positions of all header hashes. */
export const hashRange: StoreRange = { gte: pack(TAG.hash), lt: pack(TAG.hash + 1) };

/** The log position under a header hash. */
export const readHashEntry = (value: Uint8Array): number => readU64(value, 0);

/** The key of a header hash. */
export const hashKey = (hash: HeaderHash): Uint8Array => pack(TAG.hash, fromHex(hash));

/** All heads. */
export const headRange: StoreRange = { gte: pack(TAG.head), lt: pack(TAG.head + 1) };

/** The map key of the chain that a head record's key names. */
export const chainOfHeadKey = (key: Uint8Array): string => toHex(key.subarray(1));

/** All incarnations of our own. */
export const incarnationRange: StoreRange = {
  gte: pack(TAG.incarnation),
  lt: pack(TAG.incarnation + 1),
};

/** The incarnation that a key of {@link incarnationRange} names. */
export const readIncarnationKey = (key: Uint8Array): IncarnationId =>
  parseIncarnationId(toHex(key.subarray(1)));

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

/** All membership acts. */
export const actRange: StoreRange = { gte: pack(TAG.act), lt: pack(TAG.act + 1) };

/** The record of a membership act. */
export const actChange = (id: ActId, record: Uint8Array): StoreChange => ({
  key: pack(TAG.act, fromHex(id)),
  value: record,
});

/** All proofs of equivocation. */
export const proofRange: StoreRange = { gte: pack(TAG.proof), lt: pack(TAG.proof + 1) };

/** The record of a chain's proof; a later one replaces it. */
export const proofChange = (chain: {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly proof: Uint8Array;
}): StoreChange => ({
  key: pack(TAG.proof, fromHex(chain.replica), fromHex(chain.incarnation)),
  value: chain.proof,
});

/** All headers kept without their bodies. */
export const voidHeaderRange: StoreRange = {
  gte: pack(TAG.voidHeader),
  lt: pack(TAG.voidHeader + 1),
};

/** The key of a header that is kept without its body. */
export const voidHeaderKey = (hash: HeaderHash): Uint8Array => pack(TAG.voidHeader, fromHex(hash));

/** A signed header that is kept because batches that count name it, though it does not count itself. */
export const voidHeaderChange = (hash: HeaderHash, signed: Uint8Array): StoreChange => ({
  key: voidHeaderKey(hash),
  value: signed,
});

/** Heads that have to be reached. */
export const expectedRange: StoreRange = { gte: pack(TAG.expected), lt: pack(TAG.expected + 1) };

/** The record of a head that has to be reached, from the head record of another store. */
export const expectedChange = (headKey: Uint8Array, value: Uint8Array): StoreChange => {
  const key = headKey.slice();
  key[0] = TAG.expected;
  return { key, value };
};

/** The removal of such a record. */
export const expectationMet = (chain: Pick<Head, "replica" | "incarnation">): StoreChange => ({
  key: pack(TAG.expected, fromHex(chain.replica), fromHex(chain.incarnation)),
});

/** The chain and seq in a record of {@link expectedRange}. */
export const readExpected = (
  key: Uint8Array,
  value: Uint8Array,
): Pick<Head, "replica" | "incarnation" | "seq"> => ({
  replica: parseDeviceKey(toHex(key.subarray(1, 33))),
  incarnation: parseIncarnationId(toHex(key.subarray(33))),
  seq: readU64(value, 0),
});

/** The checkpoint that stands for the pruned part of the log. */
export const baseKey: Uint8Array = Uint8Array.of(TAG.checkpoint, 1);
/** That key alone. */
export const baseRange: StoreRange = { gte: baseKey, lt: Uint8Array.of(TAG.checkpoint, 2) };
/** The newest checkpoint. */
export const latestKey: Uint8Array = Uint8Array.of(TAG.checkpoint, 2);
/** The digest of what the newest checkpoint was judged by. */
export const judgedKey: Uint8Array = Uint8Array.of(TAG.checkpoint, 3);
/** There while batches that the base stands for are being removed. */
export const pruningKey: Uint8Array = Uint8Array.of(TAG.checkpoint, 4);

/** The generation of hashes that the base goes with; absent when it was made of the log alone. */
export const baseHashesKey: Uint8Array = Uint8Array.of(TAG.checkpoint, 5);

/** That key alone. */
export const baseHashesRange: StoreRange = {
  gte: baseHashesKey,
  lt: Uint8Array.of(TAG.checkpoint, 6),
};

/** The record that makes a generation of hashes count. */
export const baseHashesChange = (generation: number): StoreChange => ({
  key: baseHashesKey,
  value: pack(undefined, generation),
});

/** All blocks of hashes, of whatever generation. */
export const allHashBlocksRange: StoreRange = {
  gte: pack(TAG.baseHashes),
  lt: pack(TAG.baseHashes + 1),
};

/** All blocks of a generation. */
export const hashBlocksRange = (generation: number): StoreRange => ({
  gte: pack(TAG.baseHashes, generation),
  lt: pack(TAG.baseHashes, generation + 1),
});

/** The last block of a generation that does not begin behind a hash. */
export const hashBlockRange = (generation: number, hash: Uint8Array): StoreRange => ({
  gte: pack(TAG.baseHashes, generation),
  lt: pack(TAG.baseHashes, generation, hash, Uint8Array.of(0)),
  reverse: true,
  limit: 1,
});

/** A block of rising hashes, one at least. */
export const hashBlockChange = (generation: number, hashes: Uint8Array): StoreChange => ({
  key: pack(TAG.baseHashes, generation, hashes.subarray(0, 32)),
  value: hashes,
});

/** The generation in the key of a block. */
export const readHashBlockKey = (key: Uint8Array): number => readU64(key, 1);

/** All signed bases. */
export const manifestRange: StoreRange = {
  gte: Uint8Array.of(TAG.shelf, 1),
  lt: Uint8Array.of(TAG.shelf, 2),
};

/** The key of a signed base by its name, hex. */
export const manifestKey = (name: string): Uint8Array =>
  pack(TAG.shelf, Uint8Array.of(1), fromHex(name));

/** All parts of bases. */
export const partRange: StoreRange = {
  gte: Uint8Array.of(TAG.shelf, 2),
  lt: Uint8Array.of(TAG.shelf, 3),
};

/** The key of a part by its hash, hex. */
export const partKey = (hash: string): Uint8Array =>
  pack(TAG.shelf, Uint8Array.of(2), fromHex(hash));

/** The key of the signed header of a head that a base brought. */
export const baseHeadKey = (hash: HeaderHash): Uint8Array => pack(TAG.baseHead, fromHex(hash));

/** All of those. */
export const baseHeadRange: StoreRange = { gte: pack(TAG.baseHead), lt: pack(TAG.baseHead + 1) };

/** The key of the log's name. */
export const LOG_NAME_KEY: Uint8Array = Uint8Array.of(TAG.logName);

/** All states of documents. */
export const documentRange: StoreRange = { gte: pack(TAG.document), lt: pack(TAG.document + 1) };

/** The key of a document's state as of a log position. */
export const documentKey = (doc: DocumentName, position: number): Uint8Array =>
  pack(TAG.document, position, utf8Encode(doc));

/** What a key of {@link documentRange} names. */
export const readDocumentKey = (
  key: Uint8Array,
): { readonly doc: DocumentName; readonly position: number } => ({
  doc: parseDocumentName(utf8Decode(key.subarray(1 + U64))),
  position: readU64(key, 1),
});

/** Whether a key is a batch's. */
export const isBatchKey = (key: Uint8Array): boolean => key[0] === TAG.log;

/** Whether a key is a chain head's. */
export const isHeadKey = (key: Uint8Array): boolean => key[0] === TAG.head;

/** Whether a key is that of a head that has to be reached. */
export const isExpectedKey = (key: Uint8Array): boolean => key[0] === TAG.expected;

/** Whether a record means the same in another store of the same device. */
export const isKeptAsIs = (key: Uint8Array): boolean => {
  const tag = key[0] ?? 0;
  const kept: readonly number[] = [TAG.incarnation, TAG.act, TAG.proof, TAG.voidHeader];
  return kept.includes(tag) || tag >= FIRST_FOREIGN_TAG;
};
