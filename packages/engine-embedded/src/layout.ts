// SPDX-License-Identifier: Apache-2.0
/**
 * Keys and values of an embedded engine. Positions and epochs are u64, big-endian; `space` has 32 bytes.
 *
 * ```
 * 0x40 space                  head of the log: position
 * 0x41 space position         record: kind (1 byte: 0 batch, 1 act, 2 proof, 3 signed header) || id (32) || bytes
 * 0x42 space id               where it is: position
 * 0x43 space                  lease: epoch || end (Unix milliseconds) || holder (UTF-8)
 * 0x44 space key              shared map
 * ```
 */
import { MeshError, fromHex } from "@ctxmesh/model";
import type { EngineEntry, EngineRecord, EngineRecordKind, SpaceId } from "@ctxmesh/model";

const KINDS: readonly EngineRecordKind[] = ["batch", "act", "proof", "header"];
const ID_BYTES = 32;
const U64_BYTES = 8;

/** First bytes of keys. */
export const TAGS = { head: 0x40, record: 0x41, id: 0x42, lease: 0x43, shared: 0x44 } as const;

/** Bytes one behind the other. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A number as u64. */
export function u64(value: number): Uint8Array {
  const bytes = new Uint8Array(U64_BYTES);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

/** The u64 at an offset. Throws `STORE_CORRUPT` where there is none. */
export function readU64(bytes: Uint8Array, at = 0): number {
  if (bytes.length < at + U64_BYTES) throw corrupt();
  return Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(at));
}

const corrupt = (): MeshError =>
  new MeshError("STORE_CORRUPT", "a record of the embedded engine is not what belongs there");

/** A key of a space. */
export const keyOf = (tag: number, space: SpaceId, ...rest: readonly Uint8Array[]): Uint8Array =>
  concat(Uint8Array.of(tag), fromHex(space), ...rest);

/** The bytes of a record. */
export const encodeRecord = ({ kind, id, bytes }: EngineEntry): Uint8Array =>
  concat(Uint8Array.of(KINDS.indexOf(kind)), id, bytes);

/** A record at a position. Throws `STORE_CORRUPT`. */
export function decodeRecord(position: number, stored: Uint8Array): EngineRecord {
  const kind = KINDS[stored[0] ?? KINDS.length];
  if (kind === undefined || stored.length < 1 + ID_BYTES) throw corrupt();
  return {
    position,
    kind,
    id: stored.slice(1, 1 + ID_BYTES),
    bytes: stored.slice(1 + ID_BYTES),
  };
}

/** A lease as it is kept. */
export interface StoredLease {
  readonly epoch: number;
  /** Unix milliseconds. */
  readonly endsAt: number;
  readonly holder: string;
}

/** The bytes of a lease. */
export const encodeLease = ({ epoch, endsAt, holder }: StoredLease): Uint8Array =>
  concat(u64(epoch), u64(endsAt), Buffer.from(holder));

/** A lease. Throws `STORE_CORRUPT`. */
export const decodeLease = (stored: Uint8Array): StoredLease => ({
  epoch: readU64(stored),
  endsAt: readU64(stored, U64_BYTES),
  holder: Buffer.from(stored.subarray(2 * U64_BYTES)).toString(),
});
