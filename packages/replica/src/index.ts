// SPDX-License-Identifier: Apache-2.0
/** One party's copy of a space: the receive pipeline, local writes, documents, and what counts of it all. */
export type { BatchSource } from "./checks.ts";
export type { Retention } from "./checkpointer.ts";
export type { ChangedKey } from "./documents.ts";
export { verifyProof } from "./evidence.ts";
export type { Fork } from "./evidence.ts";
export type { Head } from "./layout.ts";
export type { ChainSpan, StoredBatch } from "./log.ts";
export type { PruneOptions, PruneReport, StaleChain } from "./prune.ts";
export type { ForkRef, RecordBytes, RecordIds, RefusedRecord } from "./records.ts";
export { Replica } from "./replica.ts";
export type { ChainStatus, DegradedChain, ReplicaOptions } from "./replica.ts";
export { salvageBase, salvageBatches, salvageRecords } from "./salvage.ts";
export type { DamagedEntries, SalvageReport } from "./salvage.ts";
export type { VoidReason } from "./state.ts";
export type { AppliedBatch, RecordsChange, RecordsOutcome } from "./tasks.ts";
