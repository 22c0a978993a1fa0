// SPDX-License-Identifier: Apache-2.0
/** The slot delta-state CRDT: frames, merge, resolution, and the hybrid logical clock. */
export { decodeFrames, encodeFrames } from "./chain-frames.ts";
export { FACT_ENGINES, JS_ENGINE, documentEngine, factEngine, hasWasm } from "./fact-engine.ts";
export type { FactEngine, FactEngineName } from "./fact-engine.ts";
export type {
  ChainFrame,
  ChangedKeys,
  FactStore,
  KeyRange,
  KeySlots,
  Summary,
} from "./fact-store.ts";
export { decodeFrame, encodeFrame, isFactKey } from "./frame.ts";
export type { FactFrame, FactRecord } from "./frame.ts";
export { PackedFrame } from "./packed-frame.ts";
export type { ValueScan } from "./packed-frame.ts";
export { GrowingStore } from "./growing-store.ts";
export { HlcClock } from "./hlc-clock.ts";
export { DEFAULT_POLICY, Resolvers } from "./policy.ts";
export type { KeyResolvers, ModuleResolvers, Policy, PolicyRule, ResolverSpec } from "./policy.ts";
export { counting, resolve, undominatedOf } from "./resolvers.ts";
export type { ModulePick, Resolution, Resolver, Shown } from "./resolvers.ts";
export { SlotStore } from "./slot-store.ts";
export { expiryMs, isExpired, isNewer } from "./slot.ts";
export type { ChainId, Retraction, Slot } from "./slot.ts";
export { decodeState, encodeState } from "./state.ts";
export { WasmStore } from "./wasm-store.ts";
