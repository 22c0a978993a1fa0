// SPDX-License-Identifier: Apache-2.0
/** Zstd as Node has it. The only module that imports it; for pages `zstd-native-browser.ts` stands in its place. */
import { zstdCompressSync } from "node:zlib";
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
};
