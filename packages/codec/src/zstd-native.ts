// SPDX-License-Identifier: Apache-2.0
/** Zstd as Node has it. The only module that imports it; for pages `zstd-native-browser.ts` stands in its place. */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { LIMITS } from "@ctxmesh/model";
import { WINDOW_LOG } from "./zstd-frame.ts";
import type { Zstd } from "./zstd.ts";

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

/** Node's. */
export const nativeZstd: Zstd | undefined = {
  compress: (payload, dictionary) =>
    zstdCompressSync(payload, {
      ...withDictionary(dictionary),
      chunkSize: roomFor(payload.length),
    }),
  decompress(frame, roomBytes, dictionary) {
    const { buffer, engine } = zstdDecompressSync(frame, {
      ...withDictionary(dictionary),
      chunkSize: roomFor(roomBytes),
      maxOutputLength: LIMITS.bodyBytes,
      params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG },
      info: true,
    }) as unknown as {
      readonly buffer: Uint8Array;
      readonly engine: { readonly bytesWritten: number };
    };
    // What stands behind it would be read differently by other decoders.
    if (engine.bytesWritten !== frame.length) throw new Error("bytes follow the zstd frame");
    return buffer;
  },
};
