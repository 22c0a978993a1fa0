// SPDX-License-Identifier: Apache-2.0
/** The auditor's one job: a file and a pinned trust root file in, a verdict out. */
import {
  checkBundle,
  checkConsistency,
  failedVerdict,
  parseAuditPolicy,
  parseTrustRoot,
  runSteps,
} from "@ctxmesh/ledger";
import type { AuditPolicy, TreeHead, Verdict } from "@ctxmesh/ledger";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { readBounded } from "./files.ts";
import { AuditState } from "./state.ts";
import { proveGrowth } from "./tiles.ts";

/** What {@link runVerify} needs. */
export interface VerifyRequest {
  /** Path of a bundle, a fact proof or a decision file. */
  readonly bundlePath: string;
  /** Path of the pinned trust root file. */
  readonly rootPath: string;
  /** Unix milliseconds of the moment that everything is judged at. */
  readonly now: number;
  /** A fact to look for, in one document or in all. */
  readonly fact?: { readonly doc?: string | undefined; readonly key: string };
  /** Path of a policy file. */
  readonly policyPath?: string;
  /** Folder of what was seen before; made where it is missing. */
  readonly statePath?: string;
  /** Folder with the log's tiles. */
  readonly logPath?: string;
}

function decodeText(what: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new MeshError("FORMAT_INVALID", `${what} is not UTF-8`, { field: what, cause: error });
  }
}

const readText = (what: string, path: string): string =>
  decodeText(what, readBounded(what, path, LIMITS.smallFileBytes));

/** The verdict without what was seen before. */
function verifyFile(request: VerifyRequest, state: AuditState | undefined): Verdict {
  const { bundlePath, rootPath, policyPath, fact, now } = request;
  return runSteps((step) => {
    const root = step("trust-root-file", () => [
      parseTrustRoot(readText("trust root", rootPath)),
      rootPath,
    ]);
    if (state !== undefined) step("trust-root-seen", () => state.checkRoot(root));
    const policy =
      policyPath === undefined
        ? undefined
        : step("policy-file", (): readonly [AuditPolicy, string] => [
            parseAuditPolicy(readText("policy", policyPath)),
            policyPath,
          ]);
    const bytes = step("bundle-file", () => [
      readBounded("bundle", bundlePath, LIMITS.bundleBytes),
      bundlePath,
    ]);
    return checkBundle(step, bytes, root, {
      now,
      ...(fact === undefined ? {} : { fact }),
      ...(policy === undefined ? {} : { policy }),
    });
  });
}

/** Adds the step `consistency`: the log is the one that was seen before, and only grew. Then its head is remembered. */
async function withConsistency(
  verdict: Verdict,
  shown: TreeHead,
  state: AuditState,
  logPath: string | undefined,
): Promise<Verdict> {
  const step = "consistency";
  try {
    const seen = state.head(shown.origin);
    const [older, newer] =
      seen !== undefined && seen.size > shown.size ? [shown, seen] : [seen, shown];
    const proof =
      older === undefined || older.size === newer.size || logPath === undefined
        ? undefined
        : await proveGrowth(logPath, older, newer);
    const [head, detail] = checkConsistency(shown, seen, proof);
    if (head !== seen) state.remember(head);
    return { ...verdict, steps: [...verdict.steps, { name: step, ok: true, detail }] };
  } catch (error) {
    return failedVerdict(verdict.steps, step, error);
  }
}

/**
 * Verifies a file offline. The steps are `trust-root-file`, with a state `trust-root-seen`, with a policy `policy-file`,
 * `bundle-file`, those of `verifyBundle`, and with a state `consistency`; whatever is wrong, with the files or in them, is a
 * verdict and not an exception. Nothing is remembered of a log but what is valid.
 */
export async function runVerify(request: VerifyRequest): Promise<Verdict> {
  const { statePath, logPath } = request;
  let state: AuditState | undefined;
  try {
    state = statePath === undefined ? undefined : new AuditState(statePath);
  } catch (error) {
    return failedVerdict([], "state", error);
  }
  const verdict = verifyFile(request, state);
  const head = verdict.logged?.head;
  // What is not valid has none, so nothing is remembered of it.
  if (state === undefined || head === undefined) return verdict;
  return withConsistency(verdict, head, state, logPath);
}
