// SPDX-License-Identifier: Apache-2.0
/**
 * The sync protocol, version 3: the same between agents (libp2p stream) and between agent and hub
 * (WebSocket). One message is one deterministic CBOR array, `LIMITS.syncMessageBytes` at most; the
 * channel keeps message boundaries and order.
 *
 * ```
 * head    = [ replica(32), inc(16), seq, the first 16 bytes of the hash of the header there; seq 0 and zeros: nothing of it counts any more ]
 * fork    = [ replica(32), inc(16), seq: the first that does not count ]
 *
 * [0, version: 3, space(32), digest(16), records(16), subscription or null]
 *                                                         hello    first from both ends; digests over all heads, and over all records; what of others'
 *                                                                  batches the sender keeps, if not everything: see `body-messages.ts`
 * [2, [ head ... ]]                                       have     heads of the sender that moved and that it has not told before; 8,192 at most
 * [3, [ [replica(32), inc(16), from, to] ... ]]           pull     please send these (both ends included)
 * [4, [ batch: bstr ... ]]                                batches  the answer to a pull, in causal order; 1,024 at most
 * [5, batch: bstr]                                        push     a batch that the sender just applied
 * [6, digest(16), records(16), asks: bool]                digest   as in hello, later on; asks: yours is wanted in turn if it is the same
 * [7, [ act id(32) ... ] or null, [ fork ... ] or null]   records  the acts and the forks that the sender knows; null: not said in this message
 * [8, [ act: bstr ... ], [ proof: bstr ... ], more: bool, records(16)]
 *                                                         acts     the answer to records, or news: what the receiver lacks, parents before
 *                                                                  children; more: ask again; the digest is the sender's over all of its records
 * [9, [ header hash(32) ... ]]                            want     headers that held batches wait for; 64 at most
 * [10, [ signed header: bstr ... ]]                       headers  the answer to a want: those that the sender has, and the void ones behind them, each
 *                                                                  before what it names; CBOR [ header, signature ]; 1,024 at most
 * [11, [ head ... ]]                                      stored   from a hub: chains that the receiver has, as far as they are durable there; 8,192 at most
 * [12, [ head ... ]]                                      sealed   from a hub: what of the newest seal's frontier the receiver was not told yet; 8,192 at most
 * [13, here, elsewhere]                                   routes   whose batches the sender wants pushed; see `routes-message.ts`
 * [14, round, [ bound, value ... ]]                       ranges   where heads differ; see `range-message.ts`
 * [15, [ [header hash(32), section] ... ], subscription or null]
 *                                                         wanted   bodies that the sender lacks; see `body-messages.ts`
 * [16, [ [header hash(32), section, body or null] ... ]]  bodies   the answer
 * [17, base or null, part]                                base-pull  please send this part of a base; see `base-message.ts`
 * [18, base or null, part, bytes]                         base-part  the answer
 * [20, id: uint, question: bstr]                          ask      see `questions.ts`; asked of agents, too
 * [21, id: uint, answer: bstr]                            answer   to the ask with this id; in whatever order
 * [19, class, last: bool, bytes: bstr]                    part     of one of the others, on a link with a budget; see `link-parts.ts`
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
import { LIMITS, fromHex, parseHeaderHash, parseSpaceId, toHex } from "@ctxmesh/model";
import type { HeaderHash, SpaceId, Subscription } from "@ctxmesh/model";
import type { ChainSpan } from "@ctxmesh/replica";
import {
  arrayOf,
  booleanOf,
  byteStringsOf,
  bytesOf,
  chainOf,
  headItem,
  headsOf,
  refuse,
  seqItem,
  tupleOf,
  uintOf,
} from "./message-parts.ts";
import type { ChainHead, ChainSeq } from "./message-parts.ts";
import {
  bodiesItems,
  bodiesOf,
  subscriptionItem,
  subscriptionOf,
  wantedItems,
  wantedOf,
} from "./body-messages.ts";
import type { BodiesMessage, WantedMessage } from "./body-messages.ts";
import { answerOf, askOf } from "./ask-message.ts";
import type { AnswerMessage, AskMessage } from "./ask-message.ts";
import { basePartItems, basePartOf, basePullItems, basePullOf } from "./base-message.ts";
import type { BasePartMessage, BasePullMessage } from "./base-message.ts";
import { rangesItems, rangesOf } from "./range-message.ts";
import type { RangesMessage } from "./range-message.ts";
import { routesItems, routesOf } from "./routes-message.ts";
import type { RoutesMessage } from "./routes-message.ts";

export { MAX_HEADS, NO_HASH } from "./message-parts.ts";
export type { Chain, ChainHead, ChainSeq } from "./message-parts.ts";

/** One message of the protocol. */
export type SyncMessage =
  | {
      readonly type: "hello";
      readonly space: SpaceId;
      readonly digest: Uint8Array;
      readonly records: Uint8Array;
      /** What of others' batches the sender keeps; undefined for everything. */
      readonly subscription?: Subscription | undefined;
    }
  | { readonly type: "have"; readonly heads: readonly ChainHead[] }
  | { readonly type: "pull"; readonly spans: readonly ChainSpan[] }
  | { readonly type: "batches"; readonly batches: readonly Uint8Array[] }
  | { readonly type: "push"; readonly batch: Uint8Array }
  | {
      readonly type: "digest";
      readonly digest: Uint8Array;
      readonly records: Uint8Array;
      readonly asks: boolean;
    }
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
  | { readonly type: "sealed"; readonly heads: readonly ChainHead[] }
  | RoutesMessage
  | WantedMessage
  | BodiesMessage
  | RangesMessage
  | BasePullMessage
  | BasePartMessage
  | AskMessage
  | AnswerMessage;

