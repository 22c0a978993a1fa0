// SPDX-License-Identifier: Apache-2.0
/** The auditor's one job: a file and a pinned trust root file in, a verdict out. */
import {
  checkBundle,
  checkConsistency,
  failedVerdict,
  parseAuditPolicy,
  runSteps,
} from "@ctxmesh/ledger";
import type { AuditPolicy, TreeHead, Verdict } from "@ctxmesh/ledger";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { readBounded } from "./files.ts";
import { checkSeen, followRoots } from "./roots.ts";
import type { RootFile } from "./roots.ts";
import { AuditState } from "./state.ts";
import { proveGrowth } from "./tiles.ts";

/** What {@link runVerify} needs. */
export interface VerifyRequest {
  /** Path of a bundle, a fact proof or a decision file. */
  readonly bundlePath: string;
  /** Paths of trust root files, one at least: the pinned one, and versions that follow it, in order. The last one is what everything is judged by. */
  readonly rootPaths: readonly string[];
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

/** What was verified, and the roots that it was verified by, where they are good. */
interface Judged {
  readonly verdict: Verdict;
  readonly roots: readonly RootFile[];
}

/** The verdict without the logs that were seen before. Nothing is remembered yet. */
function verifyFile(request: VerifyRequest, state: AuditState | undefined): Judged {
  const { bundlePath, rootPaths, policyPath, fact, now } = request;
  let roots: readonly RootFile[] = [];
  const verdict = runSteps((step) => {
    const files = step("trust-root-file", (): readonly [readonly RootFile[], string] => [
      followRoots(rootPaths.map((path) => readText("trust root", path))),
      rootPaths.join(", "),
    ]);
    if (state !== undefined) step("trust-root-seen", () => checkSeen(files, state.root()));
    roots = files;
    const { root } = files.at(-1) as RootFile;
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
  return { verdict, roots };
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
 * verdict and not an exception. Nothing is remembered, of a log or of a trust root, but of what is valid.
 */
export async function runVerify(request: VerifyRequest): Promise<Verdict> {
  const { statePath, logPath } = request;
  let state: AuditState | undefined;
  try {
    state = statePath === undefined ? undefined : new AuditState(statePath);
  } catch (error) {
    return failedVerdict([], "state", error);
  }
  const { verdict, roots } = verifyFile(request, state);
  if (state === undefined || !verdict.valid) return verdict;
  const head = verdict.logged?.head;
  const last = head === undefined ? verdict : await withConsistency(verdict, head, state, logPath);
  return last.valid ? withRoot(last, state, roots) : last;
}

/** Remembers the trust root: after all else, so that a root under which nothing was valid takes the place of none. */
function withRoot(verdict: Verdict, state: AuditState, roots: readonly RootFile[]): Verdict {
  try {
    const newest = roots.at(-1);
    if (newest && newest.root.version !== state.root()?.version) state.rememberRoot(newest.text);
    return verdict;
  } catch (error) {
    return failedVerdict(verdict.steps, "state", error);
  }
}
