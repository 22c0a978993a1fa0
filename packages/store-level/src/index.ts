// SPDX-License-Identifier: Apache-2.0
/** The `Store` port over LevelDB. */
export { openDamaged } from "./damaged.ts";
export type { DamagedStore } from "./damaged.ts";
export { STORE_FORMAT } from "./format.ts";
export type { LevelStore } from "./level-store.ts";
export { openLevelStore } from "./open.ts";
export type { ScrubReport } from "./scrub.ts";
