// SPDX-License-Identifier: Apache-2.0
/** What of this package works in a page. It imports no module of Node.js. */
export { Freshness } from "./freshness.ts";
export type { FreshnessOptions } from "./freshness.ts";
export { joinThrough } from "./join-space.ts";
export type { JoinIdentity, JoinOptions, JoinStep, JoinWays } from "./join-space.ts";
export { keepConfirmations } from "./kept-confirmations.ts";
export { LiveMembership } from "./live-membership.ts";
export { NodeLevels } from "./node-levels.ts";
export type { NodeLevelsOptions } from "./node-levels.ts";
export { NodeService } from "./node-service.ts";
export type { NodeServiceOptions } from "./node-service.ts";
export { startSync } from "./start-sync.ts";
export type { NodeDeps } from "./start-sync.ts";
