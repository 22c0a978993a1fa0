// SPDX-License-Identifier: Apache-2.0
import { basename } from "node:path";
import {
  keepHeapSmall,
  renderHtml,
  renderVerdict,
  runVerify,
  verdictToJson,
} from "@ctxmesh/auditor";
import { MeshError } from "@ctxmesh/model";
import { writeWhole } from "../files.ts";
import { parseMoment } from "../moment.ts";
import { createOutput } from "../output.ts";

/** Options of `ctxmesh verify`. */
export interface VerifyOptions {
  readonly root?: string;
  readonly trust?: readonly string[];
  readonly fact?: string;
  readonly doc?: string;
  readonly at?: string;
  readonly state?: string;
  readonly log?: string;
  readonly policy?: string;
  readonly report?: string;
  readonly json?: boolean;
}

/** Verifies a file, prints the verdict and sets the exit code to it: 0 to 3. Throws `USAGE` without a trust root. */
export async function runVerifyCommand(bundlePath: string, options: VerifyOptions): Promise<void> {
  const rootPaths = options.root === undefined ? options.trust : [options.root];
  const { fact: key, doc, at, state, log, policy, report } = options;
  if (rootPaths === undefined) {
    throw new MeshError("USAGE", "which trust root?", {
      remedy: "give --trust FILE, the root.json that you pinned",
    });
  }
  if (log !== undefined && state === undefined) {
    throw new MeshError("USAGE", "--log is compared with what was seen before", {
      remedy: "give --state DIR, where that is remembered, too",
    });
  }
  keepHeapSmall();
  const now = at === undefined ? Date.now() : parseMoment(at, Date.now());
  const verdict = await runVerify({
    bundlePath,
    rootPaths,
    now,
    ...(key === undefined ? {} : { fact: { key, doc } }),
    ...(policy === undefined ? {} : { policyPath: policy }),
    ...(state === undefined ? {} : { statePath: state }),
    ...(log === undefined ? {} : { logPath: log }),
  });
  if (report !== undefined) {
    const names = {
      file: basename(bundlePath),
      root: rootPaths.map((path) => basename(path)).join(", "),
      now,
    };
    await writeWhole(report, renderHtml(verdict, names), {
      field: "--report",
      remedy: "name a file in a folder that exists and that you may write to",
    });
  }
  process.exitCode = verdict.exitCode;
  const output = createOutput(options);
  await output.line(
    output.json
      ? JSON.stringify(verdictToJson(verdict))
      : renderVerdict(verdict, { color: output.color }).trimEnd(),
  );
}
