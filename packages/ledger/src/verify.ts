// SPDX-License-Identifier: Apache-2.0
/** Verification against a pinned trust root: named steps in order, the first failing one decides. */
import { MeshError, formatInstant, toMeshError } from "@ctxmesh/model";
import type { MeshErrorCode, SpaceId } from "@ctxmesh/model";
import type { AuditPolicy } from "./audit-policy.ts";
import {
  checkDecider,
  checkDecisionBatch,
  checkDecisionSealed,
  checkDecisionSignature,
  checkSealedDecisions,
  checkStrength,
  readDecision,
} from "./checks-decision.ts";
import type { VerifiedDecision } from "./checks-decision.ts";
import {
  checkCheckpoint,
  checkInclusion,
  checkWitnesses,
  findLog,
  judgedAt,
  readProof,
  witnessedAt,
} from "./checks-log.ts";
import {
  checkBatches,
  checkCurrent,
  checkFactInclusion,
  checkFrontier,
  checkLeaves,
  checkPolicy,
  checkSignature,
  checkSnapshotRoot,
  findFacts,
  findKey,
  readBundle,
  readEnvelope,
  readFactProof,
  readStatement,
} from "./checks.ts";
import type { Checked, FoundFact } from "./checks.ts";
import { isDecisionFile, parseDecisionFile } from "./decision-file.ts";
import { isFactProof } from "./fact-proof.ts";
import type { FactProof } from "./fact-proof.ts";
import type { TreeHead } from "./note.ts";
import type { Provenance } from "./provenance.ts";
import type { SnapshotStatement } from "./statement.ts";
import { trustedWitnesses } from "./trust-use.ts";
import type { TrustRoot } from "./trust.ts";

/** One check and its outcome. */
export interface VerdictStep {
  /** Stable name, such as `snapshot-root`. */
  readonly name: string;
  readonly ok: boolean;
  /** What was found, for people; for a failed step, what is wrong. */
  readonly detail: string;
}

/** Where and when a seal was logged. */
export interface LoggedSeal {
  /** Of the checkpoint. */
  readonly head: TreeHead;
  readonly index: number;
  /** Unix milliseconds, as the log says; keys were judged at this time, but for revoked ones. */
  readonly loggedMs: number;
  /** When as many witnesses had cosigned as the trust root asks for, one at least, Unix milliseconds; absent while fewer have. Revoked keys were judged at the later of both. */
  readonly witnessedMs?: number;
  /** Names of witnesses that cosigned the checkpoint. */
  readonly cosignedBy: readonly string[];
}

/** What was verified. */
export interface Verified {
  readonly kind: "bundle" | "fact" | "decision";
  /** What was sealed; absent for a decision that no snapshot has. */
  readonly statement?: SnapshotStatement;
  readonly logged?: LoggedSeal;
  /** The facts that were looked for; all of a fact proof. */
  readonly facts?: readonly FoundFact[];
  readonly decisions?: readonly VerifiedDecision[];
  readonly provenance?: Provenance;
}

/** The answer of a verification. Steps after a failed one were not run and are not listed. */
export interface Verdict extends Partial<Verified> {
  readonly valid: boolean;
  /** 0 valid; 1 a signature, proof or digest is wrong; 2 policy; 3 malformed input. */
  readonly exitCode: 0 | 1 | 2 | 3;
  readonly steps: readonly VerdictStep[];
  readonly failed?: {
    readonly step: string;
    readonly code: MeshErrorCode;
    readonly message: string;
    readonly remedy?: string;
  };
}

/** Runs one named step: a check that returns what it found and a word about it, or throws. */
export type RunStep = <T>(name: string, check: () => Checked<T>) => T;

/** The verdict of a step that threw, after others that did not. */
export function failedVerdict(
  passed: readonly VerdictStep[],
  step: string,
  thrown: unknown,
): Verdict {
  const { code, message, exitCode, remedy } = toMeshError(thrown);
  return {
    valid: false,
    exitCode: exitCode === 2 || exitCode === 3 ? exitCode : 1,
    steps: [...passed, { name: step, ok: false, detail: message }],
    failed: { step, code, message, ...(remedy === undefined ? {} : { remedy }) },
  };
}

