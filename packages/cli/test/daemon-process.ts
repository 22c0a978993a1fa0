// SPDX-License-Identifier: Apache-2.0
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface } from "node:readline";
import { waitFor } from "@ctxmesh/testing";
import { start } from "./run.ts";

/** A line of a daemon's log. */
export interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly [field: string]: unknown;
}

/** A daemon with its log, which is all that it may print. */
export class Daemon {
  readonly log: LogLine[] = [];
  readonly process: ChildProcessWithoutNullStreams;
  readonly exit: Promise<number | null>;
  stderr = "";

  constructor(
    cwd: string,
    kind: "agent" | "hub" | "witness",
    config: string,
    options: readonly string[] = [],
  ) {
    this.process = start([kind, config, ...options], { cwd });
    createInterface({ input: this.process.stdout }).on("line", (line) =>
      this.log.push(JSON.parse(line) as LogLine),
    );
    this.process.stderr.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    this.exit = new Promise((resolve) => this.process.on("close", resolve));
  }

  async ready(): Promise<LogLine> {
    const find = (): LogLine | undefined => this.log.find(({ event }) => event.endsWith(".ready"));
    await waitFor(() => find() !== undefined || this.process.exitCode !== null, {
      timeoutMs: 20_000,
      what: "the daemon to be ready",
    });
    const line = find();
    if (line === undefined) throw new Error(`the daemon ended: ${this.stderr}`);
    return line;
  }

  async stop(): Promise<number | null> {
    this.process.kill("SIGTERM");
    return this.exit;
  }
}
