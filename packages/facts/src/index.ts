// SPDX-License-Identifier: Apache-2.0
/** The slot delta-state CRDT: frames, merge, resolution, and the hybrid logical clock. */
export { FactStore } from "./fact-store.ts";
export { decodeFrame, encodeFrame, isFactKey } from "./frame.ts";
export type { FactFrame, FactRecord } from "./frame.ts";
export { HlcClock } from "./hlc-clock.ts";
export { dominates, isExpired, isNewer, resolve } from "./resolver.ts";
export type { Resolution, Slot } from "./resolver.ts";
