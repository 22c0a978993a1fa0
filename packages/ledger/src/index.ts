// SPDX-License-Identifier: Apache-2.0
/** Snapshots, seals, the transparency log, bundles, the trust root, and the verification of all of them. */
export { encodeBundle, parseBundle } from "./bundle.ts";
export { parseEnvelope, preAuthEncoding, signEnvelope } from "./dsse.ts";
export type { Envelope } from "./dsse.ts";
export type { Bundle, SignedHeader } from "./bundle.ts";
export { openLog, sealedEnvelopeHash, snapshotEntry } from "./log.ts";
export type { AlsoWrite, Appended, Log } from "./log.ts";
export { cosignedProof, replaceProof } from "./log-proof.ts";
export type { LogOptions } from "./log-store.ts";
export { openTileLog, parseEntries } from "./tile-log.ts";
export type { FetchTile, TileLog } from "./tile-log.ts";
export { bundleEntries, openLogPages } from "./tile-pages.ts";
export type { LogPage, LogPages } from "./tile-pages.ts";
export { TILE_WIDTH, formatTilePath, parseTilePath } from "./tile-path.ts";
export type { TilePath } from "./tile-path.ts";
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
export { NOTE_TYPES, parseCheckpoint } from "./note.ts";
export type { Checkpoint, LogSigners, Note, NoteSignature, NoteType, TreeHead } from "./note.ts";
export {
  buildSnapshot,
  contentRoot,
  envelopeHash,
  envelopeStatement,
  sealSnapshot,
  sealedLeavesMatch,
} from "./snapshot.ts";
export type { CanonicalLeaf, SealInput, Snapshot, SnapshotLeaf } from "./snapshot.ts";
export { sortFrontier } from "./statement.ts";
export type { FrontierHead, SnapshotStatement } from "./statement.ts";
export {
  FOR_EVER_MS,
  HYBRID_FROM_THE_START,
  KEY_ROLES,
  createTrustRoot,
  isInForce,
} from "./trust.ts";
export type {
  AlgorithmEpoch,
  KeyRole,
  RootRole,
  TrustRoot,
  TrustRootDraft,
  TrustedKey,
  TrustedKeyDraft,
  TrustedLog,
  TrustedWitness,
} from "./trust.ts";
export { formatRootCandidate, parseRootCandidate } from "./trust-file.ts";
export type { RootCandidate, RootSignature } from "./trust-file.ts";
export {
  formatTrustRoot,
  parseTrustRoot,
  rootApproval,
  signRoot,
  trustRootDigest,
  updateTrustRoot,
} from "./trust-signatures.ts";
export type { RootApproval } from "./trust-signatures.ts";
export {
  assertCurrent,
  assertNotRolledBack,
  trustedKey,
  trustedLog,
  trustedVerifier,
  trustedWitnesses,
} from "./trust-use.ts";
export type { SignatureContext, WitnessPolicy } from "./trust-use.ts";
export type { Checked, FoundFact } from "./checks.ts";
export { checkBundle, failedVerdict, runSteps, verifyBundle } from "./verify.ts";
export type {
  LoggedSeal,
  RunStep,
  Verdict,
  VerdictStep,
  Verified,
  VerifyOptions,
} from "./verify.ts";
export { checkConsistency } from "./checks-log.ts";
export { parseAuditPolicy } from "./audit-policy.ts";
export type { AuditPolicy } from "./audit-policy.ts";
export { createFactProver, encodeFactProof, parseFactProof } from "./fact-proof.ts";
export type { FactProof, FactProver, ProvenLeaf } from "./fact-proof.ts";
export { diffSnapshots } from "./diff.ts";
export type { KeyDifference, SnapshotDifference } from "./diff.ts";
export { sealBatch, verifyBatchItem } from "./batch-seal.ts";
export type { BatchPosition, BatchSeal, BatchSealStatement, BatchStatement } from "./batch-seal.ts";
export {
  DECISIONS_PER_DOCUMENT,
  DECISION_PAYLOAD_TYPE,
  DECISION_PREFIX,
  decisionDocument,
  factLeaf,
  leafDigest,
  parseDecision,
  signDecision,
} from "./decision.ts";
export type {
  Decision,
  DecisionInput,
  DecisionOutcome,
  DecisionRecord,
  SignedDecision,
} from "./decision.ts";
export { encodeDecisionFile, isDecisionFile, parseDecisionFile } from "./decision-file.ts";
export type { DecisionFile } from "./decision-file.ts";
export type { DecisionStrength, VerifiedDecision } from "./checks-decision.ts";
export type { Provenance, ReplicaShare } from "./provenance.ts";
export { createWitness } from "./witness.ts";
export type { Witness, WitnessAnswer, WitnessOptions, WitnessedLog } from "./witness.ts";
export { acceptCosignatures, cosignatureType, verifyCheckpoint } from "./witness-cosignature.ts";
export type { LogKeys, VerifiedCheckpoint, WitnessKey } from "./witness-cosignature.ts";
export {
  TREE_SIZE_MEDIA_TYPE,
  formatAddCheckpoint,
  parseAddCheckpoint,
  parseTreeSize,
} from "./witness-request.ts";
export type { AddCheckpoint } from "./witness-request.ts";
export { formatVkey, parseVkey, parseVkeys } from "./witness-vkey.ts";
export type { VerifierKey } from "./witness-vkey.ts";
