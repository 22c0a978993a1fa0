// SPDX-License-Identifier: Apache-2.0
/**
 * The sync protocol, version 1: the same between agents (libp2p stream) and between agent and hub
 * (WebSocket). One message is one deterministic CBOR array, `LIMITS.syncMessageBytes` at most; the
 * channel keeps message boundaries and order.
 *
 * ```
 * [0, version: 1, space: bstr(32), digest: bstr(32)]      hello    first from both ends; digest over all heads
 * [1, [ [replica(32), inc(16), seq] ... ]]                heads    what the sender has applied and has not told before in this session
 * [2, [ [replica(32), inc(16), seq] ... ]]                have     heads that moved since the last heads or have
 * [3, [ [replica(32), inc(16), from, to] ... ]]           pull     please send these (both ends included)
 * [4, [ batch: bstr ... ]]                                batches  the answer to a pull, in causal order; 1,024 at most
 * [5, batch: bstr]                                        push     a batch that the sender just applied
 * [6, digest: bstr(32)]                                   digest   heads are wanted if it is not yours
 * ```
 *
 * Pulling is the receiver's: one pull is outstanding at a time and its answer carries at most
 * `LIMITS.syncChunkBytes`, so a slow reader is never sent more than that ahead.
 */
import { decodeCbor, encodeCbor } from "@ctxmesh/codec";
import type { CborValue } from "@ctxmesh/codec";
import {
  LIMITS,
  MeshError,
  fromHex,
  parseDeviceKey,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import type { DeviceKey, IncarnationId, SpaceId } from "@ctxmesh/model";
import type { ChainSpan } from "@ctxmesh/replica";

/** How far a chain is applied. */
export interface ChainSeq {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly seq: number;
}

/** One message of the protocol. */
export type SyncMessage =
  | { readonly type: "hello"; readonly space: SpaceId; readonly digest: Uint8Array }
  | { readonly type: "heads"; readonly heads: readonly ChainSeq[] }
  | { readonly type: "have"; readonly heads: readonly ChainSeq[] }
  | { readonly type: "pull"; readonly spans: readonly ChainSpan[] }
  | { readonly type: "batches"; readonly batches: readonly Uint8Array[] }
  | { readonly type: "push"; readonly batch: Uint8Array }
  | { readonly type: "digest"; readonly digest: Uint8Array };

const VERSION = 1;
/** Spans in one pull; what is left over is pulled next. */
export const MAX_SPANS = 1024;
/** Batches in one answer; no batch has less than 256 bytes, so the size of an answer comes first. */
export const MAX_BATCHES: number = LIMITS.syncChunkBytes / 256;

const headItem = (head: ChainSeq): CborValue => [
  fromHex(head.replica),
  fromHex(head.incarnation),
  head.seq,
];

function toItems(message: SyncMessage): CborValue {
  switch (message.type) {
    case "hello":
      return [0, VERSION, fromHex(message.space), message.digest];
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
      return [6, message.digest];
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

function chainOf(parts: readonly CborValue[]): { replica: DeviceKey; incarnation: IncarnationId } {
  return {
    replica: parseDeviceKey(toHex(bytesOf(parts[0], 32))),
    incarnation: parseIncarnationId(toHex(bytesOf(parts[1], 16))),
  };
}

const headsOf = (value: CborValue | undefined): readonly ChainSeq[] =>
  arrayOf(value, LIMITS.frontierHeads).map((item) => {
    const parts = tupleOf(item, 3);
    return { ...chainOf(parts), seq: uintOf(parts[2], 1) };
  });

const spansOf = (value: CborValue | undefined): readonly ChainSpan[] =>
  arrayOf(value, MAX_SPANS).map((item) => {
    const parts = tupleOf(item, 4);
    const from = uintOf(parts[2], 1);
    return { ...chainOf(parts), from, to: uintOf(parts[3], from) };
  });

/** Parses an untrusted message. Throws `PROTOCOL_VIOLATION`, `FORMAT_INVALID` or `LIMIT_EXCEEDED`. */
export function decodeMessage(bytes: Uint8Array): SyncMessage {
  const items = arrayOf(decodeCbor(bytes, LIMITS.syncMessageBytes, "sync message"), 4);
  switch (uintOf(items[0], 0)) {
    case 0: {
      const [, version, space, digest] = tupleOf(items, 4);
      if (version !== VERSION) refuse("is of an unknown protocol version");
      return {
        type: "hello",
        space: parseSpaceId(toHex(bytesOf(space, 32))),
        digest: bytesOf(digest, 32),
      };
    }
    case 1:
      return { type: "heads", heads: headsOf(tupleOf(items, 2)[1]) };
    case 2:
      return { type: "have", heads: headsOf(tupleOf(items, 2)[1]) };
    case 3:
      return { type: "pull", spans: spansOf(tupleOf(items, 2)[1]) };
    case 4: {
      const batches = arrayOf(tupleOf(items, 2)[1], MAX_BATCHES);
      return { type: "batches", batches: batches.map((batch) => bytesOf(batch)) };
    }
    case 5:
      return { type: "push", batch: bytesOf(tupleOf(items, 2)[1]) };
    case 6:
      return { type: "digest", digest: bytesOf(tupleOf(items, 2)[1], 32) };
    default:
      return refuse("is of an unknown type");
  }
}
