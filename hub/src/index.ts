// SPDX-License-Identifier: Apache-2.0
/** The hub: a replica with a door for agents, a sealer and a log. */
export type { HubAuth } from "./authorizing.ts";
export { createHub } from "./hub.ts";
export type { Hub, HubOptions } from "./hub.ts";
export { Sealer } from "./sealer.ts";
export type { SealKeys, SealerOptions } from "./sealer.ts";
