// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh trust show`: what a trust root says, who signed it, who is missing, and what changed. */
import {
  assertCurrent,
  formatRootCandidate,
  parseTrustRoot,
  rootApproval,
  trustRootDigest,
  updateTrustRoot,
} from "@ctxmesh/ledger";
import type { RootApproval, RootCandidate, TrustRoot } from "@ctxmesh/ledger";
import { EXIT, MeshError } from "@ctxmesh/model";
import { systemClock } from "@ctxmesh/service";
import { createOutput, formatAge } from "../output.ts";
import { describeRoot, rootChanges } from "../trust-changes.ts";
import { readCandidate } from "../trust-candidate.ts";

/** Options of `ctxmesh trust show`. */
export interface TrustShowOptions {
  readonly against?: string;
  readonly json?: boolean;
}

/** Why a root would not be taken, as its parser, an update and a verifier would say it. */
function problemsOf(
  candidate: RootCandidate,
  old: TrustRoot | undefined,
  now: number,
): MeshError[] {
  const text = formatRootCandidate(candidate);
  const problems: MeshError[] = [];
  for (const check of [
    () => parseTrustRoot(text),
    () => old && updateTrustRoot(old, text),
    () => {
      assertCurrent(candidate.root, now);
    },
  ]) {
    try {
      check();
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      if (!problems.some(({ message }) => message === error.message)) problems.push(error);
    }
  }
  return problems;
}

const signatureLines = (whose: string, { signed, open, threshold }: RootApproval): string[] => [
  `${whose}: ${String(signed.length)} of ${String(threshold)} signatures`,
  ...signed.map((keyid) => `  signed   ${keyid}`),
  ...open.map((keyid) => `  missing  ${keyid}`),
];

const lifeOf = ({ issued, expires }: TrustRoot, now: number): string =>
  `issued ${formatAge(Math.max(0, now - issued))} ago, ${
    now < expires
      ? `expires in ${formatAge(expires - now)}`
      : `expired ${formatAge(now - expires)} ago`
  }`;

/** Prints a root. The exit code is 0 for one that would be taken, else that of the first reason why not. */
export async function runTrustShow(path: string, options: TrustShowOptions): Promise<void> {
  const candidate = await readCandidate(path);
  const { root } = candidate;
  const old =
    options.against === undefined ? undefined : (await readCandidate(options.against)).root;
  const now = systemClock.now();
  const problems = problemsOf(candidate, old, now);
  process.exitCode = problems[0]?.exitCode ?? EXIT.ok;
  const own = approvalOf(candidate, root);
  const byOld = old && approvalOf(candidate, old);
  const changes = old && rootChanges(old, root);
  const digest = trustRootDigest(root);
  const output = createOutput(options);
  if (output.json) {
    const { version, issued, expires } = root;
    const about = { version, issued, expires, digest, approval: own };
    const reasons = problems.map(({ code, message }) => ({ code, message }));
    await output.line(
      JSON.stringify({
        ...about,
        ...(byOld && { approvalByOld: byOld, changes }),
        problems: reasons,
      }),
    );
    return;
  }
  const lines = [
    `trust root version ${String(root.version)}, ${lifeOf(root, now)}`,
    `digest ${digest}`,
    "",
    ...(old === undefined ? describeRoot(root) : (changes ?? [])),
    "",
    ...(own ? signatureLines("this version asks for", own) : []),
    ...(old && byOld ? signatureLines(`version ${String(old.version)} asks for`, byOld) : []),
    ...problems.map(({ message }) => output.style("red", `not good: ${message}`)),
  ];
  for (const line of lines) await output.line(line);
}

/** Undefined where a signature does not verify, which is among the problems. */
function approvalOf(candidate: RootCandidate, by: TrustRoot): RootApproval | undefined {
  try {
    return rootApproval(candidate, by);
  } catch (error) {
    if (error instanceof MeshError) return undefined;
    throw error;
  }
}
