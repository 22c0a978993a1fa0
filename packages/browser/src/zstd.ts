// SPDX-License-Identifier: Apache-2.0
/** Zstd in WebAssembly. The only importer of `@bokuweb/zstd-wasm`. */
import {
  compress,
  compressUsingDict,
  createCCtx,
  createDCtx,
  decompressUsingDict,
  init,
} from "@bokuweb/zstd-wasm";
import type { Zstd } from "@ctxmesh/codec";

/** As Node has it by default. */
const LEVEL = 3;
/** Bytes of a block's header (RFC 8878, 3.1.1.2). */
const BLOCK_HEADER_BYTES = 3;
const RLE_BLOCK = 1;
const CHECKSUM_BYTES = 4;
const NO_DICTIONARY = new Uint8Array();

let loading: Promise<Zstd> | undefined;

/** Loads it, once. What the library needs has been looked at by `assertPolicy`: when it can't be loaded, it says nothing, and would be waited for in vain. */
export const loadZstd = async (): Promise<Zstd> => (loading ??= load());

async function load(): Promise<Zstd> {
  await init();
  // One of each serves all: calls are synchronous, and each begins a frame of its own.
  const packing = createCCtx();
  const unpacking = createDCtx();
  return {
    compress: (payload, dictionary) =>
      dictionary === undefined
        ? compress(payload, LEVEL)
        : compressUsingDict(packing, payload, dictionary, LEVEL),
    decompress(frame, roomBytes, dictionary = NO_DICTIONARY) {
      // The library takes several frames, and frames to skip, for one.
      if (frameLength(frame) !== frame.length) throw new Error("not one zstd frame");
      // It sets aside what the frame says, which has passed `assertFrame`, else so much.
      const content = decompressUsingDict(unpacking, frame, dictionary, {
        defaultHeapSize: roomBytes,
      });
      return content;
    },
  };
}

/** Bytes of the frame at the start of `bytes` (RFC 8878, 3.1.1), by its blocks' lengths; past their end when it is cut short. */
function frameLength(bytes: Uint8Array): number {
  const descriptor = bytes[4] ?? 0;
  const isSingle = (descriptor & 0x20) !== 0;
  const dictionaryId = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const sizeFlag = descriptor >>> 6;
  const content = sizeFlag === 0 ? Number(isSingle) : 2 ** sizeFlag;
  let at = 5 + Number(!isSingle) + dictionaryId + content;
  for (let last = false; !last && at < bytes.length;) {
    const header = (bytes[at] ?? 0) + (bytes[at + 1] ?? 0) * 256 + (bytes[at + 2] ?? 0) * 65_536;
    last = (header & 1) !== 0;
    const isRepeated = ((header >>> 1) & 3) === RLE_BLOCK;
    at += BLOCK_HEADER_BYTES + (isRepeated ? 1 : header >>> 3);
  }
  return at + ((descriptor & 4) === 0 ? 0 : CHECKSUM_BYTES);
}
