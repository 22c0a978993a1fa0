// SPDX-License-Identifier: Apache-2.0
/** Child processes of the demo: `ctxmesh` commands that end, and daemons that are ended. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";

const CLI = resolve(import.meta.dirname, "../../packages/cli/bin/ctxmesh.js");
const STOP_MS = 15_000;
const COMMAND_MS = 60_000;

/** What a finished command said. */
export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one `ctxmesh` command to its end in a fresh process. */
export async function runCli(args: readonly string[], cwd: string): Promise<CommandResult> {
  const child = spawn(process.execPath, [CLI, ...args], {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
    timeout: COMMAND_MS,
  });
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
  const [exitCode] = (await once(child, "close")) as [number | null];
  return { exitCode: exitCode ?? -1, ...output };
}

/** A daemon of the mesh, with its log in the folder. */
export class Daemon {
  readonly name: string;
  readonly socketPath: string;
  readonly logPath: string;
  readonly #folder: string;
  readonly #command: readonly [program: string, ...args: string[]];
  #child: ChildProcess | undefined;

  /**
   * `args` such as `["agent", "agent-1.yaml"]`; the socket's path is relative to the folder. `within` is a command that
   * runs another one, such as `["ip", "netns", "exec", "lan"]`.
   */
  constructor(
    name: string,
    folder: string,
    args: readonly string[],
    socket: string,
    within: readonly string[] = [],
  ) {
    this.name = name;
    this.socketPath = join(folder, socket);
    this.logPath = join(folder, `${name}.log`);
    this.#folder = folder;
    const [program = process.execPath, ...rest] = [...within, process.execPath, CLI, ...args];
    this.#command = [program, ...rest];
  }

  /** Whether the process runs. */
  get running(): boolean {
    const child = this.#child;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** Starts the process. */
  start(): void {
    const log = openSync(this.logPath, "a");
    const [program, ...args] = this.#command;
    this.#child = spawn(program, args, {
      cwd: this.#folder,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
  }

  /** Sends SIGKILL without waiting. */
  kill(): void {
    if (this.running) this.#child?.kill("SIGKILL");
  }

  /** Ends the process and waits for it: with SIGTERM, or SIGKILL when that takes too long or is asked for. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.running) return;
    const ended = once(child, "exit");
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await ended;
    clearTimeout(timer);
  }
}
