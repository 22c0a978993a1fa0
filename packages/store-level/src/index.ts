// SPDX-License-Identifier: Apache-2.0
/** The `Store` port over LevelDB. */
export { openLevelStore } from "./open.ts";
