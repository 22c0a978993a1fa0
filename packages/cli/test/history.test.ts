// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a person finds out what a key was at a moment and how it came to that, with the command line alone.
 * Method: a real agent process, whose store is read again after a restart.
 */
import { join } from "node:path";
import { EXIT, formatInstant, hlcToMs } from "@ctxmesh/model";
import type { KeyHistory, NodeStatus, VisibleFact, WriteReceipt } from "@ctxmesh/model";
import { tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Daemon } from "./daemon-process.ts";
import { run } from "./run.ts";
import type { RunResult } from "./run.ts";

const DOC = "line-2/press-7";

let dir: TempDir;
let mesh: string;
let agent: Daemon;
let device: string;
/** When each write was made, by the clock of the agent. */
const writtenMs: number[] = [];

const ctxmesh = (...args: readonly string[]): Promise<RunResult> => run(args, { cwd: mesh });

async function json<T>(...args: readonly string[]): Promise<T> {
  const { stdout, stderr } = await ctxmesh(...args, "--json");
  expect(stderr).toBe("");
  return JSON.parse(stdout) as T;
}

async function startAgent(): Promise<void> {
  agent = new Daemon(mesh, "agent", "agent-1.yaml");
  await agent.ready();
}

/** Makes a write in a millisecond of its own. */
async function write(...args: readonly string[]): Promise<void> {
  const last = writtenMs.at(-1) ?? 0;
  await waitFor(() => Date.now() > last, { timeoutMs: 5_000, what: "the next millisecond" });
  const { hlc } = await json<WriteReceipt>(...args);
  writtenMs.push(hlcToMs(hlc));
}

beforeAll(async () => {
  dir = await tempDir();
  mesh = join(dir.path, "mesh");
  await run(["init", mesh, "--agents", "1", "--ports", "auto"]);
  await startAgent();
  ({ device } = await json<NodeStatus>("status"));
  await write("put", DOC, "temperature", "70", "--source", "thermo-1");
  await write("put", DOC, "temperature", "71.5", "--confidence", "0.9");
  const said = ["--writer", device, "--reason", "thermo-1 is broken"];
  await ctxmesh("retract", DOC, "temperature", ...said);
  await write("put", DOC, "temperature", "69");
});

afterAll(async () => {
  await agent.stop();
  await dir.remove();
});

const valueAt = async (at: string): Promise<string> =>
  (await ctxmesh("get", DOC, "temperature", "--at", at)).stdout.trim();

test("get --at tells the value of a moment, however it is written, before and after a restart", async () => {
  const [first = 0, second = 0, third = 0] = writtenMs;
  for (const restarted of [false, true]) {
    if (restarted) {
      await agent.stop();
      await startAgent();
    }
    expect(await valueAt(String(first))).toBe("70");
    expect(await valueAt(formatInstant(second - 1))).toBe("70");
    expect(await valueAt(formatInstant(second))).toBe("71.5");
    expect(await valueAt(String(third))).toBe("69");
    expect(await valueAt("1ms")).toBe("69");
  }
  const at = String(second);
  const fact = await json<VisibleFact>("get", DOC, "temperature", "--at", at);
  expect(fact).toMatchObject({ value: 71.5, confidence: 0.9, writer: device, ageMs: 0 });
});

test("get --at says that nothing was there yet, and refuses the future and what is too long ago", async () => {
  const early = formatInstant((writtenMs[0] ?? 0) - 60_000);
  const nothing = await ctxmesh("get", DOC, "temperature", "--at", early);
  expect(nothing).toEqual({
    code: EXIT.failed,
    stdout: "",
    stderr: `ctxmesh: ${DOC} had no fact "temperature" at ${early}; ctxmesh history ${DOC} temperature lists what was said about it\n`,
  });
  const future = await ctxmesh("get", DOC, "temperature", "--at", "2080-01-01T00:00:00Z");
  expect(future).toMatchObject({ code: EXIT.input, stdout: "" });
  expect(future.stderr).toMatch(/^ctxmesh: at lies in the future/u);
  const seconds = await ctxmesh("get", DOC, "temperature", "--at", "1767225600");
  expect(seconds.stderr).toMatch(/before 2020.*; give Unix milliseconds, not seconds/u);
  expect(seconds.code).toBe(EXIT.input);
});

test("history lists who said what and when, newest first, and goes on page by page", async () => {
  const { stdout, stderr } = await ctxmesh("history", DOC, "temperature");
  expect(stderr).toBe("");
  const short = device.slice(0, 8);
  const [first = 0, second = 0, third = 0] = writtenMs.map(formatInstant);
  expect(stdout.split("\n").map((line) => line.split(/ {2,}/u))).toEqual([
    ["time", "writer", "value", "confidence", "source", "counts"],
    [third, short, "69", "1", "-", "yes"],
    [
      expect.any(String),
      short,
      `(retracts ${short} up to ${String(second)}: thermo-1 is broken)`,
      "-",
      "-",
      "yes",
    ],
    [second, short, "71.5", "0.9", "-", "yes"],
    [first, short, "70", "1", "thermo-1", "yes"],
    [""],
  ]);

  const page = await ctxmesh("history", DOC, "temperature", "--limit", "3");
  const cursor = /^older ones: the same with --before (\S+)$/mu.exec(page.stdout)?.[1] ?? "";
  const rest = await json<KeyHistory>("history", DOC, "temperature", "--before", cursor);
  expect(rest.entries.map((entry) => entry.kind === "statement" && entry.value)).toEqual([70]);
  expect(rest).toMatchObject({ reachesBack: "all" });
  expect(rest.next).toBeUndefined();
});

test("history says that nobody has said anything about a key", async () => {
  const { code, stdout, stderr } = await ctxmesh("history", DOC, "pressure");
  expect({ code, stdout }).toEqual({ code: EXIT.failed, stdout: "" });
  expect(stderr).toBe(
    `ctxmesh: nobody has said anything about "pressure"; ctxmesh ls ${DOC} lists what there is\n`,
  );
  const wrong = await ctxmesh("history", DOC, "temperature", "--before", "x");
  expect(wrong).toMatchObject({ code: EXIT.input, stdout: "" });
});
