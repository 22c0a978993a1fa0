// SPDX-License-Identifier: Apache-2.0
/** Zstd (RFC 8878) as Node compresses by it. The only module that imports it; for pages `zstd-encode-browser.ts` stands in its place. */
import { zstdCompressSync } from "node:zlib";

/** What a short payload may become longer by, and the least that Node accepts as `chunkSize`. */
const ROOM_BYTES = 64;
/** Node's own `chunkSize`. */
const CHUNK_BYTES = 16_384;

/**
 * How much Node sets aside for a result of about so many bytes: with its own 16 KiB for each body, however short, most of the time of
 * a busy node goes into collecting them.
 */
const roomFor = (bytes: number): number => Math.min(bytes + ROOM_BYTES, CHUNK_BYTES);

/** As Node has it from 24.6 on. */
const withDictionary = (dictionary: Uint8Array | undefined): object =>
  dictionary === undefined ? {} : { dictionary };

/**
 * Makes one frame of one segment, that says how long its content is and has no checksum; with a dictionary it does not name it. All nodes decode it
 * alike, see `zstd-decode.ts`. Undefined where there is no compressor.
 */
export const encodeZstd:
  | ((payload: Uint8Array, dictionary?: Uint8Array) => Uint8Array)
  | undefined = (payload, dictionary) =>
  zstdCompressSync(payload, {
    ...withDictionary(dictionary),
    chunkSize: roomFor(payload.length),
  });
