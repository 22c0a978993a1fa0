// SPDX-License-Identifier: Apache-2.0
/** What an agent and a hub have in common: their assembly, the node's operations over its replica, the system's clock and randomness. */
export { backUp } from "./backup.ts";
export type { BackupHead, BackupRecord } from "./backup-format.ts";
export { readBackup } from "./backup-reader.ts";
export type { BackupSummary } from "./backup-reader.ts";
export { checkStore } from "./check-store.ts";
export type { StoreReport } from "./check-store.ts";
export { keepConfirmations } from "./kept-confirmations.ts";
export { LatencyWindow } from "./latency-window.ts";
export { LiveMembership } from "./live-membership.ts";
export { reportMembers, reportMembership } from "./membership-report.ts";
export { NodeService } from "./node-service.ts";
export type { NodeServiceOptions } from "./node-service.ts";
export { NodeCare } from "./node-care.ts";
export type { NodeCareOptions } from "./node-care.ts";
export { serve, startSync } from "./node.ts";
export type { NodeDeps, NodeOptions } from "./node.ts";
export { openReplica } from "./open-replica.ts";
export type { OpenReplica, StoreOptions } from "./open-replica.ts";
export { restoreBackup } from "./restore.ts";
export type { RestoreProgress } from "./restore.ts";
export { Scrubber } from "./scrubber.ts";
export type { ScrubberOptions } from "./scrubber.ts";
export { SEALS_UNCERTAIN } from "./seals-uncertain.ts";
export { systemClock, systemRandom, systemWait } from "./system.ts";
export type { Wait } from "./system.ts";
