// SPDX-License-Identifier: Apache-2.0
import { renderVerdict, runVerify, verdictToJson } from "@ctxmesh/auditor";
import { MeshError } from "@ctxmesh/model";
import { createOutput } from "../output.ts";

/** Options of `ctxmesh verify`. */
export interface VerifyOptions {
  readonly root?: string;
  readonly trust?: string;
  readonly json?: boolean;
}

/** Verifies a bundle, prints the verdict and sets the exit code to it: 0 to 3. Throws `USAGE` without a trust root. */
export async function runVerifyCommand(bundlePath: string, options: VerifyOptions): Promise<void> {
  const rootPath = options.root ?? options.trust;
  if (rootPath === undefined) {
    throw new MeshError("USAGE", "which trust root?", {
      remedy: "give --root FILE, the root.json that you pinned",
    });
  }
  const verdict = runVerify({ bundlePath, rootPath, now: Date.now() });
  process.exitCode = verdict.exitCode;
  const output = createOutput(options);
  await output.line(
    output.json
      ? JSON.stringify(verdictToJson(verdict))
      : renderVerdict(verdict, { color: output.color }).trimEnd(),
  );
}