/**
 * Runs steps until one throws a `MeshError` and makes the verdict of it. `body` returns what it verified.
 */
export function runSteps(body: (step: RunStep) => Verified): Verdict {
  const steps: VerdictStep[] = [];
  let current = "start";
  try {
    const verified = body((name, check) => {
      current = name;
      const [found, detail] = check();
      steps.push({ name, ok: true, detail });
      return found;
    });
    return { valid: true, exitCode: 0, steps, ...verified };
  } catch (thrown) {
    return failedVerdict(steps, current, thrown);
  }
}

/** Options of {@link verifyBundle}. */
export interface VerifyOptions {
  /** Unix milliseconds of the moment that everything is judged at: the trust root must not have expired, and the seal have been logged. */
  readonly now: number;
  /** Look for a fact, in one document or in all. */
  readonly fact?: { readonly doc?: string | undefined; readonly key: string };
  readonly policy?: AuditPolicy;
  /** Whether a second implementation of the algorithms has to accept the seal, too; default true. */
  readonly crossCheck?: boolean;
}

/** What the steps of a verification have in common. */
interface Audit {
  readonly step: RunStep;
  readonly root: TrustRoot;
  readonly options: VerifyOptions;
}

/** The log's clock and the auditor's may differ so much; a seal of tomorrow is refused. */
const CLOCK_DRIFT_MS = 300_000;

function assertLogged(loggedMs: number, now: number): Checked<void> {
  const logged = formatInstant(loggedMs);
  if (loggedMs > now + CLOCK_DRIFT_MS) {
    throw new MeshError("POLICY_REFUSED", `logged ${logged}, after ${formatInstant(now)}`);
  }
  return [undefined, `logged ${logged}, judged as of ${formatInstant(now)}`];
}

/** The seal: whose it is, whether it is genuine, what it says, and that it was logged. */
function checkSeal(
  { step, root, options }: Audit,
  sealed: Pick<FactProof, "envelope" | "proof">,
): { readonly statement: SnapshotStatement; readonly logged: LoggedSeal } {
  const { now, policy = {}, crossCheck = true } = options;
  const envelope = step("payload-type", () => readEnvelope(sealed.envelope));
  const statement = step("statement", () => readStatement(envelope, root));
  const logged = step("proof", () => readProof(sealed.proof));
  const log = step("log", () => findLog(root, logged));
  const witnesses = trustedWitnesses(root);
  const checkpoint = step("checkpoint", () =>
    checkCheckpoint(logged, log, witnesses.witnesses, { crossCheck }),
  );
  const { head, loggedMs, cosignedBy } = checkpoint;
  step("logged-time", () => assertLogged(loggedMs, now));
  const witnessedMs = witnessedAt(checkpoint, witnesses);
  const times = { loggedMs, ...(witnessedMs !== undefined && { witnessedMs }) };
  // A key is judged at the time at which the log had the seal, not at the one that the hub claims.
  const verifier = step("key", () => {
    const atMs = judgedAt(root, envelope.keyid, times);
    return findKey(root, envelope, statement, { atMs, crossCheck });
  });
  step("signature", () => checkSignature(verifier, envelope));
  step("inclusion", () => checkInclusion(sealed.envelope, logged, checkpoint));
  step("witnesses", () => checkWitnesses(checkpoint, witnesses, policy));
  step("policy", () => checkPolicy(policy, statement, { loggedMs, nowMs: now }));
  return { statement, logged: { head, index: logged.proof.index, ...times, cosignedBy } };
}

