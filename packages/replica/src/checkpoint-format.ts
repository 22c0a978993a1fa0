// SPDX-License-Identifier: Apache-2.0
/**
 * The bytes of a checkpoint: what the log up to a position amounts to. All of it is deterministic CBOR; the store
 * keeps each record's own hash. The documents are not in it but beside it, so that only those that changed are written:
 *
 * ```
 * checkpoint = { v: 1, position: uint,
 *                heads: [ head, ... ],            what counts of each chain, by replica and incarnation
 *                unnamed: [ uint, ... ],          indexes of heads that no header names yet, oldest first
 *                voids: [ [ reason: text, batches: uint, head ], ... ],   the newest stored batch of such a chain
 *                ownVoid: [ position: uint, ... ],
 *                voidParts: [ [ doc: text, client: uint, clock: uint ], ... ],
 *                arrived: [ hash: bstr(32), ... ],
 *                documents: [ [ doc: text, position: uint ], ... ],
 *                ? omitted: [ [ doc: text, sections, bytes, rich, passing, passingBytes, untilMs: uint ], ... ],
 *                ? lacking: [ [ replica: bstr(32), incarnation: bstr(16), sections, untilMs: uint ], ... ] }   there when something is left out
 * head       = [ replica: bstr(32), incarnation: bstr(16), seq: uint, hash: bstr(32), hlc: uint ]
 * document   = [ 1, facts: bstr / null, rich: bstr / null ]     as of @ctxmesh/facts and @ctxmesh/rich; sealed
 * ```
 */
import { MapReader, decodeCbor, encodeCbor } from "@ctxmesh/codec";
import type { CborValue } from "@ctxmesh/codec";
import {
  MeshError,
  fromHex,
  parseDeviceKey,
  parseDocumentName,
  parseHeaderHash,
  parseIncarnationId,
  toHex,
} from "@ctxmesh/model";
import type { DocumentName, HeaderHash, Hlc } from "@ctxmesh/model";
import { chainKey } from "./layout.ts";
import type { Head } from "./layout.ts";
import type { OmittedCounts, OmittedOfChain } from "./omissions.ts";
import type { VoidReason } from "./state.ts";
import type { VoidPart } from "./void-content.ts";

/** The end of a chain that did not count. */
export interface VoidTail {
  readonly reason: VoidReason;
  /** Batches of it. */
  readonly batches: number;
  /** The newest one that was stored. */
  readonly head: Head;
}

/** What the log up to a position amounts to; but for the content of documents, which have records of their own. */
export interface Checkpoint {
  /** In the log; everything up to there is in it. */
  readonly position: number;
  /** What counts of each chain. */
  readonly heads: readonly Head[];
  /** Of these, those that no header names as a dependency, oldest first. */
  readonly unnamed: readonly Head[];
  readonly voids: readonly VoidTail[];
  /** Log positions of the device's own void batches. */
  readonly ownVoid: readonly number[];
  readonly voidParts: readonly VoidPart[];
  /** Batches that count though their header alone was here once. */
  readonly arrived: readonly HeaderHash[];
  /** Each document, and the position in the key of its state. */
  readonly documents: ReadonlyMap<DocumentName, number>;
  /** What is left out of documents, and of chains by key; absent when nothing is. */
  readonly omitted?: readonly (readonly [DocumentName, OmittedCounts])[];
  readonly lacking?: readonly (readonly [chain: string, OmittedOfChain])[];
}

/** The encoded parts of a document. */
export interface DocumentState {
  readonly facts: Uint8Array | undefined;
  readonly rich: Uint8Array | undefined;
}

const VERSION = 1;
const MEMBERS = [
  "v",
  "position",
  "heads",
  "unnamed",
  "voids",
  "ownVoid",
  "voidParts",
  "arrived",
  "documents",
];
const OPTIONAL = ["omitted", "lacking"];
const REASONS: readonly VoidReason[] = ["revoked", "equivocation", "grant", "content", "waiting"];
/** It is our own, and what is in it was in memory. */
const UNBOUNDED = Number.MAX_SAFE_INTEGER;

const refuse = (problem: string): never => {
  throw new MeshError("FORMAT_INVALID", `checkpoint ${problem}`);
};

const encodeHead = ({ replica, incarnation, seq, hash, hlc }: Head): CborValue => [
  fromHex(replica),
  fromHex(incarnation),
  seq,
  fromHex(hash),
  hlc,
];

const encodeOmitted = ([doc, counts]: readonly [DocumentName, OmittedCounts]): CborValue => {
  const { sections, bytes, rich, closed, passing, passingBytes, untilMs } = counts;
  // What is here by now is opened only once the log is gone through; until then it is as if one were missing.
  return [doc, sections, bytes, Math.max(rich, Number(closed)), passing, passingBytes, untilMs];
};

const encodeLacking = ([chain, counts]: readonly [string, OmittedOfChain]): CborValue => [
  fromHex(chain.slice(0, 64)),
  fromHex(chain.slice(64)),
  counts.sections,
  counts.untilMs,
];

