// SPDX-License-Identifier: Apache-2.0
/**
 * The bytes of a base: what the log of a hub came to at a moment, for whoever does not want to read the log. A manifest
 * that the hub has signed names parts by their hashes; whoever has them may hand them on.
 *
 * ```
 * base      = CBOR [ manifest: bstr, signature: bstr(64) ]                             name = SHA-256(manifest)
 * manifest  = CBOR { v: 1, space: bstr(32), hub: bstr(32), time: uint,                 Unix milliseconds
 *                    acts: [ act id: bstr(32) ... ],                                  that no other one names, of those that it was judged by
 *                    batches: uint, batchBytes: uint,                                 what it stands for; the mean size of one
 *                    parts: [ [ kind: uint, hash: bstr(32), length: uint ] ... ] }    in the order of the kinds
 * signed    = "ctxmesh/base/v1\n" || manifest                                         Ed25519, key = hub
 * part      = a body as of @ctxmesh/codec; hash and length are of that, and what is in it is, by kind:
 *   1 heads      CBOR [ signed header: bstr ... ]        the newest of each chain that counts, by replica and incarnation
 *   2 void       CBOR [ signed header: bstr ... ]        of void batches; of one chain by rising seq
 *   3 marks      CBOR [ [ index of a head that no header names: uint ... ], [ [ doc: text, client: uint, clock: uint ] ... ] ]
 *   4 documents  CBOR [ [ doc: text, state: bstr, more: bool ] ... ]     by name; `more`: the state goes on in the next part
 *   5 hashes     header hash(32) *                       of all batches that it stands for, rising
 * ```
 *
 * A document's state is the one of `checkpoint-format.ts`. A part of documents ends where the name of its last one says so,
 * if it is large enough: thus two bases have most parts in common when few documents differ.
 */
