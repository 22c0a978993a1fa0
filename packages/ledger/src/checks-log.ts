// SPDX-License-Identifier: Apache-2.0
/** The checks of a verification that are about the log: its checkpoint, and what was seen of it before. */
import type { VerifierOptions } from "@ctxmesh/crypto";
import { MeshError, formatInstant } from "@ctxmesh/model";
import type { AuditPolicy } from "./audit-policy.ts";
import type { Checked } from "./checks.ts";
import { snapshotEntry } from "./log.ts";
import { equalBytes, leafHash, verifyConsistency, verifyInclusion } from "./merkle.ts";
import type { TreeHead } from "./note.ts";
import { parseCheckpoint } from "./note.ts";
import type { Checkpoint } from "./note.ts";
import { parseLogProof } from "./proof.ts";
import type { LogProof } from "./proof.ts";
import { trustedLog } from "./trust-use.ts";
import type { WitnessPolicy } from "./trust-use.ts";
import type { TrustRoot, TrustedLog } from "./trust.ts";
import { verifyCheckpoint } from "./witness-cosignature.ts";
import type { VerifiedCheckpoint, WitnessKey } from "./witness-cosignature.ts";

/** A proof with the checkpoint inside it; nothing of it is verified. */
export interface Logged {
  readonly proof: LogProof;
  readonly checkpoint: Checkpoint;
}

const refuse = (
  code: "PROOF_INVALID" | "POLICY_REFUSED",
  message: string,
  remedy?: string,
): never => {
  throw new MeshError(code, message, remedy === undefined ? {} : { remedy });
};

/** A well-formed proof and checkpoint. */
export function readProof(text: string): Checked<Logged> {
  const proof = parseLogProof(text);
  const checkpoint = parseCheckpoint(proof.checkpoint);
  return [{ proof, checkpoint }, `${String(proof.hashes.length)} hashes and a checkpoint`];
}

/** The trust root names the log. */
export const findLog = (root: TrustRoot, { checkpoint }: Logged): Checked<TrustedLog> => [
  trustedLog(root, checkpoint.origin),
  checkpoint.origin,
];

/** Both lines of the log, and those of every known witness that are there. */
export function checkCheckpoint(
  { proof }: Logged,
  log: TrustedLog,
  witnesses: readonly WitnessKey[],
  options: VerifierOptions,
): Checked<VerifiedCheckpoint> {
  const verified = verifyCheckpoint(proof.checkpoint, log, witnesses, options);
  const time = formatInstant(verified.loggedMs);
  const size = String(verified.head.size);
  return [verified, `Ed25519 and ML-DSA-44 lines verify; ${size} entries, logged ${time}`];
}

/**
 * When as many witnesses had cosigned as the trust root asks for, and one at least, Unix milliseconds; undefined while fewer have. Of each witness its
 * latest time counts. Nobody but the witnesses can make it earlier.
 */
export const witnessedAt = (
  { cosignedMs }: VerifiedCheckpoint,
  { threshold }: WitnessPolicy,
): number | undefined => cosignedMs.toSorted((a, b) => a - b)[Math.max(1, threshold) - 1];

/**
 * The moment by which a key is judged: the log's, and for a key that is revoked the later one of that and {@link witnessedAt}, as whoever stole the key
 * of a hub may have the keys of its log, too, and write down any time. Throws `POLICY_REFUSED` for a revoked key without enough witnesses.
 */
export function judgedAt(
  root: TrustRoot,
  keyid: string,
  { loggedMs, witnessedMs }: { readonly loggedMs: number; readonly witnessedMs?: number },
): number {
  const revokedAt = root.keys.find(({ key }) => key.keyid === keyid)?.revokedAt;
  // By the log's own word it came too late: that is the reason to give.
  if (revokedAt === undefined || loggedMs >= revokedAt) return loggedMs;
  if (witnessedMs !== undefined) return Math.max(loggedMs, witnessedMs);
  return refuse(
    "POLICY_REFUSED",
    `key ${keyid} is revoked from ${formatInstant(revokedAt)} on, and too few witnesses say that the checkpoint is older`,
    "use a copy that was cosigned before the key was revoked",
  );
}

/** As many witnesses as the trust root and the policy ask for have cosigned. */
export function checkWitnesses(
  { cosignedBy }: VerifiedCheckpoint,
  { witnesses: keys, threshold }: WitnessPolicy,
  { witnesses: asked = 0 }: AuditPolicy,
): Checked<void> {
  const [needed, known] = [Math.max(threshold, asked), new Set(keys.map(({ name }) => name))];
  const count = `${String(cosignedBy.length)} of ${String(known.size)} witnesses`;
  if (cosignedBy.length < needed) {
    const message = `${count} have cosigned the checkpoint, and ${String(needed)} are asked for`;
    refuse("POLICY_REFUSED", message, "get the bundle again once more of them have");
  }
  return [undefined, known.size === 0 ? "none asked for" : `${count}: ${cosignedBy.join(", ")}`];
}

/** The checkpoint's tree includes the entry of exactly these envelope bytes. */
export function checkInclusion(
  envelope: Uint8Array,
  { proof }: Logged,
  { head }: VerifiedCheckpoint,
): Checked<void> {
  const { size, root } = head;
  const included = verifyInclusion({
    leafHash: leafHash(snapshotEntry(envelope)),
    index: proof.index,
    size,
    proof: proof.hashes,
    root,
  });
  if (!included) refuse("PROOF_INVALID", "the log's checkpoint does not include this envelope");
  return [undefined, `entry ${String(proof.index)} of ${String(size)}`];
}

/**
 * The tree heads that were remembered and that is shown now are of one log that only grew. `proof` is the
 * consistency proof between the two sizes, where somebody has one. Returns the larger head, to be remembered.
 */
export function checkConsistency(
  shown: TreeHead,
  remembered: TreeHead | undefined,
  proof: readonly Uint8Array[] | undefined,
): Checked<TreeHead> {
  if (remembered === undefined) {
    return [shown, `first look at this log: remembered at ${String(shown.size)} entries`];
  }
  const [older, newer] = shown.size < remembered.size ? [shown, remembered] : [remembered, shown];
  const sizes = `${String(remembered.size)} entries seen before, ${String(shown.size)} now`;
  if (older.size === newer.size) {
    if (equalBytes(older.root, newer.root))
      return [newer, `the same ${String(newer.size)} entries`];
    return refuse("PROOF_INVALID", `split view: two trees of ${String(newer.size)} entries`);
  }
  const remedy = "give the log's tiles: --log DIR, made by ctxmesh log export";
  if (proof === undefined) {
    const hasShrunk = newer === remembered;
    return hasShrunk
      ? refuse(
          "PROOF_INVALID",
          `the log has shrunk: ${sizes}, and no proof that both are one log`,
          remedy,
        )
      : refuse("POLICY_REFUSED", `nothing shows that the log only grew: ${sizes}`, remedy);
  }
  const consistent = verifyConsistency({
    size1: older.size,
    root1: older.root,
    size2: newer.size,
    root2: newer.root,
    proof,
  });
  if (!consistent)
    refuse("PROOF_INVALID", `split view: ${sizes}, and the one does not go on from the other`);
  return [newer, `${sizes}: the log only grew`];
}
