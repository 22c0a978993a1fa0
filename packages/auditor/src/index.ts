// SPDX-License-Identifier: Apache-2.0
/** Offline verification of a bundle file: no network, no database, no hub code. */
export { renderVerdict, verdictToJson } from "./report.ts";
export type { RenderOptions } from "./report.ts";
export { runVerify } from "./verify.ts";
export type { VerifyRequest } from "./verify.ts";
