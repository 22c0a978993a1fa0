// SPDX-License-Identifier: Apache-2.0
/** The `ctxmesh` command as real processes, and the state of a folder. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { hash } from "node:crypto";
import { readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { waitFor } from "@ctxmesh/testing";

const CLI = fileURLToPath(new URL("../../packages/cli/bin/ctxmesh.js", import.meta.url));
const BOUND_MS = 20_000;

function launch(
  args: readonly string[],
  cwd: string,
  limits: { readonly timeout?: number; readonly killSignal?: "SIGKILL" } = {},
): { child: ChildProcess; out: { stdout: string; stderr: string } } {
  const { CTXMESH_SOCKET: _, ...env } = process.env;
  const child = spawn(process.execPath, [CLI, ...args], {
    cwd,
    env,
    ...limits,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const out = { stdout: "", stderr: "" };
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (out.stdout += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (out.stderr += text));
  return { child, out };
}

const exitOf = (child: ChildProcess): Promise<number | NodeJS.Signals | null> =>
  new Promise((resolve) => {
    child.once("close", (code, signal) => resolve(code ?? signal));
  });

/** What a command did. */
export interface Outcome {
  readonly exit: number | NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end, which is forced on one that hangs. */
export async function run(cwd: string, ...args: readonly string[]): Promise<Outcome> {
  const { child, out } = launch(args, cwd, { timeout: BOUND_MS, killSignal: "SIGKILL" });
  const exit = await exitOf(child);
  return { exit, ...out };
}

/** A daemon that is ready. */
export interface Daemon extends AsyncDisposable {
  /** Ends it with a signal and waits for the end. */
  end(signal: "SIGTERM" | "SIGKILL"): Promise<number | NodeJS.Signals | null>;
  /** Stops it where it is, or lets it go on. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void;
  /** Its log lines so far that have this event. */
  events(event: string): readonly Readonly<Record<string, unknown>>[];
}

/** Starts a daemon and waits until it says that it is ready. */
export async function startDaemon(
  cwd: string,
  kind: "agent" | "hub",
  config: string,
): Promise<Daemon> {
  const { child, out } = launch([kind, config], cwd);
  const exited = exitOf(child);
  let running = true;
  void exited.then(() => (running = false));
  const events = (event: string): Readonly<Record<string, unknown>>[] =>
    out.stdout
      .split("\n")
      .filter((line) => line.startsWith("{") && line.includes(`"${event}"`) && line.endsWith("}"))
      .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
  const end = async (signal: "SIGTERM" | "SIGKILL"): Promise<number | NodeJS.Signals | null> => {
    child.kill(signal);
    return exited;
  };
  await waitFor(
    () => {
      if (!running) throw new Error(`${kind} ended: ${out.stderr}${out.stdout}`);
      return events(`${kind}.ready`).length > 0;
    },
    { timeoutMs: BOUND_MS, what: `${kind} ${config} to be ready` },
  );
  return {
    end,
    signal: (signal) => {
      child.kill(signal);
    },
    events,
    [Symbol.asyncDispose]: async () => {
      if (running) await end("SIGKILL");
    },
  };
}

/** Makes a mesh of `agents` agents and a hub in `dir` on free ports; its agents have no sources. */
export async function initMesh(dir: string, agents: number): Promise<void> {
  const { exit, stderr } = await run(
    dir,
    "init",
    ".",
    "--ports",
    "auto",
    "--agents",
    String(agents),
  );
  if (exit !== 0) throw new Error(stderr);
  for (let i = 1; i <= agents; i++) {
    await editFile(join(dir, `agent-${String(i)}.yaml`), (text) =>
      text.replace(/^sources:\n(?: .*\n)*/mu, ""),
    );
  }
}

/** Rewrites a text file. */
async function editFile(path: string, edit: (text: string) => string): Promise<void> {
  const before = await readFile(path, "utf8");
  const after = edit(before);
  if (after === before) throw new Error(`nothing to change in ${path}`);
  await writeFile(path, after);
}

/**
 * LevelDB renames its own diagnostic log before it finds out that a store is locked; no data is in it. The anchor
 * of a daemon's store follows its writes by up to a second.
 */
const PASSED_OVER = /^(LOG|LOG\.old|ANCHOR.*)$/u;

/** Every entry under a folder with its size and hash, or its kind. Files over 1 MiB go by size alone. */
export async function stateOf(dir: string): Promise<readonly string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const kept = entries.filter(({ name }) => !PASSED_OVER.test(name));
  const lines = kept.map(async (entry) => {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile()) return `${path} ${entry.isDirectory() ? "folder" : "special"}`;
    const { size } = await stat(path);
    const content = size > 1_048_576 ? "" : hash("sha256", await readFile(path));
    return `${path} ${String(size)} ${content}`;
  });
  return (await Promise.all(lines)).toSorted();
}
