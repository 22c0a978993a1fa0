// SPDX-License-Identifier: Apache-2.0
/** The auditor's one job: a bundle file and a pinned trust root file in, a verdict out. */
import { checkBundle, parseTrustRoot, runSteps } from "@ctxmesh/ledger";
import type { Verdict } from "@ctxmesh/ledger";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { readBounded } from "./files.ts";

/** What {@link runVerify} needs. */
export interface VerifyRequest {
  readonly bundlePath: string;
  /** Path of the pinned trust root file. */
  readonly rootPath: string;
  /** Unix milliseconds against which the trust root's expiry is judged. */
  readonly now: number;
}

function decodeText(what: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new MeshError("FORMAT_INVALID", `${what} is not UTF-8`, { field: what, cause: error });
  }
}

/**
 * Verifies a bundle file offline. The steps are `trust-root-file`, `bundle-file` and those of
 * `verifyBundle`; whatever is wrong, with the files or in them, is a verdict and not an exception.
 */
export function runVerify({ bundlePath, rootPath, now }: VerifyRequest): Verdict {
  return runSteps((step) => {
    const root = step("trust-root-file", () => {
      const bytes = readBounded("trust root", rootPath, LIMITS.smallFileBytes);
      const parsed = parseTrustRoot(decodeText("trust root", bytes));
      return [parsed, rootPath];
    });
    const bytes = step("bundle-file", () => [
      readBounded("bundle", bundlePath, LIMITS.bundleBytes),
      bundlePath,
    ]);
    return checkBundle(step, bytes, root, { now });
  });
}
