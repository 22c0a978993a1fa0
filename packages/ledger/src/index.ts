// SPDX-License-Identifier: Apache-2.0
/** Snapshots, seals, the transparency log, bundles, the trust root, and the verification of all of them. */
export { encodeBundle, parseBundle } from "./bundle.ts";
export type { Bundle, SignedHeader } from "./bundle.ts";
export { openLog, sealedEnvelopeHash, snapshotEntry } from "./log.ts";
export type { AlsoWrite, Appended, Log } from "./log.ts";
export type { LogOptions } from "./log-store.ts";
export {
  consistencyProof,
  inclusionProof,
  leafHash,
  merkleRoot,
  nodeHash,
  verifyConsistency,
  verifyInclusion,
} from "./merkle.ts";
export type { ConsistencyClaim, InclusionClaim } from "./merkle.ts";
export { parseCheckpoint } from "./note.ts";
export type { Checkpoint, LogSigners, Note, NoteSignature, TreeHead } from "./note.ts";
export {
  buildSnapshot,
  contentRoot,
  envelopeHash,
  envelopeStatement,
  sealSnapshot,
} from "./snapshot.ts";
export type { CanonicalLeaf, SealInput, Snapshot, SnapshotLeaf } from "./snapshot.ts";
export { sortFrontier } from "./statement.ts";
export type { FrontierHead, SnapshotStatement } from "./statement.ts";
export { createTrustRoot, formatTrustRoot, parseTrustRoot } from "./trust.ts";
export type { KeyRole, TrustRoot, TrustedKey, TrustedLog } from "./trust.ts";
export type { Checked } from "./checks.ts";
export { checkBundle, runSteps, verifyBundle } from "./verify.ts";
export type { RunStep, Verdict, VerdictStep, VerifyOptions } from "./verify.ts";
