// SPDX-License-Identifier: Apache-2.0
/**
 * The backup file, format 1. Numbers are big-endian.
 *
 * ```
 * file    = "ctxmesh-backup\n" || version u8 || head || part* || trailer
 * frame   = kind u8 || length u32 || payload (length bytes) || SHA-256(kind || length || payload)
 * head    = frame "H": JSON {space, device, service, takenAt, storeFormat}
 * part    = frame "P": count u32 || count times (key length u16 || key || value length u32 || value)
 * trailer = frame "T": parts u32 || records u64 || the hash of each frame before it, the head's first
 *           || SHA-256(everything before the trailer)
 * ```
 *
 * A part has 1 MiB of payload at most, unless its only record is longer. Keys rise from record to record over
 * the whole file. The hashes tell damage, not forgery: whoever can write to the file can make them anew.
 */
import { createHash } from "node:crypto";
import { LIMITS, MeshError, parseDeviceKey, parseSpaceId } from "@ctxmesh/model";
import type { DeviceKey, SpaceId } from "@ctxmesh/model";

/** What every backup begins with, before its version. */
export const MAGIC: Uint8Array = new TextEncoder().encode("ctxmesh-backup\n");
/** The version that is written and read. */
export const VERSION = 1;
/** Major number of the store's format, hence of the records: one of another number can't be restored here. */
export const STORE_FORMAT = 2;

/** Bytes before a frame's payload: kind and length. */
export const FRAME_HEAD_BYTES = 5;
/** SHA-256. */
export const HASH_BYTES = 32;
/** Payload of a part with more than one record, at most. */
export const PART_BYTES = 1_048_576;
/** Payload of a head, at most. */
export const HEAD_BYTES = 4_096;
/** Payload of a part with one long record, at most: a seal's bundle is the longest there is. */
export const LONG_PART_BYTES: number = LIMITS.bundleBytes + 65_536;
/** Bytes of a trailer's payload besides the hashes of frames. */
export const TRAILER_BYTES = 44;

/** The first byte of a frame. */
export const KIND = { head: 0x48, part: 0x50, trailer: 0x54 } as const;

/** What a backup is of. */
export interface BackupHead {
  readonly space: SpaceId;
  readonly device: DeviceKey;
  readonly service: "agent" | "hub";
  /** Unix milliseconds. */
  readonly takenAt: number;
}

/** One record: an entry of the store as `Store.scan` gives it. */
export type BackupRecord = readonly [key: Uint8Array, value: Uint8Array];

/** SHA-256 of some bytes, one piece after the other. */
export function sha256(...pieces: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const piece of pieces) hash.update(piece);
  return new Uint8Array(hash.digest());
}

/** Room for a frame with its kind and length filled in; the payload goes behind them, then {@link sealFrame}. */
export function startFrame(kind: number, length: number): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEAD_BYTES + length + HASH_BYTES);
  frame[0] = kind;
  frame.writeUInt32BE(length, 1);
  return frame;
}

/** Puts a frame's hash at its end, and returns the hash. */
export function sealFrame(frame: Uint8Array): Uint8Array {
  const end = frame.length - HASH_BYTES;
  const hash = sha256(frame.subarray(0, end));
  frame.set(hash, end);
  return hash;
}

/** The payload of a head. */
export const encodeHead = ({ space, device, service, takenAt }: BackupHead): Uint8Array =>
  new TextEncoder().encode(
    JSON.stringify({ space, device, service, takenAt, storeFormat: STORE_FORMAT }),
  );

/** Parses the payload of a head. Throws `FORMAT_INVALID`, and `STORE_FORMAT` for records of another format. */
export function decodeHead(payload: Uint8Array): BackupHead {
  const text = Buffer.from(payload).toString("utf8");
  let value: Readonly<Record<string, unknown>>;
  try {
    value = (JSON.parse(text) ?? {}) as typeof value;
  } catch (cause) {
    throw new MeshError("FORMAT_INVALID", "its head is not JSON", { cause });
  }
  if (JSON.stringify(value) !== text || !Number.isSafeInteger(value["storeFormat"])) {
    throw new MeshError("FORMAT_INVALID", "its head is of unknown form");
  }
  if (value["storeFormat"] !== STORE_FORMAT) {
    throw new MeshError(
      "STORE_FORMAT",
      `it has records of store format ${String(value["storeFormat"])}; this version of ctxmesh has format ${String(STORE_FORMAT)}`,
      { remedy: "restore it with the version of ctxmesh that made it" },
    );
  }
  const { space, device, service, takenAt } = value;
  const head = {
    space: parseSpaceId(String(space)),
    device: parseDeviceKey(String(device)),
    service: service === "hub" ? "hub" : "agent",
    takenAt: Number(takenAt),
  } as const;
  if (Buffer.compare(encodeHead(head), payload) !== 0) {
    throw new MeshError("FORMAT_INVALID", "its head is of unknown form");
  }
  return head;
}
