// SPDX-License-Identifier: Apache-2.0
/** Zstd in WebAssembly. The only importer of `@bokuweb/zstd-wasm`. */
import { compress, compressUsingDict, createCCtx, init } from "@bokuweb/zstd-wasm";
import type { Zstd } from "@ctxmesh/codec";

/** As Node has it by default. */
const LEVEL = 3;

let loading: Promise<Zstd> | undefined;

/** Loads it, once. What the library needs has been looked at by `assertPolicy`: when it can't be loaded, it says nothing, and would be waited for in vain. */
export const loadZstd = async (): Promise<Zstd> => (loading ??= load());

async function load(): Promise<Zstd> {
  await init();
  // One serves all: calls are synchronous, and each begins a frame of its own.
  const packing = createCCtx();
  return {
    compress: (payload, dictionary) =>
      dictionary === undefined
        ? compress(payload, LEVEL)
        : compressUsingDict(packing, payload, dictionary, LEVEL),
  };
}
