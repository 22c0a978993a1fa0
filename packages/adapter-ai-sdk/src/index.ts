// SPDX-License-Identifier: Apache-2.0
/** Tools of the Vercel AI SDK over a mesh. The only importer of `ai`. */
export { contextTools } from "./tools.ts";
export type { ContextTools, ToolOptions } from "./tools.ts";
