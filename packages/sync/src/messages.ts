// SPDX-License-Identifier: Apache-2.0
/**
 * The sync protocol, version 2: the same between agents (libp2p stream) and between agent and hub
 * (WebSocket). One message is one deterministic CBOR array, `LIMITS.syncMessageBytes` at most; the
 * channel keeps message boundaries and order.
 *
 * ```
 * head    = [ replica(32), inc(16), seq, the first 16 bytes of the hash of the header there; seq 0 and zeros: nothing of it counts any more ]
 * fork    = [ replica(32), inc(16), seq: the first that does not count ]
 *
 * [0, version: 2, space(32), digest(16), records(16)]     hello    first from both ends; digests over all heads, and over all records
 * [1, [ head ... ]]                                       heads    what the sender has applied and has not told before in this session; 8,192 at most
 * [2, [ head ... ]]                                       have     heads that moved since the last heads or have
 * [3, [ [replica(32), inc(16), from, to] ... ]]           pull     please send these (both ends included)
 * [4, [ batch: bstr ... ]]                                batches  the answer to a pull, in causal order; 1,024 at most
 * [5, batch: bstr]                                        push     a batch that the sender just applied
 * [6, digest(16), records(16)]                            digest   heads, and records, are wanted if they are not yours
 * [7, [ act id(32) ... ] or null, [ fork ... ] or null]   records  the acts and the forks that the sender knows; null: not said in this message
 * [8, [ act: bstr ... ], [ proof: bstr ... ], more: bool, records(16)]
 *                                                         acts     the answer to records, or news: what the receiver lacks, parents before
 *                                                                  children; more: ask again; the digest is the sender's over all of its records
 * [9, [ header hash(32) ... ]]                            want     headers that held batches wait for; 64 at most
 * [10, [ signed header: bstr ... ]]                       headers  the answer to a want: those that the sender has, and the void ones behind them, each
 *                                                                  before what it names; CBOR [ header, signature ]; 1,024 at most
 * [11, [ head ... ]]                                      stored   from a hub: chains that the receiver has, as far as they are durable there; 8,192 at most
 * [12, [ head ... ]]                                      sealed   from a hub: what of the newest seal's frontier the receiver was not told yet; 8,192 at most
 * ```
 *
 * Pulling is the receiver's: one pull is outstanding at a time and its answer carries at most
 * `LIMITS.syncChunkBytes`, so a slow reader is never sent more than that ahead. Records go the same
 * way, page by page: each `records` is answered by one `acts`, and whoever is left with more to get says again
 * what it knows. So no list is ever put together from several messages. Where acts and forks are too many for one
 * message, each has one of its own.
 *
 * Both ends speak one version. A type that is not known closes the connection, so none is ever optional; what changes
 * later gets a new version, and a libp2p protocol of its own beside this one.
 */
