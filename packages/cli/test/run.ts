// SPDX-License-Identifier: Apache-2.0
/** The real command in a process of its own. */
import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { fileURLToPath } from "node:url";

const BIN = fileURLToPath(new URL("../bin/ctxmesh.js", import.meta.url));

/** With compiled code where the test runner keeps its own: tests leave nothing in the home of whoever runs them. */
const ENVIRONMENT = {
  PATH: process.env["PATH"],
  NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"],
};

export interface RunResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts the command without waiting for it. */
export const start = (
  args: readonly string[],
  options: RunOptions = {},
): ChildProcessWithoutNullStreams =>
  spawn(process.execPath, [BIN, ...args], {
    cwd: options.cwd,
    env: { ...ENVIRONMENT, ...options.env },
  });

/** Runs the command to its end. */
export async function run(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const child = start(args, options);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
  child.stdin.on("error", () => undefined).end(options.input ?? "");
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.on("error", reject).on("close", resolve);
  return { code: await promise, stdout, stderr };
}
