// SPDX-License-Identifier: Apache-2.0
/** Offline verification of a bundle, a fact proof or a decision: no network, no database, no hub code. */
export { renderHtml } from "./html.ts";
export { keepHeapSmall } from "./memory.ts";
export { renderVerdict, verdictToJson } from "./report.ts";
export type { RenderOptions } from "./report.ts";
export { readBounded } from "./files.ts";
export { runVerify } from "./verify.ts";
export type { VerifyRequest } from "./verify.ts";
