// SPDX-License-Identifier: Apache-2.0
/** Modules in WebAssembly that decide for a space: checked, bounded, and the same on every machine. */
export { encodeInput } from "./input.ts";
export type { StatementInput } from "./input.ts";
export { parseModule } from "./parse.ts";
export type { ParsedModule } from "./parse.ts";
export { rewriteModule } from "./rewrite.ts";
export { prepareModule } from "./sandbox.ts";
export type { CutReason, Entry, Outcome, PreparedModule } from "./sandbox.ts";
