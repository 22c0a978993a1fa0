// SPDX-License-Identifier: Apache-2.0
/** What the head of a zstd frame says (RFC 8878, 3.1.1.1), looked at before anything is set aside for its content. */

/** The magic number of a zstd frame, as its bytes stand (RFC 8878, 3.1.1). */
export const ZSTD_MAGIC: readonly [number, number, number, number] = [0x28, 0xb5, 0x2f, 0xfd];
/** Bytes of a content size in a single segment, by the flag that says so (RFC 8878, 3.1.1.1.1). */
const CONTENT_SIZE_BYTES = [1, 2, 4, 8] as const;
/** A content size of two bytes begins where one of a single byte ends. */
const TWO_BYTES_ADD = 256;
/** The frame descriptor but for the size of the content size: a single segment, no checksum, no dictionary id, nothing reserved. */
const DESCRIPTOR_MASK = 0x3f;
const DESCRIPTOR = 0x20;

/** A frame's head. */
export interface FrameHead {
  /** Its length, the magic number with it. */
  readonly headerBytes: number;
  /** What the frame says that it holds, in bytes. */
  readonly contentBytes: number;
}

/**
 * The head of a frame as compressors make it that get their payload at once: one segment, whose window is its content, of a length that is said. Undefined
 * for any other, and for what is no frame.
 */
export function frameHead(frame: Uint8Array): FrameHead | undefined {
  const descriptor = frame[ZSTD_MAGIC.length] ?? 0;
  if (!ZSTD_MAGIC.every((byte, i) => frame[i] === byte)) return undefined;
  if ((descriptor & DESCRIPTOR_MASK) !== DESCRIPTOR) return undefined;
  const size = CONTENT_SIZE_BYTES[descriptor >>> 6] ?? 0;
  const at = ZSTD_MAGIC.length + 1;
  if (frame.length < at + size) return undefined;
  let contentBytes = size === 2 ? TWO_BYTES_ADD : 0;
  for (let i = 0; i < size; i++) contentBytes += (frame[at + i] ?? 0) * 2 ** (8 * i);
  return { headerBytes: at + size, contentBytes };
}