import { decodeCbor, encodeCbor } from "@ctxmesh/codec";
import type { CborValue } from "@ctxmesh/codec";
import {
  LIMITS,
  MeshError,
  fromHex,
  parseDeviceKey,
  parseHeaderHash,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import type { DeviceKey, HeaderHash, IncarnationId, SpaceId } from "@ctxmesh/model";
import type { ChainSpan } from "@ctxmesh/replica";

/** What one device wrote in one process life. */
export interface Chain {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
}

/** A position in a chain. */
export interface ChainSeq extends Chain {
  readonly seq: number;
}

/** How far a chain is applied, and on which branch of it; with seq 0, that nothing of it counts any more. */
export interface ChainHead extends ChainSeq {
  /** The first 16 bytes of the header's hash, hex; zeros with seq 0. */
  readonly hash: string;
}

/** One message of the protocol. */
export type SyncMessage =
  | {
      readonly type: "hello";
      readonly space: SpaceId;
      readonly digest: Uint8Array;
      readonly records: Uint8Array;
    }
  | { readonly type: "heads"; readonly heads: readonly ChainHead[] }
  | { readonly type: "have"; readonly heads: readonly ChainHead[] }
  | { readonly type: "pull"; readonly spans: readonly ChainSpan[] }
  | { readonly type: "batches"; readonly batches: readonly Uint8Array[] }
  | { readonly type: "push"; readonly batch: Uint8Array }
  | { readonly type: "digest"; readonly digest: Uint8Array; readonly records: Uint8Array }
  | {
      readonly type: "records";
      /** Hex. */
      readonly acts: readonly string[] | undefined;
      readonly forks: readonly ChainSeq[] | undefined;
    }
  | {
      readonly type: "acts";
      readonly acts: readonly Uint8Array[];
      readonly proofs: readonly Uint8Array[];
      readonly more: boolean;
      readonly records: Uint8Array;
    }
  | { readonly type: "want"; readonly hashes: readonly HeaderHash[] }
  | { readonly type: "headers"; readonly headers: readonly Uint8Array[] }
  | { readonly type: "stored"; readonly heads: readonly ChainHead[] }
  | { readonly type: "sealed"; readonly heads: readonly ChainHead[] };

/** Bytes of a digest as it is told: the first half, enough to notice a difference that is then looked into. */
export const DIGEST_BYTES = 16;
/** The shortest span has 54 bytes and 5 items; nothing else in a message is shorter for its items. */
const BYTES_PER_ITEM = 8;
const VERSION = 2;
/** The hash in a head of a chain of which nothing counts. */
export const NO_HASH: string = "0".repeat(32);
/** Spans in one pull; what is left over is pulled next. */
export const MAX_SPANS = 1024;
/** Heads in one message, of 78 bytes at most; more of them are told in several. */
export const MAX_HEADS = 8192;
/** Headers wanted at a time. */
export const MAX_WANTED = 64;
/** Headers in one answer. */
export const MAX_HEADERS = 1024;
/** Batches in one answer; no batch has less than 256 bytes, so the size of an answer comes first. */
export const MAX_BATCHES: number = LIMITS.syncChunkBytes / 256;

const seqItem = ({ replica, incarnation, seq }: ChainSeq): CborValue[] => [
  fromHex(replica),
  fromHex(incarnation),
  seq,
];
const headItem = (head: ChainHead): CborValue => [...seqItem(head), fromHex(head.hash)];

function toItems(message: SyncMessage): CborValue {
  switch (message.type) {
    case "hello":
      return [0, VERSION, fromHex(message.space), message.digest, message.records];
    case "heads":
      return [1, message.heads.map(headItem)];
    case "have":
      return [2, message.heads.map(headItem)];
    case "pull":
      return [
        3,
        message.spans.map((span) => [
          fromHex(span.replica),
          fromHex(span.incarnation),
          span.from,
          span.to,
        ]),
      ];
    case "batches":
      return [4, message.batches];
    case "push":
      return [5, message.batch];
    case "digest":
      return [6, message.digest, message.records];
    case "records":
      return [7, message.acts?.map(fromHex) ?? null, message.forks?.map(seqItem) ?? null];
    case "acts":
      return [8, message.acts, message.proofs, message.more, message.records];
    case "want":
      return [9, message.hashes.map(fromHex)];
    case "headers":
      return [10, message.headers];
    case "stored":
      return [11, message.heads.map(headItem)];
    case "sealed":
      return [12, message.heads.map(headItem)];
  }
}

/** The bytes of a message. */
export const encodeMessage = (message: SyncMessage): Uint8Array => encodeCbor(toItems(message));

function refuse(problem: string): never {
  throw new MeshError("PROTOCOL_VIOLATION", `sync message ${problem}`);
}

const bytesOf = (value: CborValue | undefined, length?: number): Uint8Array =>
  value instanceof Uint8Array && (length === undefined || value.length === length)
    ? value
    : refuse("has no byte string where one belongs");

const uintOf = (value: CborValue | undefined, least: number): number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= least
    ? value
    : refuse("has a number out of range");

function arrayOf(value: CborValue | undefined, most: number): readonly CborValue[] {
  if (!Array.isArray(value) || value.length > most) {
    return refuse(`has not an array of at most ${String(most)} items`);
  }
  return value as readonly CborValue[];
}

/** The parts of a tuple of exactly `length`. */
function tupleOf(value: CborValue | undefined, length: number): readonly CborValue[] {
  const items = arrayOf(value, length);
  return items.length === length ? items : refuse(`has not ${String(length)} parts`);
}

function chainOf(parts: readonly CborValue[]): Chain {
  return {
    replica: parseDeviceKey(toHex(bytesOf(parts[0], 32))),
    incarnation: parseIncarnationId(toHex(bytesOf(parts[1], 16))),
  };
}

const headsOf = (value: CborValue | undefined, leastSeq = 0): readonly ChainHead[] =>
  arrayOf(value, MAX_HEADS).map((item) => {
    const parts = tupleOf(item, 4);
    const [seq, hash] = [uintOf(parts[2], leastSeq), toHex(bytesOf(parts[3], 16))];
    if (seq === 0 && hash !== NO_HASH) refuse("names a header at seq 0");
    return { ...chainOf(parts), seq, hash };
  });

const spansOf = (value: CborValue | undefined): readonly ChainSpan[] =>
  arrayOf(value, MAX_SPANS).map((item) => {
    const parts = tupleOf(item, 4);
    const from = uintOf(parts[2], 1);
    return { ...chainOf(parts), from, to: uintOf(parts[3], from) };
  });

const byteStringsOf = (value: CborValue | undefined, most: number): readonly Uint8Array[] =>
  arrayOf(value, most).map((item) => bytesOf(item));

/** `records`, which says something of acts, of forks, or of both. */
function recordsOf(acts: CborValue | undefined, forks: CborValue | undefined): SyncMessage {
  if (acts === null && forks === null) refuse("says nothing of records");
  return {
    type: "records",
    acts:
      acts === null ? undefined : arrayOf(acts, LIMITS.acts).map((id) => toHex(bytesOf(id, 32))),
    forks:
      forks === null
        ? undefined
        : arrayOf(forks, LIMITS.proofs).map((item) => {
            const parts = tupleOf(item, 3);
            return { ...chainOf(parts), seq: uintOf(parts[2], 1) };
          }),
  };
}

function helloOf(items: readonly CborValue[]): SyncMessage {
  // Before the number of parts, which may differ between versions.
  if (items[1] !== VERSION) refuse("is of an unknown protocol version");
  const [, , space, digest, records] = tupleOf(items, 5);
  return {
    type: "hello",
    space: parseSpaceId(toHex(bytesOf(space, 32))),
    digest: bytesOf(digest, DIGEST_BYTES),
    records: bytesOf(records, DIGEST_BYTES),
  };
}

function actsOf(items: readonly CborValue[]): SyncMessage {
  const [, acts, proofs, more, records] = tupleOf(items, 5);
  return {
    type: "acts",
    acts: byteStringsOf(acts, LIMITS.acts),
    proofs: byteStringsOf(proofs, LIMITS.proofs),
    more: typeof more === "boolean" ? more : refuse("has no boolean where one belongs"),
    records: bytesOf(records, DIGEST_BYTES),
  };
}

/** Parses an untrusted message. Throws `PROTOCOL_VIOLATION`, `FORMAT_INVALID` or `LIMIT_EXCEEDED`. */
export function decodeMessage(bytes: Uint8Array): SyncMessage {
  const items = arrayOf(
    decodeCbor(bytes, LIMITS.syncMessageBytes, "sync message", BYTES_PER_ITEM),
    5,
  );
  const only = (): CborValue | undefined => tupleOf(items, 2)[1];
  switch (uintOf(items[0], 0)) {
    case 0:
      return helloOf(items);
    case 1:
      return { type: "heads", heads: headsOf(only()) };
    case 2:
      return { type: "have", heads: headsOf(only()) };
    case 3:
      return { type: "pull", spans: spansOf(only()) };
    case 4:
      return { type: "batches", batches: byteStringsOf(only(), MAX_BATCHES) };
    case 5:
      return { type: "push", batch: bytesOf(only()) };
    case 6: {
      const [, digest, records] = tupleOf(items, 3);
      return {
        type: "digest",
        digest: bytesOf(digest, DIGEST_BYTES),
        records: bytesOf(records, DIGEST_BYTES),
      };
    }
    case 7: {
      const [, acts, forks] = tupleOf(items, 3);
      return recordsOf(acts, forks);
    }
    case 8:
      return actsOf(items);
    case 9: {
      const hashes = arrayOf(only(), MAX_WANTED);
      return { type: "want", hashes: hashes.map((id) => parseHeaderHash(toHex(bytesOf(id, 32)))) };
    }
    case 10:
      return { type: "headers", headers: byteStringsOf(only(), MAX_HEADERS) };
    case 11:
      return { type: "stored", heads: headsOf(only(), 1) };
    case 12:
      return { type: "sealed", heads: headsOf(only(), 1) };
    default:
      return refuse("is of an unknown type");
  }
}
