// SPDX-License-Identifier: Apache-2.0
/** What the head of a zstd frame says (RFC 8878, 3.1.1.1), looked at before anything is set aside for its content. */
import { LIMITS } from "@ctxmesh/model";

/** The magic number of a zstd frame, as its bytes stand (RFC 8878, 3.1.1). */
export const ZSTD_MAGIC: readonly [number, number, number, number] = [0x28, 0xb5, 0x2f, 0xfd];
/** The widest window (2 MiB) that the compressor uses for `LIMITS.bodyBytes`; a frame could ask for 128 MiB and more. */
export const WINDOW_LOG = 21;
/** Bytes of a frame's dictionary id and content size, by the flags that say so (RFC 8878, 3.1.1.1.1). */
const DICTIONARY_ID_BYTES = [0, 1, 2, 4] as const;
const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const;
/** A content size of two bytes begins where one of a single byte ends. */
const TWO_BYTES_ADD = 256;
/** Of the frame descriptor: the content is one segment, and its size the window's. */
const SINGLE_SEGMENT = 0x20;
/** The exponent of a window descriptor's smallest window (RFC 8878, 3.1.1.1.2). */
const WINDOW_LOG_LEAST = 10;

/** What a zstd frame says that it holds, in bytes; undefined when it does not say, or is none. */
export function contentSize(frame: Uint8Array): number | undefined {
  const descriptor = frame[ZSTD_MAGIC.length];
  if (descriptor === undefined || !isFrame(frame)) return undefined;
  const isSingle = (descriptor & SINGLE_SEGMENT) !== 0;
  const sizeFlag = descriptor >>> 6;
  const size = sizeFlag === 0 && isSingle ? 1 : (CONTENT_SIZE_BYTES[sizeFlag] ?? 0);
  const at =
    ZSTD_MAGIC.length + 1 + (isSingle ? 0 : 1) + (DICTIONARY_ID_BYTES[descriptor & 3] ?? 0);
  if (size === 0 || frame.length < at + size) return undefined;
  let content = size === 2 ? TWO_BYTES_ADD : 0;
  for (let i = 0; i < size; i++) content += (frame[at + i] ?? 0) * 2 ** (8 * i);
  return content;
}

const isFrame = (frame: Uint8Array): boolean => ZSTD_MAGIC.every((byte, i) => frame[i] === byte);

/**
 * Refuses, before anything is set aside for it, what is no zstd frame (such as a skippable one, which decoders pass over), what says that it
 * holds more than `LIMITS.bodyBytes`, and what asks for a window over 2 MiB. Decoders see to these at different moments, and
 * some not at all, so that without it a body could be good at one node and bad at another. Throws.
 */
export function assertFrame(frame: Uint8Array): void {
  if (!isFrame(frame)) throw new Error("not a zstd frame");
  if ((contentSize(frame) ?? 0) > LIMITS.bodyBytes) throw new Error("too long a content");
  const descriptor = frame[ZSTD_MAGIC.length] ?? 0;
  if ((descriptor & SINGLE_SEGMENT) !== 0) return;
  const window = frame[ZSTD_MAGIC.length + 1] ?? 0;
  const base = 2 ** (WINDOW_LOG_LEAST + (window >>> 3));
  if (base + (base / 8) * (window & 7) > 2 ** WINDOW_LOG) throw new Error("too wide a window");
}
