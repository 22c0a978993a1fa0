// SPDX-License-Identifier: Apache-2.0
/** Verification of a bundle against a pinned trust root: named steps in order, the first failing one decides. */
import { toMeshError } from "@ctxmesh/model";
import type { MeshErrorCode } from "@ctxmesh/model";
import {
  checkCurrent,
  checkEd25519Line,
  checkFrontier,
  checkInclusion,
  checkLeaves,
  checkMlDsaLine,
  checkSignature,
  checkSnapshotRoot,
  findKey,
  findLog,
  readBundle,
  readEnvelope,
  readProof,
  readStatement,
} from "./checks.ts";
import type { Checked } from "./checks.ts";
import type { SnapshotStatement } from "./statement.ts";
import type { TrustRoot } from "./trust.ts";

/** One check and its outcome. */
export interface VerdictStep {
  /** Stable name, such as `snapshot-root`. */
  readonly name: string;
  readonly ok: boolean;
  /** What was found, for people; for a failed step, what is wrong. */
  readonly detail: string;
}

/** The answer of a verification. Steps after a failed one were not run and are not listed. */
export interface Verdict {
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
  /** What was sealed; present only when valid. */
  readonly statement?: SnapshotStatement;
}

/** Runs one named step: a check that returns what it found and a word about it, or throws. */
export type RunStep = <T>(name: string, check: () => Checked<T>) => T;

/**
 * Runs steps until one throws a `MeshError` and makes the verdict of it. `body` returns the
 * statement that it verified.
 */
export function runSteps(body: (step: RunStep) => SnapshotStatement): Verdict {
  const steps: VerdictStep[] = [];
  let current = "start";
  try {
    const statement = body((name, check) => {
      current = name;
      const [found, detail] = check();
      steps.push({ name, ok: true, detail });
      return found;
    });
    return { valid: true, exitCode: 0, steps, statement };
  } catch (thrown) {
    const { code, message, exitCode, remedy } = toMeshError(thrown);
    steps.push({ name: current, ok: false, detail: message });
    return {
      valid: false,
      exitCode: exitCode === 2 || exitCode === 3 ? exitCode : 1,
      steps,
      failed: { step: current, code, message, ...(remedy === undefined ? {} : { remedy }) },
    };
  }
}

/** Options of {@link verifyBundle}. */
export interface VerifyOptions {
  /** Unix milliseconds against which the trust root's expiry is judged. */
  readonly now: number;
}

/** The steps of {@link verifyBundle}, in order. Throws the `MeshError` of the first that fails. */
export function checkBundle(
  step: RunStep,
  bytes: Uint8Array,
  root: TrustRoot,
  { now }: VerifyOptions,
): SnapshotStatement {
  const bundle = step("bundle", () => readBundle(bytes));
  step("trust-root", () => checkCurrent(root, now));
  // The seal: whose it is, whether it is genuine, what it says.
  const envelope = step("payload-type", () => readEnvelope(bundle));
  const verifier = step("key", () => findKey(root, envelope));
  step("signature", () => checkSignature(verifier, envelope));
  const statement = step("statement", () => readStatement(envelope, root));
  // The content: exactly what was sealed, from chains that their devices signed.
  step("snapshot-root", () => checkSnapshotRoot(bundle, statement));
  step("leaves", () => checkLeaves(bundle));
  step("frontier", () => checkFrontier(bundle, statement));
  // The log: this very envelope is in a tree that the log signed with both its keys.
  const logged = step("proof", () => readProof(bundle));
  const log = step("log", () => findLog(root, logged));
  step("inclusion", () => checkInclusion(bundle, logged));
  step("checkpoint-ed25519", () => checkEd25519Line(logged, log));
  step("checkpoint-ml-dsa-44", () => checkMlDsaLine(logged, log));
  return statement;
}

/** Verifies an untrusted bundle file. Never throws: every refusal is a verdict. */
export const verifyBundle = (bytes: Uint8Array, root: TrustRoot, options: VerifyOptions): Verdict =>
  runSteps((step) => checkBundle(step, bytes, root, options));
