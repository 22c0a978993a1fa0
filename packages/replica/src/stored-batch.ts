// SPDX-License-Identifier: Apache-2.0
/**
 * A batch as it lies in the log. With a vault each body is sealed with the data key of its document, for its
 * place in the chain; header and signature stay readable, so a chain verifies without any key:
 *
 * ```
 * stored = CBOR [ header: bstr, signature: bstr(64), [ body or sealed body: bstr, or null where it is left out, ... ] ]
 * place  = replica(32) inc(16) seq(u64) section(u32)
 * ```
 */
import { decodeBatch, decodeBody, encodeBatch } from "@ctxmesh/codec";
import type { Batch, Header, Section } from "@ctxmesh/codec";
import { decodeFrame } from "@ctxmesh/facts";
import type { FactFrame } from "@ctxmesh/facts";
import { LIMITS, fromHex } from "@ctxmesh/model";
import type { DocumentName, HeaderHash, Vault } from "@ctxmesh/model";
import type { ParsedBatch } from "./checks.ts";
import { hashOfHeader } from "./evidence.ts";

const PLACE_BYTES = 60;
/** A batch as it is stored, at most: with room for what sealing adds to each body. */
export const STORED_BYTES: number = LIMITS.batchBytes + 64 * LIMITS.sectionsPerBatch;

function placeOf({ replica, incarnation, seq }: Header, section: number): Uint8Array {
  const place = new Uint8Array(PLACE_BYTES);
  place.set(fromHex(replica));
  place.set(fromHex(incarnation), 32);
  const view = new DataView(place.buffer);
  view.setBigUint64(48, BigInt(seq));
  view.setUint32(56, section);
  return place;
}

/** The bytes to store for a batch. */
export function encodeStored(
  batch: Batch & Pick<ParsedBatch, "bytes">,
  vault: Vault | undefined,
): Uint8Array {
  if (vault === undefined) return batch.bytes;
  const { header, headerBytes, signature } = batch;
  const bodies = header.sections.map((section, i) => {
    const body = batch.bodies[i] ?? null;
    return body === null ? null : vault.seal(section, placeOf(header, i), body);
  });
  return encodeBatch({ headerBytes, signature, bodies });
}

/**
 * The batch in stored bytes, as it was received. Throws what decoding and the vault throw: `FORMAT_INVALID`,
 * `STORE_CORRUPT`, `KEY_INVALID`.
 */
export function decodeStored(stored: Uint8Array, vault: Vault | undefined): ParsedBatch {
  const batch = decodeBatch(stored, STORED_BYTES);
  const hash = hashOfHeader(batch.headerBytes);
  if (vault === undefined) return { ...batch, bytes: stored, hash };
  const { header } = batch;
  const bodies = header.sections.map((section, i) => {
    const sealed = batch.bodies[i] ?? null;
    return sealed === null ? null : vault.open(section, placeOf(header, i), sealed);
  });
  const original = { ...batch, bodies };
  return { ...original, bytes: encodeBatch(original), hash };
}

/** The facts of one section of a stored batch. */
export interface StoredFrame {
  readonly section: number;
  readonly doc: DocumentName;
  readonly frame: FactFrame;
}

/** The facts that are here of wanted documents in stored bytes, section by section; no other body is opened. Throws like {@link decodeStored}. */
export function decodeStoredFrames(
  stored: Uint8Array,
  vault: Vault | undefined,
  isWanted: (doc: DocumentName) => boolean,
): Pick<StoredFacts, "header" | "hash"> & { readonly frames: readonly StoredFrame[] } {
  const { header, headerBytes, bodies } = decodeBatch(stored, STORED_BYTES);
  const frames = header.sections.flatMap((section, i): StoredFrame[] => {
    const { doc, kind } = section;
    const sealed = bodies[i] ?? null;
    if (kind !== "facts" || sealed === null || !isWanted(doc)) return [];
    const body = vault === undefined ? sealed : vault.open(section, placeOf(header, i), sealed);
    return [{ section: i, doc, frame: decodeFrame(decodeBody(body)) }];
  });
  return { header, hash: hashOfHeader(headerBytes), frames };
}

/** The facts of one document in a stored batch. */
export interface StoredFacts {
  readonly header: Header;
  readonly hash: HeaderHash;
  /** Undefined where they are left out. */
  readonly frame: FactFrame | undefined;
  readonly section: Section;
}

/**
 * The facts of one document in stored bytes, undefined where there are none; no other body is opened. Throws like
 * {@link decodeStored}.
 */
export function decodeStoredFacts(
  stored: Uint8Array,
  doc: DocumentName,
  vault: Vault | undefined,
): StoredFacts | undefined {
  const { header, headerBytes, bodies } = decodeBatch(stored, STORED_BYTES);
  const index = header.sections.findIndex((each) => each.kind === "facts" && each.doc === doc);
  const section = header.sections[index];
  if (section === undefined) return undefined;
  const found = { header, hash: hashOfHeader(headerBytes), section };
  const sealed = bodies[index] ?? null;
  if (sealed === null) return { ...found, frame: undefined };
  const body = vault === undefined ? sealed : vault.open(section, placeOf(header, index), sealed);
  return { ...found, frame: decodeFrame(decodeBody(body)) };
}
