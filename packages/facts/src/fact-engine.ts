// SPDX-License-Identifier: Apache-2.0
/** Which engine keeps the facts of documents. All of them make the same bytes of the same frames. */
import type { RandomSource } from "@ctxmesh/model";
import type { FactStore } from "./fact-store.ts";
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

/** An engine by its name. `random` gives each document in WebAssembly the secret of its hash table. */
export function factEngine(name: FactEngineName, random: RandomSource): FactEngine {
  return name === "js" ? JS_ENGINE : () => new WasmStore(random.bytes(WasmStore.seedBytes));
}
