// SPDX-License-Identifier: Apache-2.0
/**
 * Equivocation: a device signed two histories of one incarnation. The proof is portable; whoever has the
 * device's key and the space's id can check it, with no other context.
 *
 * ```
 * proof = CBOR [ [ headerA: bstr, signatureA: bstr(64) ], [ headerB: bstr, signatureB: bstr(64) ] ]
 * ```
 *
 * Both headers are of one space, replica and incarnation. Either both have the same seq and differ, or B
 * is the one after A and its `prev` is not A's hash. The chain is forked at A's seq: what is from there on
 * does not count, on any branch. With several proofs of one chain the lowest seq decides.
 */
import { decodeCbor, decodeHeader, encodeCbor, headerSigningInput } from "@ctxmesh/codec";
import type { Header } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { LIMITS, MeshError, fromHex, parseHeaderHash, toHex } from "@ctxmesh/model";
import type {
  DeviceKey,
  HeaderHash,
  IncarnationId,
  SignatureVerifier,
  SpaceId,
} from "@ctxmesh/model";

/** Around headers there is little: a handful of items. */
const BYTES_PER_ITEM = 8;

/** A header's exact bytes with their signature. */
export interface SignedHeader {
  readonly headerBytes: Uint8Array;
  readonly signature: Uint8Array;
}

/** A proven fork: of this chain only what is below `seq` counts. */
export interface Fork {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly seq: number;
  readonly proof: Uint8Array;
}

/** The hash of a header: its id, and what `prev` and `deps` name. */
export const hashOfHeader = (headerBytes: Uint8Array): HeaderHash =>
  parseHeaderHash(toHex(sha256(headerBytes)));

/** A signed header as CBOR `[header, signature]`. */
export const encodeSignedHeader = ({ headerBytes, signature }: SignedHeader): Uint8Array =>
  encodeCbor([headerBytes, signature]);

/** The bytes of a proof. */
export const encodeProof = (a: SignedHeader, b: SignedHeader): Uint8Array =>
  encodeCbor([
    [a.headerBytes, a.signature],
    [b.headerBytes, b.signature],
  ]);

const refuse = (problem: string): never => {
  throw new MeshError("FORMAT_INVALID", `proof of equivocation ${problem}`, { field: "proof" });
};

/** A signed header that was parsed; the signature is not verified. */
export type ParsedHeader = SignedHeader & { readonly header: Header; readonly hash: HeaderHash };

function signedHeaderOf(value: unknown): ParsedHeader {
  const parts: readonly unknown[] = Array.isArray(value) ? value : [];
  const [headerBytes, signature] = parts;
  if (
    parts.length !== 2 ||
    !(headerBytes instanceof Uint8Array) ||
    !(signature instanceof Uint8Array) ||
    signature.length !== 64
  ) {
    throw new MeshError("FORMAT_INVALID", "signed header is not [header, 64-byte signature]");
  }
  const header = decodeHeader(headerBytes);
  return { headerBytes, signature, header, hash: hashOfHeader(headerBytes) };
}

/** Parses an untrusted signed header. Throws `FORMAT_INVALID`, `LIMIT_EXCEEDED` or `INPUT_INVALID`. */
export const decodeSignedHeader = (bytes: Uint8Array): ParsedHeader =>
  signedHeaderOf(decodeCbor(bytes, LIMITS.batchBytes, "signed header", BYTES_PER_ITEM));

/** Whether the signature is the replica's over the header. */
export const isSigned = (
  { header, headerBytes, signature }: SignedHeader & { readonly header: Header },
  verifier: SignatureVerifier,
): boolean => verifier.verify(fromHex(header.replica), headerSigningInput(headerBytes), signature);

/**
 * Verifies an untrusted proof. Throws `FORMAT_INVALID`, `LIMIT_EXCEEDED` or `INPUT_INVALID` when it is not
 * one, `POLICY_REFUSED` when it is of another space, `SIGNATURE_INVALID`.
 */
export function verifyProof(bytes: Uint8Array, space: SpaceId, verifier: SignatureVerifier): Fork {
  const parts: unknown = decodeCbor(
    bytes,
    2 * LIMITS.batchBytes,
    "proof of equivocation",
    BYTES_PER_ITEM,
  );
  if (!Array.isArray(parts) || parts.length !== 2) return refuse("has not 2 headers");
  const a = signedHeaderOf(parts[0]);
  const b = signedHeaderOf(parts[1]);
  const { replica, incarnation, seq } = a.header;
  if (replica !== b.header.replica || incarnation !== b.header.incarnation) {
    return refuse("has headers of two chains");
  }
  if (a.header.space !== space || b.header.space !== space) {
    throw new MeshError("POLICY_REFUSED", "the proof of equivocation is of another space");
  }
  const sameSeq = b.header.seq === seq && a.hash !== b.hash;
  const otherPast = b.header.seq === seq + 1 && b.header.prev !== a.hash;
  if (!sameSeq && !otherPast) return refuse("has headers that go together");
  if (!isSigned(a, verifier) || !isSigned(b, verifier)) {
    throw new MeshError("SIGNATURE_INVALID", "a header of the proof is not signed by its device");
  }
  return { replica, incarnation, seq, proof: bytes };
}
