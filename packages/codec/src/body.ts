// SPDX-License-Identifier: Apache-2.0
/**
 * A section's body as carried: one byte of encoding, then the payload. 0 = as it is; 1 = zstd
 * (RFC 8878), one frame and nothing after it; 2 = the same without the frame's first four bytes, which are always those of
 * `ZSTD_MAGIC`, and compressed with the dictionary of `dictionary.ts`. By a dictionary a few facts lose a fifth to a half of their bytes;
 * of more facts it saves little, and costs more time.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { DICTIONARY } from "./dictionary.ts";

const RAW = 0;
const ZSTD = 1;
const ZSTD_WITH_DICTIONARY = 2;
/** Up to so many bytes the dictionary is worth its time. */
const DICTIONARY_TO_BYTES = 2_048;
/** What is compressed has to be this much shorter: every receiver has to unpack it. */
const WORTH = 7 / 8;

/** As Node has it from 24.6 on. */
interface DictionaryOption {
  readonly dictionary: Uint8Array;
}
const WITH_DICTIONARY: DictionaryOption = { dictionary: DICTIONARY };

/** The widest window (2 MiB) that the compressor uses for `LIMITS.bodyBytes`; a frame could ask for 128 MiB. */
const WINDOW_LOG = 21;

/** What a short payload may become longer by, and the least that Node accepts as `chunkSize`. */
const ROOM_BYTES = 64;
/** Node's own `chunkSize`. */
const CHUNK_BYTES = 16_384;

/**
 * How much Node sets aside for a result of about so many bytes: with its own 16 KiB for each body, however short, most of the time of
 * a busy node goes into collecting them.
 */
const roomFor = (bytes: number): number => Math.min(bytes + ROOM_BYTES, CHUNK_BYTES);

function tagged(tag: number, payload: Uint8Array): Uint8Array {
  const body = new Uint8Array(1 + payload.length);
  body[0] = tag;
  body.set(payload, 1);
  return body;
}

/** Packs a payload for a section. Throws `LIMIT_EXCEEDED` over `LIMITS.bodyBytes`. */
export function encodeBody(payload: Uint8Array): Uint8Array {
  if (payload.length > LIMITS.bodyBytes) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `a section's payload has ${String(payload.length)} bytes, the limit is ${String(LIMITS.bodyBytes)}`,
      { field: "body" },
    );
  }
  const chunkSize = roomFor(payload.length);
  if (payload.length > DICTIONARY_TO_BYTES) {
    const compressed = zstdCompressSync(payload, { chunkSize });
    return compressed.length < payload.length ? tagged(ZSTD, compressed) : tagged(RAW, payload);
  }
  const options = { ...WITH_DICTIONARY, chunkSize };
  const compressed = zstdCompressSync(payload, options).subarray(ZSTD_MAGIC.length);
  return compressed.length <= WORTH * payload.length
    ? tagged(ZSTD_WITH_DICTIONARY, compressed)
    : tagged(RAW, payload);
}

/** Decompresses exactly one frame; what stands behind it would be read differently by other decoders. */
function decompress(payload: Uint8Array, more: Partial<DictionaryOption> = {}): Uint8Array {
  const { buffer, engine } = zstdDecompressSync(payload, {
    ...more,
    chunkSize: roomFor(contentSize(payload) ?? CHUNK_BYTES),
    maxOutputLength: LIMITS.bodyBytes,
    params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG },
    info: true,
  }) as unknown as {
    readonly buffer: Uint8Array;
    readonly engine: { readonly bytesWritten: number };
  };
  if (engine.bytesWritten !== payload.length) throw new Error("bytes follow the zstd frame");
  return buffer;
}

/** The magic number of a zstd frame, as its bytes stand (RFC 8878, 3.1.1). */
const ZSTD_MAGIC = [0x28, 0xb5, 0x2f, 0xfd] as const;
/** Bytes of a frame's dictionary id and content size, by the flags that say so (RFC 8878, 3.1.1.1.1). */
const DICTIONARY_ID_BYTES = [0, 1, 2, 4] as const;
const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const;
/** A frame's header is no longer than that (RFC 8878, 3.1.1.1), the magic number not counted. */
const FRAME_HEADER_BYTES = 14;
/** A content size of two bytes begins where one of a single byte ends. */
const TWO_BYTES_ADD = 256;

/** A frame without its magic number as one that has it. */
function withMagic(rest: Uint8Array): Uint8Array {
  const frame = new Uint8Array(ZSTD_MAGIC.length + rest.length);
  frame.set(ZSTD_MAGIC);
  frame.set(rest, ZSTD_MAGIC.length);
  return frame;
}

/** What a zstd frame says that it holds; undefined when it does not say. {@link decodeBody} refuses one that has said wrong. */
function contentSize(frame: Uint8Array): number | undefined {
  const descriptor = frame[ZSTD_MAGIC.length];
  if (descriptor === undefined || ZSTD_MAGIC.some((byte, i) => frame[i] !== byte)) return undefined;
  const isSingle = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >>> 6;
  const size = sizeFlag === 0 && isSingle ? 1 : (CONTENT_SIZE_BYTES[sizeFlag] ?? 0);
  const at =
    ZSTD_MAGIC.length + 1 + (isSingle ? 0 : 1) + (DICTIONARY_ID_BYTES[descriptor & 3] ?? 0);
  if (size === 0 || frame.length < at + size) return undefined;
  let content = size === 2 ? TWO_BYTES_ADD : 0;
  for (let i = 0; i < size; i++) content += (frame[at + i] ?? 0) * 2 ** (8 * i);
  return content;
}

/**
 * The most bytes that {@link decodeBody} will make of an untrusted body, told from its first few bytes: so that whoever
 * sent it can be charged before any work is done. `LIMITS.bodyBytes` where a frame does not say; our encoder always says.
 */
export function unpackedBytes(body: Uint8Array): number {
  const payload = body.subarray(1);
  const isPacked = body[0] === ZSTD || body[0] === ZSTD_WITH_DICTIONARY;
  if (!isPacked) return Math.min(payload.length, LIMITS.bodyBytes);
  const frame = body[0] === ZSTD ? payload : withMagic(payload.subarray(0, FRAME_HEADER_BYTES));
  return Math.min(contentSize(frame) ?? LIMITS.bodyBytes, LIMITS.bodyBytes);
}

/** Unpacks an untrusted body; never produces more than `LIMITS.bodyBytes`. Throws `FORMAT_INVALID` or `LIMIT_EXCEEDED`. */
export function decodeBody(body: Uint8Array): Uint8Array {
  const payload = body.subarray(1);
  if (body[0] === RAW && payload.length <= LIMITS.bodyBytes) return payload;
  if (body[0] !== ZSTD && body[0] !== ZSTD_WITH_DICTIONARY) {
    throw new MeshError("FORMAT_INVALID", "body has an unknown encoding or is too long", {
      field: "body",
    });
  }
  try {
    return body[0] === ZSTD ? decompress(payload) : decompress(withMagic(payload), WITH_DICTIONARY);
  } catch (error) {
    throw new MeshError("FORMAT_INVALID", "body can't be decompressed within its limit", {
      field: "body",
      cause: error,
    });
  }
}
