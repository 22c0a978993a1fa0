// SPDX-License-Identifier: Apache-2.0
export { openNatsHints } from "./hints.ts";
export type { NatsHintsOptions } from "./hints.ts";
