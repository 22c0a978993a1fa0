// SPDX-License-Identifier: Apache-2.0
/**
 * What is checked of a base that a hub has signed, besides its signature. What documents hold is the hub's word: no writer has signed a
 * state. All that can be told without that word is: whose the heads are and that they are signed, that what is stated in
 * documents is of those chains and not later than they are, that it is well-formed and within the limits.
 */
import { parseCanonicalJson } from "@ctxmesh/codec";
import { decodeFrames } from "@ctxmesh/facts";
import type { ChainFrame } from "@ctxmesh/facts";
import { LIMITS, MeshError, fromHex, hlcToMs, toHex } from "@ctxmesh/model";
import type { DocumentName, HeaderHash, SignatureVerifier } from "@ctxmesh/model";
import { RichDocument, isStockClient } from "@ctxmesh/rich";
import {
  HASH_BYTES,
  decodeHashes,
  decodeHeaders,
  decodeMarks,
  decodePieces,
  manifestSigningInput,
} from "./base-format.ts";
import type { Manifest, Marks, PartKind, SignedManifest } from "./base-format.ts";
import { isIn } from "./base-hashes.ts";
import type { BaseShelf } from "./base-shelf.ts";
import { decodeDocument } from "./checkpoint-format.ts";
import { decodeSignedHeader, isSigned } from "./evidence.ts";
import type { ParsedHeader } from "./evidence.ts";
import { chainKey } from "./layout.ts";
import { clientOf } from "./parts.ts";
import type { Records } from "./records.ts";

/** What a base is checked against. */
export interface BaseCheckContext {
  readonly shelf: BaseShelf;
  readonly records: Records;
  readonly verifier: SignatureVerifier;
  /** The local wall clock, Unix milliseconds. */
  readonly nowMs: number;
}

/** A base that passed every check that needs no log. */
export interface CheckedBase {
  readonly base: SignedManifest;
  /** By replica and incarnation. */
  readonly heads: readonly ParsedHeader[];
  readonly voids: readonly ParsedHeader[];
  readonly marks: Marks;
}

/** A state is as large as what a hostile chain may make of a document, and what stands around it. */
const STATE_BYTES = 2 * LIMITS.documentHoldBytes;

const refuse = (problem: string): never => {
  throw new MeshError("FORMAT_INVALID", `base ${problem}`, { field: "base" });
};

const denied = (problem: string): never => {
  throw new MeshError("POLICY_REFUSED", `the base ${problem}`, { field: "base" });
};

/**
 * Whether it is of this space, signed, and by a device that is a hub: it has a grant for that, from before it was made, and is
 * not revoked. Throws `POLICY_REFUSED`, `SIGNATURE_INVALID`.
 */
export function assertBelieved(
  base: SignedManifest,
  { records: { space }, verifier, nowMs }: Omit<BaseCheckContext, "shelf">,
): void {
  const { hub, time } = base.manifest;
  if (base.manifest.space !== space.id) denied("is of another space");
  const grants = space.grants.get(hub) ?? [];
  const isHub = grants.some(
    ({ service, notBefore, notAfter }) =>
      service === "hub" && notBefore <= time + LIMITS.clockAheadMs && time <= notAfter,
  );
  if (!isHub) denied("is signed by a device that was no hub then, or is none any more");
  if (time > nowMs + LIMITS.clockAheadMs) denied("is of a time to come");
  if (!verifier.verify(fromHex(hub), manifestSigningInput(base), base.signature)) {
    throw new MeshError("SIGNATURE_INVALID", "the base is not signed by its hub");
  }
}

/** The parts of one kind, in order. */
async function* partsOf(
  shelf: BaseShelf,
  { parts }: Manifest,
  kind: PartKind,
): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    if (part.kind === kind) yield (await shelf.part(part)) ?? refuse("lacks a part");
  }
}

async function headersIn(
  { manifest }: SignedManifest,
  kind: "heads" | "void",
  { shelf, records, verifier }: BaseCheckContext,
): Promise<readonly ParsedHeader[]> {
  const headers: ParsedHeader[] = [];
  const most = kind === "heads" ? LIMITS.frontierHeads : LIMITS.voidHeaders;
  for await (const part of partsOf(shelf, manifest, kind)) {
    for (const bytes of decodeHeaders(part)) {
      const header = decodeSignedHeader(bytes);
      if (header.header.space !== records.space.id) refuse("has a header of another space");
      if (!isSigned(header, verifier)) refuse("has a header that its device did not sign");
      headers.push(header);
      if (headers.length > most) refuse("has too many headers");
    }
  }
  return headers;
}

/** The heads: rising, each of a batch that counts, together as many batches as the base says. Throws `FORMAT_INVALID`, `LIMIT_EXCEEDED`. */
export async function checkHeads(
  base: SignedManifest,
  context: BaseCheckContext,
): Promise<readonly ParsedHeader[]> {
  const heads = await headersIn(base, "heads", context);
  const { records, nowMs } = context;
  let before = "";
  let batches = 0;
  for (const { header, hash } of heads) {
    const { replica, incarnation, seq, hlc } = header;
    const chain = chainKey(replica, incarnation);
    if (chain <= before) refuse("has heads out of order");
    if (records.standing(header, hash).kind !== "counts") denied("has a head that does not count");
    if (hlcToMs(hlc) > nowMs + LIMITS.clockAheadMs) denied("has a head of a time to come");
    before = chain;
    batches += seq;
  }
  if (batches !== base.manifest.batches) refuse("has heads of other batches than it says");
  return heads;
}

