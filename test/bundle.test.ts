// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the bundled command does what the one from the sources does, where no source is.
 * Method: bundle it into a folder of its own as an installation has it, and run a daemon and its clients from there as processes.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { installCommand } from "../scripts/bench/installed.ts";

const MANIFEST = fileURLToPath(new URL("../packages/cli/package.json", import.meta.url));
const BOUND_MS = 20_000;

let dir: TempDir;
let command: string;

beforeAll(async () => {
  dir = await tempDir();
  command = await installCommand(dir.path);
});
afterAll(async () => dir.remove());

const start = (...args: readonly string[]): ChildProcess =>
  spawn(process.execPath, [command, ...args], {
    cwd: dir.path,
    env: { PATH: process.env["PATH"], XDG_CACHE_HOME: join(dir.path, "cache") },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: BOUND_MS,
    killSignal: "SIGKILL",
  });

/** What a command printed, on whichever stream, once it has ended with `code`. */
async function run(code: number, ...args: readonly string[]): Promise<string> {
  const child = start(...args);
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (part: string) => (text += part));
  }
  const exit = await new Promise((resolve) => child.once("close", resolve));
  expect(exit, text).toBe(code);
  return text;
}

/** Starts a daemon and waits until it is ready; what is returned stops it and gives its exit code. */
async function begin(kind: "agent" | "hub", config: string): Promise<() => Promise<unknown>> {
  const child = start(kind, config);
  let log = "";
  child.stdout?.setEncoding("utf8").on("data", (part: string) => (log += part));
  const exit = new Promise((resolve) => child.once("close", resolve));
  await waitFor(() => log.includes(`"${kind}.ready"`) || child.exitCode !== null, {
    timeoutMs: BOUND_MS,
    what: `${kind} to be ready`,
  });
  expect(log).toContain(`"${kind}.ready"`);
  return async () => {
    child.kill("SIGTERM");
    return exit;
  };
}

test("it has the version of the package", async () => {
  const { version } = JSON.parse(await readFile(MANIFEST, "utf8")) as { version: string };
  expect((await run(0, "--version")).trim()).toBe(version);
});

test("agent and hub run without the sources, and what an agent keeps is encrypted", async () => {
  await run(0, "init", "mesh", "--agents", "1", "--ports", "auto");
  const socket = ["--socket", "mesh/agent-1/agent.sock"];
  const stopHub = await begin("hub", "mesh/hub.yaml");
  const stop = await begin("agent", "mesh/agent-1.yaml");
  await run(0, "put", "line-2", "state", "canary-value", ...socket);
  expect(await stop()).toBe(0);
  expect(await stopHub()).toBe(0);
  const store = join(dir.path, "mesh/agent-1/store");
  for (const name of await readdir(store)) {
    expect((await readFile(join(store, name))).includes("canary-value"), name).toBe(false);
  }
  const stopAgain = await begin("agent", "mesh/agent-1.yaml");
  expect(await run(0, "get", "line-2", "state", ...socket)).toContain("canary-value");
  expect(await stopAgain()).toBe(0);
  // What it has compiled, for the next start.
  expect(await readdir(join(dir.path, "cache/ctxmesh/compiled"))).not.toEqual([]);
});

test("a wrong command line is a wrong command line, with its exit code", async () => {
  expect(await run(3, "agnet")).toContain("did you mean agent?");
});
