// SPDX-License-Identifier: Apache-2.0
/** The `Engine` port on a store of one process. */
export { createEmbeddedEngine } from "./engine.ts";
export type { EmbeddedEngineOptions } from "./engine.ts";