import {
  decodeBody,
  decodeCbor,
  encodeBody,
  encodeCbor,
  MapReader,
  utf8Encode,
} from "@ctxmesh/codec";
import type { CborValue } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import {
  LIMITS,
  MeshError,
  fromHex,
  parseActId,
  parseDeviceKey,
  parseDocumentName,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import type { ActId, DeviceKey, DeviceSigner, DocumentName, SpaceId } from "@ctxmesh/model";
import type { VoidPart } from "./void-content.ts";

/** What is in a part. */
export type PartKind = "heads" | "void" | "marks" | "documents" | "hashes";

/** A part, as its manifest names it. */
export interface PartRef {
  readonly kind: PartKind;
  /** SHA-256 of its bytes, hex. */
  readonly hash: string;
  readonly length: number;
}

/** A signed base without its parts. */
export interface Manifest {
  readonly space: SpaceId;
  /** Whose word it is. */
  readonly hub: DeviceKey;
  /** When it was made, by the hub's clock, Unix milliseconds. */
  readonly time: number;
  /** Of the acts that it was judged by, those that no other one names: with what they name, these are all. */
  readonly acts: readonly ActId[];
  /** Number of the batches that it stands for. */
  readonly batches: number;
  /** The mean size of one in the hub's log. */
  readonly batchBytes: number;
  readonly parts: readonly PartRef[];
}

/** A manifest with its signature, and its name. */
export interface SignedManifest {
  readonly manifest: Manifest;
  /** SHA-256 of the manifest's bytes, hex. */
  readonly name: string;
  readonly manifestBytes: Uint8Array;
  readonly signature: Uint8Array;
  /** All of it, as it travels. */
  readonly bytes: Uint8Array;
}

/** What is remembered besides heads and documents. */
export interface Marks {
  /** Indexes of heads that no header names, oldest first. */
  readonly unnamed: readonly number[];
  readonly voidParts: readonly VoidPart[];
}

/** A document's state, or a piece of it. */
export interface DocumentPiece {
  readonly doc: DocumentName;
  readonly state: Uint8Array;
  /** Whether it goes on in the next part. */
  readonly more: boolean;
}

const VERSION = 1;
const KINDS: readonly PartKind[] = ["heads", "void", "marks", "documents", "hashes"];
const MEMBERS = ["v", "space", "hub", "time", "acts", "batches", "batchBytes", "parts"];
const DOMAIN = utf8Encode("ctxmesh/base/v1\n");
/** Bytes of one header's hash. */
export const HASH_BYTES = 32;
/** In every format here an item takes that much on average, or it is longer. */
const BYTES_PER_ITEM = 4;
/** A part is begun anew where its content, unpacked, would be longer. */
export const PART_CONTENT_BYTES: number = LIMITS.basePartBytes - 4_096;

const refuse = (problem: string): never => {
  throw new MeshError("FORMAT_INVALID", `base ${problem}`, { field: "base" });
};

const bytesOf = (value: CborValue | undefined, length?: number): Uint8Array =>
  value instanceof Uint8Array && (length === undefined || value.length === length)
    ? value
    : refuse("has no byte string where one belongs");

const uintOf = (value: CborValue | undefined): number =>
  typeof value === "number" && value >= 0 ? value : refuse("has no number where one belongs");

const listOf = (value: CborValue | undefined): readonly CborValue[] =>
  Array.isArray(value) ? (value as readonly CborValue[]) : refuse("has no list where one belongs");

function tupleOf(value: CborValue | undefined, length: number): readonly CborValue[] {
  const items = listOf(value);
  return items.length === length
    ? items
    : refuse(`has no ${String(length)} items where they belong`);
}

const docOf = (value: CborValue | undefined): DocumentName =>
  parseDocumentName(typeof value === "string" ? value : refuse("has no name where one belongs"));

/** What the hub signs. */
const signingInput = (manifestBytes: Uint8Array): Uint8Array =>
  new Uint8Array(Buffer.concat([DOMAIN, manifestBytes]));

const nameOf = (manifestBytes: Uint8Array): string => toHex(sha256(manifestBytes));

/** Bytes of all parts. */
export const sizeOfParts = ({ parts }: Pick<Manifest, "parts">): number =>
  parts.reduce((sum, { length }) => sum + length, 0);

/** Whether it is within the limits of a base. */
export const isWithinLimits = ({ parts }: Pick<Manifest, "parts">): boolean =>
  parts.length <= LIMITS.baseParts &&
  sizeOfParts({ parts }) <= LIMITS.baseBytes &&
  parts.every(({ length }) => length <= LIMITS.basePartBytes);

/** Signs a manifest, whose hub is the signer's device. */
export function signManifest(manifest: Manifest, signer: DeviceSigner): SignedManifest {
  const { space, hub, time, acts, batches, batchBytes, parts } = manifest;
  const manifestBytes = encodeCbor({
    v: VERSION,
    space: fromHex(space),
    hub: fromHex(hub),
    time,
    acts: acts.map(fromHex),
    batches,
    batchBytes,
    parts: parts.map(({ kind, hash, length }) => [KINDS.indexOf(kind) + 1, fromHex(hash), length]),
  });
  const signature = signer.sign(signingInput(manifestBytes));
  const bytes = encodeCbor([manifestBytes, signature]);
  return { manifest, name: nameOf(manifestBytes), manifestBytes, signature, bytes };
}

function partOf(value: CborValue): PartRef {
  const [kind, hash, length] = tupleOf(value, 3);
  return {
    kind: KINDS[uintOf(kind) - 1] ?? refuse("has a part of an unknown kind"),
    hash: toHex(bytesOf(hash, HASH_BYTES)),
    length: uintOf(length),
  };
}

/** The kinds follow each other, and a part that goes on is not the last; of heads and marks there is a part at least. */
function assertOrder(parts: readonly PartRef[]): void {
  const order = parts.map(({ kind }) => KINDS.indexOf(kind));
  if (order.some((kind, i) => kind < (order[i - 1] ?? 0))) refuse("has its parts in another order");
  if (parts.filter(({ kind }) => kind === "marks").length !== 1)
    refuse("has not one part of marks");
}

/** Parses an untrusted base; the signature is not verified. Throws `FORMAT_INVALID`, `INPUT_INVALID`, `LIMIT_EXCEEDED`. */
export function decodeManifest(bytes: Uint8Array): SignedManifest {
  const items = tupleOf(decodeCbor(bytes, LIMITS.basePartBytes, "base", BYTES_PER_ITEM), 2);
  const [manifestBytes, signature] = [bytesOf(items[0]), bytesOf(items[1], 64)];
  const value = decodeCbor(manifestBytes, LIMITS.basePartBytes, "base", BYTES_PER_ITEM);
  const reader = new MapReader(value, MEMBERS, "base");
  if (reader.uint("v") !== VERSION) refuse("is of an unknown version");
  const manifest: Manifest = {
    space: parseSpaceId(toHex(reader.bytes("space", 32))),
    hub: parseDeviceKey(toHex(reader.bytes("hub", 32))),
    time: reader.uint("time"),
    acts: reader.array("acts", LIMITS.acts).map((id) => parseActId(toHex(bytesOf(id, 32)))),
    batches: reader.uint("batches"),
    batchBytes: reader.uint("batchBytes"),
    parts: reader.array("parts", LIMITS.baseParts).map(partOf),
  };
  if (!isWithinLimits(manifest)) {
    throw new MeshError("LIMIT_EXCEEDED", "the base is larger than any may be", { field: "base" });
  }
  assertOrder(manifest.parts);
  return { manifest, name: nameOf(manifestBytes), manifestBytes, signature, bytes };
}

/** What its signer signed, for `SignatureVerifier.verify`. */
export const manifestSigningInput = ({ manifestBytes }: SignedManifest): Uint8Array =>
  signingInput(manifestBytes);

/** A part's bytes, and how a manifest names it. */
export function encodePart(
  kind: PartKind,
  content: Uint8Array,
): { readonly ref: PartRef; readonly bytes: Uint8Array } {
  const bytes = encodeBody(content);
  return { ref: { kind, hash: toHex(sha256(bytes)), length: bytes.length }, bytes };
}

/** Whether bytes are the part that a manifest names. */
export const isPart = ({ hash, length }: PartRef, bytes: Uint8Array): boolean =>
  bytes.length === length && toHex(sha256(bytes)) === hash;

const itemsOf = (part: Uint8Array): readonly CborValue[] =>
  listOf(decodeCbor(decodeBody(part), LIMITS.bodyBytes, "base", BYTES_PER_ITEM));

/** The content of a part of heads, or of void headers. */
export const encodeHeaders = (headers: readonly Uint8Array[]): Uint8Array => encodeCbor(headers);

/** What is in a part of {@link encodeHeaders}. Throws `FORMAT_INVALID`, `LIMIT_EXCEEDED`. */
export const decodeHeaders = (part: Uint8Array): readonly Uint8Array[] =>
  itemsOf(part).map((item) => bytesOf(item));

/** The content of the part of marks. */
export const encodeMarks = ({ unnamed, voidParts }: Marks): Uint8Array =>
  encodeCbor([unnamed, voidParts.map(({ doc, client, clock }) => [doc, client, clock])]);

/** What is in a part of {@link encodeMarks}. Throws `FORMAT_INVALID`, `INPUT_INVALID`, `LIMIT_EXCEEDED`. */
export function decodeMarks(part: Uint8Array): Marks {
  const [unnamed, voidParts] = tupleOf(itemsOf(part), 2);
  return {
    unnamed: listOf(unnamed).map(uintOf),
    voidParts: listOf(voidParts).map((item) => {
      const [doc, client, clock] = tupleOf(item, 3);
      return { doc: docOf(doc), client: uintOf(client), clock: uintOf(clock) };
    }),
  };
}

/** The content of a part of documents. */
export const encodePieces = (pieces: readonly DocumentPiece[]): Uint8Array =>
  encodeCbor(pieces.map(({ doc, state, more }) => [doc, state, more]));

/** What is in a part of {@link encodePieces}. Throws `FORMAT_INVALID`, `INPUT_INVALID`, `LIMIT_EXCEEDED`. */
export const decodePieces = (part: Uint8Array): readonly DocumentPiece[] =>
  itemsOf(part).map((item, i, { length }) => {
    const [doc, state, more] = tupleOf(item, 3);
    if (typeof more !== "boolean" || (more && i < length - 1)) {
      return refuse("has a document that goes on where it can't");
    }
    return { doc: docOf(doc), state: bytesOf(state), more };
  });

/** The hashes in a part, each 32 bytes, rising and behind `after`. Throws `FORMAT_INVALID`, `LIMIT_EXCEEDED`. */
export function decodeHashes(part: Uint8Array, after: Uint8Array | undefined): Uint8Array {
  const hashes = decodeBody(part);
  if (hashes.length === 0 || hashes.length % HASH_BYTES !== 0) refuse("has half a hash");
  let before = after;
  for (let at = 0; at < hashes.length; at += HASH_BYTES) {
    const hash = hashes.subarray(at, at + HASH_BYTES);
    if (before !== undefined && Buffer.compare(before, hash) >= 0)
      refuse("has hashes out of order");
    before = hash;
  }
  return hashes;
}

/** Whether a part of documents may end behind this one, when it is large enough: one in four. */
export const endsPart = (doc: DocumentName): boolean =>
  ((sha256(utf8Encode(doc))[0] ?? 0) & 3) === 0;
