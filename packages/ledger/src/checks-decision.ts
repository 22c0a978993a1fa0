// SPDX-License-Identifier: Apache-2.0
/** The checks of decisions: alone, in a batch, and among the facts of a snapshot. */
import { canonicalJson, utf8Encode } from "@ctxmesh/codec";
import { createDeviceVerifier } from "@ctxmesh/crypto";
import { MeshError, formatInstant, fromHex, toMeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import type { AuditPolicy } from "./audit-policy.ts";
import { verifyBatchItem } from "./batch-seal.ts";
import type { Checked } from "./checks.ts";
import type { DecisionFile } from "./decision-file.ts";
import { DECISION_PAYLOAD_TYPE, DECISION_PREFIX, parseDecision } from "./decision.ts";
import type { DecisionRecord, SignedDecision } from "./decision.ts";
import { parseEnvelope, preAuthEncoding } from "./dsse.ts";
import type { ProvenLeaf } from "./fact-proof.ts";
import { equalBytes } from "./merkle.ts";
import { leafMembers, textMember } from "./snapshot.ts";
import type { SnapshotLeaf } from "./snapshot.ts";
import { trustedVerifier } from "./trust-use.ts";
import type { TrustRoot } from "./trust.ts";

/** What protects a decision: one Ed25519 signature, or a composite one over more than it besides. */
export type DecisionStrength = "classical" | "hybrid by batch seal" | "hybrid by snapshot seal";

/** A decision that was verified. */
export interface VerifiedDecision {
  readonly id: string;
  readonly record: DecisionRecord;
  readonly strength: DecisionStrength;
}

/** A well-formed decision. */
export function readDecision(bytes: Uint8Array): Checked<SignedDecision> {
  const signed = parseDecision(bytes);
  const { kind, counter, device } = signed.record;
  return [signed, `${kind} ${signed.id}, number ${String(counter)} of device ${device}`];
}

/** The one Ed25519 signature, by the device that the decision names. */
export function checkDecisionSignature({ record, envelope }: SignedDecision): Checked<void> {
  const message = preAuthEncoding(envelope.payloadType, envelope.payload);
  if (!createDeviceVerifier().verify(fromHex(record.device), message, envelope.signature)) {
    throw new MeshError("SIGNATURE_INVALID", `the decision is not signed by ${record.device}`);
  }
  return [undefined, "the Ed25519 signature verifies"];
}

/** Whether a leaf is a fact that holds a decision, by its key and the type of its value. */
function envelopeIn(members: Readonly<Record<string, JsonValue>>): Uint8Array | undefined {
  const { key, value } = members;
  if (typeof key !== "string" || !key.startsWith(DECISION_PREFIX)) return undefined;
  if (typeof value !== "object" || value === null || !("payloadType" in value)) return undefined;
  if (value["payloadType"] !== DECISION_PAYLOAD_TYPE) return undefined;
  return utf8Encode(canonicalJson(value));
}

/** One of the proven leaves is the fact that holds exactly this decision, said by the device that signed it. */
export function checkDecisionSealed(
  file: DecisionFile,
  { id, record }: SignedDecision,
  facts: readonly ProvenLeaf[],
  space: string,
): Checked<void> {
  const holds = facts.some(({ leaf }) => {
    const members = leafMembers(leaf);
    const envelope = envelopeIn(members);
    const isNamed =
      members["key"] === `${DECISION_PREFIX}${id}` && members["writer"] === record.device;
    return isNamed && envelope !== undefined && equalBytes(envelope, file.envelope);
  });
  if (!holds || record.space !== space) {
    throw new MeshError(
      "PROOF_INVALID",
      "the fact proof is not of the fact that holds this decision",
    );
  }
  return [undefined, `sealed as the fact ${DECISION_PREFIX}${id.slice(0, 16)}... of its device`];
}

/** The batch seal is by an issuer of the trust root, good at the moment by which `atMs` judges its key, and includes the decision. */
export function checkDecisionBatch(
  { payload, payloadType }: SignedDecision["envelope"],
  batch: NonNullable<DecisionFile["batch"]>,
  root: TrustRoot,
  {
    space,
    atMs,
  }: { readonly space: DecisionRecord["space"]; readonly atMs: (keyid: string) => number },
): Checked<void> {
  const { keyid } = parseEnvelope(batch.envelope);
  const verifier = trustedVerifier(root, "issuer", keyid, { atMs: atMs(keyid), space });
  const sealed = verifyBatchItem({ payload, payloadType }, batch, batch.envelope, verifier);
  const time = formatInstant(sealed.sealedAt);
  return [
    undefined,
    `${String(batch.index + 1)} of ${String(sealed.count)}, sealed ${time} by ${keyid}`,
  ];
}

/** Somebody may sign decisions: an issuer of the trust root, or a member whose fact the decision was when the hub sealed it. */
export function checkDecider(
  { record, envelope }: SignedDecision,
  root: TrustRoot,
  { isSealed, atMs }: { readonly isSealed: boolean; readonly atMs: number },
): Checked<void> {
  if (isSealed) return [undefined, `device ${record.device}, a member when its fact was sealed`];
  const { space } = record;
  const { key } = trustedVerifier(root, "issuer", envelope.keyid, { atMs, space });
  return [undefined, `issuer ${key.keyid}`];
}

/** Says which signatures cover the decision. Throws `POLICY_REFUSED` for a classical one where the policy asks for hybrid. */
export function checkStrength(
  { batch, proof }: DecisionFile,
  { hybridDecisions }: AuditPolicy,
): Checked<DecisionStrength> {
  if (proof !== undefined) {
    return ["hybrid by snapshot seal", "hybrid: a sealed and logged snapshot has it"];
  }
  if (batch !== undefined) return ["hybrid by batch seal", "hybrid: a batch seal has it"];
  if (hybridDecisions === true) {
    throw new MeshError("POLICY_REFUSED", "the decision has one Ed25519 signature and no more", {
      remedy: "add a fact proof once a hub has sealed it: ctxmesh prove --decision FILE",
    });
  }
  return ["classical", "classical: one Ed25519 signature, nothing that would outlast it"];
}

/** What is wrong with a decision in a snapshot; undefined when nothing is. */
function problemOf(
  members: Readonly<Record<string, JsonValue>>,
  envelope: Uint8Array,
  space: string,
): { readonly signed?: SignedDecision; readonly problem?: string } {
  try {
    const signed = parseDecision(envelope);
    checkDecisionSignature(signed);
    const isNamed =
      members["key"] === `${DECISION_PREFIX}${signed.id}` &&
      members["writer"] === signed.record.device &&
      signed.record.space === space;
    return isNamed ? { signed } : { problem: "it stands under another name, writer or space" };
  } catch (error) {
    return { problem: toMeshError(error).message };
  }
}

/** Numbers that a device gave twice, and links to something else than what came before. */
function brokenLinks(decisions: readonly VerifiedDecision[]): number {
  const byPlace = new Map<string, string>();
  let broken = 0;
  for (const { id, record } of decisions) {
    const place = `${record.device} ${String(record.counter)}`;
    if (byPlace.has(place)) broken++;
    byPlace.set(place, id);
  }
  for (const { record } of decisions) {
    const before = byPlace.get(`${record.device} ${String(record.counter - 1)}`);
    if (before !== undefined && before !== record.previous) broken++;
  }
  return broken;
}

/**
 * The decisions among sealed facts. One that is not what it claims is counted and named: whoever may write could
 * put one there, and it takes nothing from the seal.
 */
export function checkSealedDecisions(
  leaves: readonly SnapshotLeaf[],
  space: string,
): Checked<readonly VerifiedDecision[]> {
  const found: VerifiedDecision[] = [];
  const wrong: string[] = [];
  for (const { leaf } of leaves) {
    // A leaf is long, and few are decisions: those have this text, as their member names are what they are.
    if (!leaf.includes(DECISION_PAYLOAD_TYPE)) continue;
    const members = leafMembers(leaf);
    const envelope = envelopeIn(members);
    if (envelope === undefined) continue;
    const { signed, problem } = problemOf(members, envelope, space);
    if (signed === undefined) wrong.push(`${textMember(members, "key")}: ${problem ?? ""}`);
    else {
      found.push({ id: signed.id, record: signed.record, strength: "hybrid by snapshot seal" });
    }
  }
  const broken = brokenLinks(found);
  const detail = [
    `${String(found.length)} decisions signed by their devices, hybrid by this seal`,
    ...(broken === 0 ? [] : [`${String(broken)} not linked as a chain`]),
    ...(wrong.length === 0 ? [] : [`${String(wrong.length)} are none (${wrong[0] ?? ""})`]),
  ];
  return [found, found.length + wrong.length === 0 ? "none" : detail.join("; ")];
}
