// SPDX-License-Identifier: Apache-2.0
/** Batches taken apart, and put together again with good hashes and a good signature. */
import {
  decodeBatch,
  decodeBody,
  encodeBatch,
  encodeBody,
  encodeHeader,
  headerSigningInput,
} from "@ctxmesh/codec";
import type { Header, Section } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { parseHeaderHash, toHex } from "@ctxmesh/model";
import type { HeaderHash } from "@ctxmesh/model";
import type { Party } from "./devices.ts";

/** A section with its content unpacked. */
export interface DraftSection extends Omit<Section, "bodyHash" | "bodyLen"> {
  readonly payload: Uint8Array;
}

/** A batch in parts; hashes and signature are made when it is sealed. */
export interface Draft extends Omit<Header, "sections"> {
  readonly sections: readonly DraftSection[];
}

/** The parts of a well-formed batch. */
export function openDraft(bytes: Uint8Array): Draft {
  const { header, bodies } = decodeBatch(bytes);
  const sections = header.sections.map(({ bodyHash: _hash, bodyLen: _length, ...section }, i) => ({
    ...section,
    payload: decodeBody(bodies[i] ?? new Uint8Array()),
  }));
  return { ...header, sections };
}

/** The id of a batch. */
export const hashOf = (bytes: Uint8Array): HeaderHash =>
  parseHeaderHash(toHex(sha256(decodeBatch(bytes).headerBytes)));

/** Header bytes and bodies. */
export function encodeDraft(draft: Draft): { headerBytes: Uint8Array; bodies: Uint8Array[] } {
  const bodies = draft.sections.map(({ payload }) => encodeBody(payload));
  const sections = draft.sections.map(({ payload: _payload, ...section }, i) => {
    const body = bodies[i] ?? new Uint8Array();
    return { ...section, bodyHash: sha256(body), bodyLen: body.length };
  });
  return { headerBytes: encodeHeader({ ...draft, sections }), bodies };
}

/** The batch with a signature by the device that the draft names, or by the first of the party when it is nobody's. */
export function seal(
  { everybody }: Party,
  replica: string,
  {
    headerBytes,
    bodies,
  }: { readonly headerBytes: Uint8Array; readonly bodies: readonly (Uint8Array | null)[] },
): Uint8Array {
  const signer = (everybody.find(({ key }) => key === replica) ?? everybody[0])?.signer;
  const signature = signer?.sign(headerSigningInput(headerBytes)) ?? new Uint8Array(64);
  return encodeBatch({ headerBytes, signature, bodies });
}
