// SPDX-License-Identifier: Apache-2.0
/** What an agent and a hub have in common: their assembly, the node's operations over its replica, the system's clock and randomness. */
export { backUp } from "./backup.ts";
export type { BackupHead, BackupRecord } from "./backup-format.ts";
export { readBackup } from "./backup-reader.ts";
export type { BackupSummary } from "./backup-reader.ts";
export { CatchUp } from "./catch-up.ts";
export type { CatchUpContext } from "./catch-up.ts";
export { checkStore } from "./check-store.ts";
export type { StoreReport } from "./check-store.ts";
export { joinThrough } from "./join-space.ts";
export type { JoinIdentity, JoinOptions, JoinStep, JoinWays } from "./join-space.ts";
export { keepConfirmations } from "./kept-confirmations.ts";
export { LatencyWindow } from "./latency-window.ts";
export { RATE, budgetsOf, parseRate } from "./link-budgets.ts";
export type { LinkBudgets } from "./link-budgets.ts";
export { LiveMembership } from "./live-membership.ts";
export { reportMembers, reportMembership } from "./membership-report.ts";
export { NodeService } from "./node-service.ts";
export type { NodeServiceOptions } from "./node-service.ts";
export { NodeCare } from "./node-care.ts";
export type { NodeCareOptions } from "./node-care.ts";
export { NodeDecisions } from "./node-decisions.ts";
export type { NodeDecisionsOptions } from "./node-decisions.ts";
export { NodeDocuments } from "./node-documents.ts";
export { NodeEvents, eventOf } from "./node-events.ts";
export { Freshness } from "./freshness.ts";
export type { FreshnessOptions } from "./freshness.ts";
export { createLogOfRecord } from "./log-of-record.ts";
export type { LogOfRecordOptions } from "./log-of-record.ts";
export { NodeLevels } from "./node-levels.ts";
export type { NodeLevelsOptions } from "./node-levels.ts";
export { NodePartial } from "./node-partial.ts";
export { NodeWrites } from "./node-writes.ts";
export type { NodeWritesOptions, WriteContent } from "./node-writes.ts";
export { Once } from "./once.ts";
export type { OnceContext } from "./once.ts";
export {
  addModule,
  assertModule,
  assertPolicyModules,
  reportModules,
} from "./module-publication.ts";
export { NodeSchemas } from "./node-schemas.ts";
export type { NodeSchemasOptions } from "./node-schemas.ts";
export { checkEntry, publishEntry, reportSchemas } from "./schema-publication.ts";
export { serve } from "./node.ts";
export type { NodeOptions } from "./node.ts";
export { startSync } from "./start-sync.ts";
export type { NodeDeps } from "./start-sync.ts";
export { openReplica } from "./open-replica.ts";
export type { OpenReplica, StoreOptions } from "./open-replica.ts";
export { restoreBackup } from "./restore.ts";
export type { RestoreProgress } from "./restore.ts";
export { Scrubber } from "./scrubber.ts";
export type { ScrubberOptions } from "./scrubber.ts";
export { SEALS_UNCERTAIN } from "./seals-uncertain.ts";
export { systemClock, systemRandom, systemWait } from "./system.ts";
export type { Wait } from "./system.ts";