/** Bytes of a digest as it is told: the first half, enough to notice a difference that is then looked into. */
export const DIGEST_BYTES = 16;
/** The shortest span has 54 bytes and 5 items; nothing else in a message is shorter for its items. */
const BYTES_PER_ITEM = 8;
const VERSION = 3;
/** Spans in one pull; what is left over is pulled next. */
export const MAX_SPANS = 1024;
/** Headers wanted at a time. */
export const MAX_WANTED = 64;
/** Headers in one answer. */
export const MAX_HEADERS = 1024;
/** Batches in one answer; no batch has less than 256 bytes, so the size of an answer comes first. */
export const MAX_BATCHES: number = LIMITS.syncChunkBytes / 256;

function helloItems(message: SyncMessage & { readonly type: "hello" }): CborValue[] {
  const { space, digest, records, subscription } = message;
  return [0, VERSION, fromHex(space), digest, records, subscriptionItem(subscription)];
}

function toItems(message: SyncMessage): CborValue {
  switch (message.type) {
    case "hello":
      return helloItems(message);
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
      return [6, message.digest, message.records, message.asks];
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
    case "routes":
      return [13, ...routesItems(message)];
    case "ranges":
      return [14, ...rangesItems(message)];
    case "wanted":
      return [15, ...wantedItems(message)];
    case "bodies":
      return [16, ...bodiesItems(message)];
    case "base-pull":
      return [17, ...basePullItems(message)];
    case "base-part":
      return [18, ...basePartItems(message)];
    case "ask":
      return [20, message.id, message.question];
    case "answer":
      return [21, message.id, message.answer];
  }
}

/** The bytes of a message. */
export const encodeMessage = (message: SyncMessage): Uint8Array => encodeCbor(toItems(message));

const spansOf = (value: CborValue | undefined): readonly ChainSpan[] =>
  arrayOf(value, MAX_SPANS).map((item) => {
    const parts = tupleOf(item, 4);
    const from = uintOf(parts[2], 1);
    return { ...chainOf(parts), from, to: uintOf(parts[3], from) };
  });

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
  const [, , space, digest, records, subscription] = tupleOf(items, 6);
  return {
    type: "hello",
    space: parseSpaceId(toHex(bytesOf(space, 32))),
    digest: bytesOf(digest, DIGEST_BYTES),
    records: bytesOf(records, DIGEST_BYTES),
    subscription: subscriptionOf(subscription),
  };
}

function digestOf(items: readonly CborValue[]): SyncMessage {
  const [, digest, records, asks] = tupleOf(items, 4);
  return {
    type: "digest",
    digest: bytesOf(digest, DIGEST_BYTES),
    records: bytesOf(records, DIGEST_BYTES),
    asks: booleanOf(asks),
  };
}

function actsOf(items: readonly CborValue[]): SyncMessage {
  const [, acts, proofs, more, records] = tupleOf(items, 5);
  return {
    type: "acts",
    acts: byteStringsOf(acts, LIMITS.acts),
    proofs: byteStringsOf(proofs, LIMITS.proofs),
    more: booleanOf(more),
    records: bytesOf(records, DIGEST_BYTES),
  };
}

/** Parses an untrusted message. Throws `PROTOCOL_VIOLATION`, `FORMAT_INVALID`, `INPUT_INVALID` or `LIMIT_EXCEEDED`. */
export function decodeMessage(bytes: Uint8Array): SyncMessage {
  const items = arrayOf(
    decodeCbor(bytes, LIMITS.syncMessageBytes, "sync message", BYTES_PER_ITEM),
    6,
  );
  const only = (): CborValue | undefined => tupleOf(items, 2)[1];
  const two = (): readonly [CborValue | undefined, CborValue | undefined] => {
    const [, first, second] = tupleOf(items, 3);
    return [first, second];
  };
  switch (uintOf(items[0], 0)) {
    case 0:
      return helloOf(items);
    case 2:
      return { type: "have", heads: headsOf(only()) };
    case 3:
      return { type: "pull", spans: spansOf(only()) };
    case 4:
      return { type: "batches", batches: byteStringsOf(only(), MAX_BATCHES) };
    case 5:
      return { type: "push", batch: bytesOf(only()) };
    case 6:
      return digestOf(items);
    case 7:
      return recordsOf(...two());
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
    case 13:
      return routesOf(...two());
    case 14:
      return rangesOf(...two());
    case 15:
      return wantedOf(...two());
    case 16:
      return bodiesOf(only());
    case 17:
      return basePullOf(...two());
    case 18: {
      const [, base, part, content] = tupleOf(items, 4);
      return basePartOf(base, part, content);
    }
    case 20:
      return askOf(...two());
    case 21:
      return answerOf(...two());
    default:
      return refuse("is of an unknown type");
  }
}