/** Whether all of its heads still count; nothing else is looked at. Throws `FORMAT_INVALID`. */
export async function isStanding(
  { manifest }: SignedManifest,
  { shelf, records }: Pick<BaseCheckContext, "shelf" | "records">,
): Promise<boolean> {
  for await (const part of partsOf(shelf, manifest, "heads")) {
    for (const bytes of decodeHeaders(part)) {
      const { header, hash } = decodeSignedHeader(bytes);
      if (records.standing(header, hash).kind !== "counts") return false;
    }
  }
  return true;
}

/** The documents of a base, each with its whole encoded state. Throws `FORMAT_INVALID`, `INPUT_INVALID`, `LIMIT_EXCEEDED`. */
export async function* documentsIn(
  { manifest }: SignedManifest,
  shelf: BaseShelf,
): AsyncGenerator<readonly [doc: DocumentName, state: Uint8Array]> {
  let open:
    | { readonly doc: DocumentName; readonly pieces: Uint8Array[]; bytes: number }
    | undefined;
  let before = "";
  for await (const part of partsOf(shelf, manifest, "documents")) {
    for (const { doc, state, more } of decodePieces(part)) {
      if (open === undefined ? doc <= before : doc !== open.doc)
        refuse("has documents out of order");
      open ??= { doc, pieces: [], bytes: 0 };
      open.pieces.push(state);
      open.bytes += state.length;
      if (open.bytes > STATE_BYTES) refuse(`has a document that is too large: ${doc}`);
      if (more) continue;
      yield [doc, new Uint8Array(Buffer.concat(open.pieces))];
      before = doc;
      open = undefined;
    }
  }
  if (open !== undefined) refuse("ends within a document");
}

/** The hashes of a base, part by part, rising through all of them. Throws `FORMAT_INVALID`, `LIMIT_EXCEEDED`. */
export async function* hashesIn(
  { manifest }: SignedManifest,
  shelf: BaseShelf,
): AsyncGenerator<Uint8Array> {
  let last: Uint8Array | undefined;
  for await (const part of partsOf(shelf, manifest, "hashes")) {
    const hashes = decodeHashes(part, last);
    last = hashes.slice(-HASH_BYTES);
    yield hashes;
  }
}

/** What documents may hold something of. */
class Writers {
  readonly #newest = new Map<string, number>();
  readonly #clients = new Set<number>();

  constructor(heads: readonly ParsedHeader[]) {
    for (const { header } of heads) {
      const { replica, incarnation, hlc } = header;
      this.#newest.set(chainKey(replica, incarnation), hlc);
      this.#clients.add(clientOf(replica, incarnation));
    }
  }

  checkFacts(doc: DocumentName, frames: readonly ChainFrame[]): void {
    for (const { chain, frame } of frames) {
      const newest = this.#newest.get(chainKey(chain.writer, chain.incarnation));
      if (newest === undefined) return refuse(`has facts of a chain without a head in ${doc}`);
      for (const { key, hlc, valueJson } of frame.records) {
        if (hlc > newest) refuse(`has a fact that is newer than its chain in ${doc}`);
        if (valueJson !== undefined) parseCanonicalJson(valueJson, key);
      }
    }
  }

  isClient = (client: number): boolean => this.#clients.has(client);
}

async function checkDocuments(
  base: SignedManifest,
  heads: readonly ParsedHeader[],
  shelf: BaseShelf,
): Promise<void> {
  const writers = new Writers(heads);
  for await (const [doc, state] of documentsIn(base, shelf)) {
    const { facts, rich } = decodeDocument(state);
    if (facts !== undefined) writers.checkFacts(doc, decodeFrames(facts));
    if (rich !== undefined) RichDocument.checkState(rich, writers.isClient);
  }
}

/** As many hashes as batches, those of the heads among them. */
async function checkHashes(
  base: SignedManifest,
  heads: readonly ParsedHeader[],
  shelf: BaseShelf,
): Promise<void> {
  const sought = new Set<HeaderHash>(heads.map(({ hash }) => hash));
  let count = 0;
  for await (const hashes of hashesIn(base, shelf)) {
    count += hashes.length / HASH_BYTES;
    const [first, last] = [toHex(hashes.subarray(0, HASH_BYTES)), toHex(hashes.slice(-HASH_BYTES))];
    for (const hash of sought) {
      if (hash >= first && hash <= last && isIn(hashes, fromHex(hash))) sought.delete(hash);
    }
  }
  if (count !== base.manifest.batches) refuse("has other hashes than batches");
  if (sought.size > 0) refuse("lacks the hash of a head");
}

function checkMarks({ unnamed, voidParts }: Marks, heads: readonly ParsedHeader[]): void {
  const isWrong = unnamed.some((index) => heads[index] === undefined);
  if (isWrong || new Set(unnamed).size !== unnamed.length) refuse("names heads that it has not");
  const clients = new Set(heads.map(({ header }) => clientOf(header.replica, header.incarnation)));
  if (voidParts.some(({ client }) => !isStockClient(client) && !clients.has(client)))
    refuse("has a void part of nobody");
}

/** Checks a base whose parts are all here. Throws `FORMAT_INVALID`, `INPUT_INVALID`, `LIMIT_EXCEEDED`, and as {@link assertBelieved}. */
export async function checkBase(
  base: SignedManifest,
  context: BaseCheckContext,
): Promise<CheckedBase> {
  assertBelieved(base, context);
  const { shelf } = context;
  const heads = await checkHeads(base, context);
  const voids = await headersIn(base, "void", context);
  let marks: Marks | undefined;
  for await (const part of partsOf(shelf, base.manifest, "marks")) marks = decodeMarks(part);
  if (marks === undefined) return refuse("has no marks");
  checkMarks(marks, heads);
  await checkHashes(base, heads, shelf);
  await checkDocuments(base, heads, shelf);
  return { base, heads, voids, marks };
}