/** The bytes of a checkpoint. */
export function encodeCheckpoint(checkpoint: Checkpoint): Uint8Array {
  const { position, heads, voids, ownVoid, voidParts, arrived, documents } = checkpoint;
  const indexes = new Map(heads.map(({ hash }, i) => [hash, i]));
  return encodeCbor({
    v: VERSION,
    position,
    heads: heads.map(encodeHead),
    unnamed: checkpoint.unnamed.map(({ hash }) => indexes.get(hash) ?? refuse("has a head twice")),
    voids: voids.map(({ reason, batches, head }) => [reason, batches, encodeHead(head)]),
    ownVoid,
    voidParts: voidParts.map(({ doc, client, clock }) => [doc, client, clock]),
    arrived: arrived.map((hash) => fromHex(hash)),
    documents: [...documents],
    ...(checkpoint.omitted === undefined ? {} : { omitted: checkpoint.omitted.map(encodeOmitted) }),
    ...(checkpoint.lacking === undefined ? {} : { lacking: checkpoint.lacking.map(encodeLacking) }),
  });
}

const uint = (value: CborValue | undefined): number =>
  typeof value === "number" && value >= 0 ? value : refuse("has no number where one must be");

const text = (value: CborValue | undefined): string =>
  typeof value === "string" ? value : refuse("has no text where it must be");

const bytesOf = (value: CborValue | undefined): Uint8Array =>
  value instanceof Uint8Array ? value : refuse("has no bytes where they must be");

function tuple(value: CborValue | undefined, length: number): readonly CborValue[] {
  const items: readonly CborValue[] = Array.isArray(value) ? value : [];
  return items.length === length
    ? items
    : refuse(`has no ${String(length)} items where they must be`);
}

function decodeHead(value: CborValue | undefined): Head {
  const [replica, incarnation, seq, hash, hlc] = tuple(value, 5);
  return {
    replica: parseDeviceKey(toHex(bytesOf(replica))),
    incarnation: parseIncarnationId(toHex(bytesOf(incarnation))),
    seq: uint(seq),
    hash: parseHeaderHash(toHex(bytesOf(hash))),
    hlc: uint(hlc) as Hlc,
  };
}

function decodeVoid(value: CborValue): VoidTail {
  const [reason, batches, head] = tuple(value, 3);
  const known = REASONS.find((each) => each === reason) ?? refuse("has an unknown reason");
  return { reason: known, batches: uint(batches), head: decodeHead(head) };
}

function decodePart(value: CborValue): VoidPart {
  const [doc, client, clock] = tuple(value, 3);
  return { doc: parseDocumentName(text(doc)), client: uint(client), clock: uint(clock) };
}

function decodeEntry(value: CborValue): readonly [DocumentName, number] {
  const [doc, position] = tuple(value, 2);
  return [parseDocumentName(text(doc)), uint(position)];
}

function decodeOmitted(value: CborValue): readonly [DocumentName, OmittedCounts] {
  const [doc, sections, bytes, rich, passing, passingBytes, untilMs] = tuple(value, 7);
  return [
    parseDocumentName(text(doc)),
    {
      sections: uint(sections),
      bytes: uint(bytes),
      rich: uint(rich),
      closed: uint(rich) > 0,
      passing: uint(passing),
      passingBytes: uint(passingBytes),
      untilMs: uint(untilMs),
    },
  ];
}

function decodeLacking(value: CborValue): readonly [string, OmittedOfChain] {
  const [replica, incarnation, sections, untilMs] = tuple(value, 4);
  const chain = chainKey(
    parseDeviceKey(toHex(bytesOf(replica))),
    parseIncarnationId(toHex(bytesOf(incarnation))),
  );
  return [chain, { sections: uint(sections), untilMs: uint(untilMs) }];
}

/** Parses what {@link encodeCheckpoint} makes. Throws `FORMAT_INVALID`, `INPUT_INVALID`. */
export function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  const value = decodeCbor(bytes, UNBOUNDED, "checkpoint");
  const reader = new MapReader(value, MEMBERS, "checkpoint", OPTIONAL);
  if (reader.uint("v") !== VERSION) refuse("has an unknown version");
  const all = (name: string): readonly CborValue[] => reader.array(name, UNBOUNDED);
  const heads = all("heads").map(decodeHead);
  return {
    position: reader.uint("position"),
    heads,
    unnamed: all("unnamed").map((index) => heads[uint(index)] ?? refuse("names no head")),
    voids: all("voids").map(decodeVoid),
    ownVoid: all("ownVoid").map(uint),
    voidParts: all("voidParts").map(decodePart),
    arrived: all("arrived").map((hash) => parseHeaderHash(toHex(bytesOf(hash)))),
    documents: new Map(all("documents").map(decodeEntry)),
    ...(reader.has("omitted") ? { omitted: all("omitted").map(decodeOmitted) } : {}),
    ...(reader.has("lacking") ? { lacking: all("lacking").map(decodeLacking) } : {}),
  };
}

/** The bytes of a document's state, to be sealed. */
export const encodeDocument = ({ facts, rich }: DocumentState): Uint8Array =>
  encodeCbor([VERSION, facts ?? null, rich ?? null]);

/** Parses what {@link encodeDocument} makes; of foreign bytes no more items are decoded than it has. Throws `FORMAT_INVALID`. */
export function decodeDocument(bytes: Uint8Array): DocumentState {
  const value = decodeCbor(bytes, UNBOUNDED, "document", UNBOUNDED);
  const [version, facts, rich] = tuple(value, 3);
  if (version !== VERSION) refuse("has a document of an unknown version");
  return {
    facts: facts === null ? undefined : bytesOf(facts),
    rich: rich === null ? undefined : bytesOf(rich),
  };
}
