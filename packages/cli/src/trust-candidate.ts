// SPDX-License-Identifier: Apache-2.0
/** Trust root files under way: read, changed, written. Nothing here needs a network or a daemon. */
import {
  createTrustRoot,
  formatRootCandidate,
  parseRootCandidate,
  rootApproval,
} from "@ctxmesh/ledger";
import type { RootCandidate, TrustRoot, TrustRootDraft } from "@ctxmesh/ledger";
import { MeshError } from "@ctxmesh/model";
import { systemClock } from "@ctxmesh/service";
import { inFile, readSmallFile, writeWhole } from "./files.ts";
import { createOutput } from "./output.ts";

const DAY_MS = 86_400_000;

/** Options of every command that changes a root. */
export interface ChangeOptions {
  readonly out?: string;
  readonly days?: number;
  readonly json?: boolean;
}

/** Reads a trust root file without looking at its signatures. Throws `FORMAT_INVALID` and what else the parser throws. */
export async function readCandidate(path: string): Promise<RootCandidate> {
  const text = await readSmallFile(path, "trust root", "FILE_UNAVAILABLE");
  try {
    return parseRootCandidate(text);
  } catch (error) {
    throw inFile(path, error);
  }
}

/** Writes a trust root file whole. */
export const writeCandidate = async (path: string, candidate: RootCandidate): Promise<void> =>
  writeWhole(path, formatRootCandidate(candidate), {
    field: path,
    remedy: "choose a folder that you may write to",
  });

/** Now, in whole seconds: logs write those down, so that a seal may seem to be older than it is. */
export const issueTime = (): number => Math.floor(systemClock.now() / 1_000) * 1_000;

/** Life of a root from its issue on. */
export const expiryOf = (issued: number, days: number): number => issued + days * DAY_MS;

function draftOf(root: TrustRoot, raise: boolean, days: number | undefined): TrustRootDraft {
  const { roles, ...rest } = root;
  // Later than the one before, so that whatever ends with it has had its time.
  const issued = raise ? Math.max(issueTime(), root.issued + 1_000) : root.issued;
  const expires = days === undefined ? issued + root.expires - root.issued : expiryOf(issued, days);
  return {
    ...rest,
    rootThreshold: roles.root.threshold,
    version: root.version + (raise ? 1 : 0),
    issued,
    expires,
  };
}

/**
 * Changes a root file. One with signatures stays what it is: the change goes to `--out`, as the next version, not signed. One
 * without is a draft, and is changed in its place. Throws `USAGE` without `--out` where it is needed, `POLICY_REFUSED` for a file
 * that only some have signed.
 */
export async function changeRoot(
  path: string,
  { out, days, ...options }: ChangeOptions,
  edit: (draft: TrustRootDraft) => TrustRootDraft,
): Promise<void> {
  const candidate = await readCandidate(path);
  const { root } = candidate;
  const isSigned = candidate.signatures.length > 0;
  if (isSigned && !rootApproval(candidate, root).enough) {
    throw new MeshError("POLICY_REFUSED", `${path} is signed, but not by enough to build on`, {
      remedy: "have it signed by the others, or make this version anew from the one before",
    });
  }
  if (isSigned && (out === undefined || out === path)) {
    throw new MeshError("USAGE", `${path} is signed, and stays as it is`, {
      remedy: "give --out FILE for the next version",
    });
  }
  const target = out ?? path;
  const changed = createTrustRoot(edit(draftOf(root, isSigned, days)));
  await writeCandidate(target, { root: changed, signatures: [] });
  const output = createOutput(options);
  const { version } = changed;
  const { threshold } = changed.roles.root;
  await output.line(
    output.json
      ? JSON.stringify({ path: target, version, threshold })
      : [
          `wrote version ${String(version)} of the trust root to ${target}; nobody has signed it yet`,
          `next: ctxmesh trust show ${target}${isSigned ? ` --against ${path}` : ""}, then ctxmesh trust sign ${target} --key KEY, by everybody it names`,
        ].join("\n"),
  );
}
