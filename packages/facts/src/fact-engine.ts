// SPDX-License-Identifier: Apache-2.0
/** Which engine keeps the facts of documents. All of them make the same bytes of the same frames. */
import { LIMITS } from "@ctxmesh/model";
import type { RandomSource } from "@ctxmesh/model";
import type { FactStore } from "./fact-store.ts";
import { GrowingStore } from "./growing-store.ts";
import { SlotStore } from "./slot-store.ts";
import { WasmStore } from "./wasm-store.ts";

/** Makes the empty store of a document. */
export type FactEngine<S extends FactStore = FactStore> = () => S;

/** The engines that {@link factEngine} knows. */
export const FACT_ENGINES = ["js", "wasm"] as const;
/** One of {@link FACT_ENGINES}. */
export type FactEngineName = (typeof FACT_ENGINES)[number];

/** The engine in plain JavaScript. */
export const JS_ENGINE: FactEngine<SlotStore> = () => new SlotStore();

/** Whether this platform runs WebAssembly: without a compiler of its own (`--jitless`), Node does not; nor where address space is limited (`ulimit -v`). */
export function hasWasm(): boolean {
  try {
    return new WasmStore(new Uint8Array(WasmStore.seedBytes)).keyCount === 0;
  } catch {
    return false;
  }
}

/** An engine by its name. `random` gives each document in WebAssembly the secret of its hash table. */
export function factEngine(name: FactEngineName, random: RandomSource): FactEngine {
  return name === "js" ? JS_ENGINE : () => new WasmStore(random.bytes(WasmStore.seedBytes));
}

/**
 * What keeps the documents of a replica: with `wasm`, those of more than `LIMITS.smallDocumentBytes` are in WebAssembly, and smaller ones in
 * JavaScript. As {@link factEngine} else.
 */
export function documentEngine(name: FactEngineName, random: RandomSource): FactEngine {
  const engine = factEngine(name, random);
  return name === "js" ? engine : () => new GrowingStore(LIMITS.smallDocumentBytes, engine);
}
