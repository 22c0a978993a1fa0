// SPDX-License-Identifier: Apache-2.0
/** One party's copy of a space: the receive pipeline, local writes, documents, and what counts of it all. */
export type { BaseNeed, BasePiece, BaseProgress, Bases } from "./bases.ts";
export type { BatchSource } from "./checks.ts";
export type { Retention } from "./checkpointer.ts";
export type { ChangedKey } from "./documents.ts";
export { decodeSignedHeader, encodeSignedHeader, verifyProof } from "./evidence.ts";
export type { Fork, ParsedHeader, SignedHeader } from "./evidence.ts";
export type { FillOutcome, LateBody, SectionRef } from "./fill.ts";
export { headerEntryId } from "./journal.ts";
export type { Journal } from "./journal.ts";
export type { GatherWindows } from "./gather.ts";
export type { Head } from "./layout.ts";
export type { ChainSpan, StoredBatch } from "./log.ts";
export type { OmissionSummary } from "./omissions.ts";
export type { OmittedContent, OmittedDocument } from "./omitted-content.ts";
export type { FoundBody, OmittedSection } from "./omitted.ts";
export type { PruneOptions, PruneReport, StaleChain } from "./prune.ts";
export type { ForkRef, RecordBytes, RecordIds, RefusedRecord } from "./records.ts";
export { Replica } from "./replica.ts";
export type { ChainStatus, DegradedChain } from "./chain-status.ts";
export type { ReplicaOptions } from "./replica.ts";
export { salvageBase, salvageBatches, salvageRecords } from "./salvage.ts";
export type { DamagedEntries, SalvageReport } from "./salvage.ts";
export type { VoidReason } from "./state.ts";
export type { AppliedBatch, RecordsChange, RecordsOutcome } from "./tasks.ts";
export { Wants, tailored } from "./wants.ts";
export type { Subscriber } from "./wants.ts";