function checkSpaceBundle(audit: Audit, bytes: Uint8Array): Verified {
  const { step, root, options } = audit;
  const { now, policy = {}, fact } = options;
  const bundle = step("bundle", () => readBundle(bytes));
  step("trust-root", () => checkCurrent(root, now));
  const { statement, logged } = checkSeal(audit, bundle);
  // The content: exactly what was sealed, from chains that their devices signed.
  step("snapshot-root", () => checkSnapshotRoot(bundle, statement));
  step("leaves", () => checkLeaves(bundle));
  step("frontier", () => checkFrontier(bundle, statement));
  const provenance = step("batches", () =>
    checkBatches(bundle, statement, policy.batches === true),
  );
  const decisions = step("decisions", () => checkSealedDecisions(bundle.leaves, statement.space));
  const facts = fact && step("fact", () => findFacts(bundle.leaves, fact, provenance));
  return {
    kind: "bundle",
    statement,
    logged,
    decisions,
    ...(facts === undefined ? {} : { facts }),
    ...(provenance === undefined ? {} : { provenance }),
  };
}

function checkProven(audit: Audit, proof: FactProof): Verified {
  const { step, options } = audit;
  const { statement, logged } = checkSeal(audit, proof);
  step("fact-inclusion", () => checkFactInclusion(proof, statement));
  const decisions = step("decisions", () => checkSealedDecisions(proof.facts, statement.space));
  const wanted = options.fact;
  const facts =
    wanted === undefined
      ? proof.facts.map(({ leaf }) => ({ members: JSON.parse(leaf) as FoundFact["members"] }))
      : step("fact", () => findFacts(proof.facts, wanted, undefined));
  return { kind: "fact", statement, logged, decisions, facts };
}

function checkFactFile(audit: Audit, bytes: Uint8Array): Verified {
  const proof = audit.step("fact-proof", () => readFactProof(bytes));
  audit.step("trust-root", () => checkCurrent(audit.root, audit.options.now));
  return checkProven(audit, proof);
}

function checkDecisionFile(audit: Audit, bytes: Uint8Array): Verified {
  const { step, root, options } = audit;
  const { now, policy = {} } = options;
  const file = step("decision-file", () => [
    parseDecisionFile(bytes),
    `${String(bytes.length)} bytes`,
  ]);
  step("trust-root", () => checkCurrent(root, now));
  const signed = step("decision", () => readDecision(file.envelope));
  step("decision-signature", () => checkDecisionSignature(signed));
  const { proof: proofBytes, batch } = file;
  let sealed: Verified | undefined;
  if (proofBytes !== undefined) {
    const proof = step("fact-proof", () => readFactProof(proofBytes));
    sealed = checkProven(audit, proof);
    const space: SpaceId | undefined = sealed.statement?.space;
    step("decision-sealed", () => checkDecisionSealed(file, signed, proof.facts, space ?? ""));
  }
  const logged = sealed?.logged;
  const atMs = (keyid: string): number => (logged ? judgedAt(root, keyid, logged) : now);
  if (batch !== undefined) {
    const { space } = signed.record;
    step("decision-batch", () => checkDecisionBatch(signed.envelope, batch, root, { space, atMs }));
  }
  step("decision-signer", () =>
    checkDecider(signed, root, { isSealed: sealed !== undefined, atMs: now }),
  );
  const strength = step("decision-strength", () => checkStrength(file, policy));
  const { id, record } = signed;
  return { ...sealed, kind: "decision", decisions: [{ id, record, strength }] };
}

/** The steps of {@link verifyBundle}, in order. Throws the `MeshError` of the first that fails. */
export function checkBundle(
  step: RunStep,
  bytes: Uint8Array,
  root: TrustRoot,
  options: VerifyOptions,
): Verified {
  const audit: Audit = { step, root, options };
  if (isFactProof(bytes)) return checkFactFile(audit, bytes);
  if (isDecisionFile(bytes)) return checkDecisionFile(audit, bytes);
  return checkSpaceBundle(audit, bytes);
}

/** Verifies an untrusted file: a bundle, a fact proof or a decision. Never throws: every refusal is a verdict. */
export const verifyBundle = (bytes: Uint8Array, root: TrustRoot, options: VerifyOptions): Verdict =>
  runSteps((step) => checkBundle(step, bytes, root, options));
