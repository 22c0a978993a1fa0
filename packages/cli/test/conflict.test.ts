// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: two agents that were parted and wrote the same key show the same after they meet: both statements,
 * the same winner, and why; the policy decides which one.
 * Method: two real agents of one mesh and no hub, driven by the command line alone.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EXIT } from "@ctxmesh/model";
import type { Candidate, NodeStatus, VisibleFact } from "@ctxmesh/model";
import { tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Daemon } from "./daemon-process.ts";
import { run } from "./run.ts";
import type { RunResult } from "./run.ts";

const DOC = "line-2/press-7";
const AGENTS = [1, 2] as const;
type Agent = (typeof AGENTS)[number];

interface All {
  readonly fact?: VisibleFact;
  readonly candidates: readonly Candidate[];
  readonly explanation: string;
}

let dir: TempDir;
const daemons = new Map<Agent, Daemon>();
const devices = new Map<Agent, string>();

/** Runs a command at an agent. */
const at = (agent: Agent, ...args: readonly string[]): Promise<RunResult> =>
  run([...args, "--socket", `agent-${String(agent)}/agent.sock`], { cwd: dir.path });

async function atBoth<T>(ask: (agent: Agent) => Promise<T>): Promise<readonly [T, T]> {
  return Promise.all([ask(1), ask(2)]);
}

async function json<T>(agent: Agent, ...args: readonly string[]): Promise<T> {
  const { stdout, stderr } = await at(agent, ...args, "--json");
  expect(stderr).toBe("");
  return JSON.parse(stdout) as T;
}

const getAll = (agent: Agent): Promise<All> => json(agent, "get", DOC, "temperature", "--all");
const shortOf = (agent: Agent): string => devices.get(agent)?.slice(0, 8) ?? "";

async function startAgent(agent: Agent): Promise<void> {
  const daemon = new Daemon(dir.path, "agent", `agent-${String(agent)}.yaml`);
  daemons.set(agent, daemon);
  await daemon.ready();
}

async function restart(...agents: readonly Agent[]): Promise<void> {
  for (const agent of agents) {
    await daemons.get(agent)?.stop();
    await startAgent(agent);
  }
}

/** Waits until both have applied the same batches, and compares their content, too. */
async function converge(): Promise<void> {
  await waitFor(
    async () => {
      const [one, two] = await atBoth((agent) => json<NodeStatus>(agent, "status"));
      return one.frontier === two.frontier;
    },
    { timeoutMs: 20_000, what: "both agents to have the same" },
  );
  const [one, two] = await atBoth((agent) => json<NodeStatus>(agent, "status", "--digest"));
  expect(one.digest).toBe(two.digest);
}

/** Sets whether an agent knows the other one; it has neither sources nor hubs. */
async function configure(agent: Agent, knowsOther: boolean): Promise<void> {
  const path = join(dir.path, `agent-${String(agent)}.yaml`);
  const full = await readFile(`${path}.full`, "utf8");
  const alone = full.replace(/^sources:\n(?: .*\n)*/mu, "").replace(/hubs:\n.*\n/u, "hubs: []\n");
  await writeFile(path, knowsOther ? alone : alone.replace(/peers:\n.*\n/u, "peers: []\n"));
}

beforeAll(async () => {
  dir = await tempDir();
  await run(["init", ".", "--agents", "2", "--ports", "auto"], { cwd: dir.path });
  for (const agent of AGENTS) {
    const path = join(dir.path, `agent-${String(agent)}.yaml`);
    await writeFile(`${path}.full`, await readFile(path));
    await configure(agent, false);
  }
  await Promise.all(AGENTS.map(startAgent));
  for (const agent of AGENTS) {
    devices.set(agent, (await json<NodeStatus>(agent, "status")).device);
  }
});

afterAll(async () => {
  await Promise.all([...daemons.values()].map((daemon) => daemon.stop()));
  await dir.remove();
});

describe("a key that two agents write", () => {
  test("shows each its own statement while they are parted", async () => {
    await at(1, "put", DOC, "temperature", "71.5", "--confidence", "0.9", "--source", "thermo-1");
    await at(2, "put", DOC, "temperature", "70", "--confidence", "0.6", "--source", "model-b");
    const [one, two] = await atBoth(getAll);
    expect([one.fact?.value, two.fact?.value]).toEqual([71.5, 70]);
    expect([one.candidates, two.candidates].map(({ length }) => length)).toEqual([1, 1]);
  });

  test("under latest shows both the newest, and that the other one is surer", async () => {
    await configure(2, true);
    await restart(2);
    await converge();
    const [one, two] = await atBoth(getAll);
    expect(one.candidates).toEqual(two.candidates);
    expect(one.candidates.map(({ value, standing }) => [value, standing])).toEqual([
      [70, "shown"],
      [71.5, "undominated"],
    ]);
    for (const { fact, explanation } of [one, two]) {
      expect(fact).toMatchObject({ value: 70, contested: true, resolver: "latest" });
      expect(explanation).toBe(
        `latest: the newest statement is shown; ${shortOf(1)}'s older one is surer (0.9 > 0.6), so the key is contested`,
      );
    }
    const { stdout } = await at(1, "get", DOC, "temperature", "--all");
    expect(stdout.split("\n").map((line) => line.split(/ {2,}/u))).toEqual([
      [`${DOC} temperature: 2 statements, resolver latest`],
      ["", "value", "confidence", "writer", "source", "age", "ttl left", "standing"],
      ["->", "70", "0.6", shortOf(2), "model-b", expect.any(String), "-", "shown"],
      ["", "71.5", "0.9", shortOf(1), "thermo-1", expect.any(String), "-", "undominated"],
      [one.explanation],
      [""],
    ]);
  });

  test("under confidence shows both the surest, once the policy says so", async () => {
    await writeFile(
      join(dir.path, "policy.yaml"),
      "rules:\n  - { prefix: temp, resolver: confidence }\n  - { prefix: count/, resolver: sum }\n",
    );
    const set = await run(
      ["policy", "set", "policy.yaml", "--space", "space.json", "--key", "creator/creator.jwk"],
      { cwd: dir.path },
    );
    expect(set).toMatchObject({ code: EXIT.ok, stderr: "" });
    await restart(1, 2);
    await converge();
    const [one, two] = await atBoth(getAll);
    expect(one.candidates).toEqual(two.candidates);
    expect(one.candidates.map(({ value, standing }) => [value, standing])).toEqual([
      [70, "undominated"],
      [71.5, "shown"],
    ]);
    for (const { fact, explanation } of [one, two]) {
      expect(fact).toMatchObject({ value: 71.5, contested: true, resolver: "confidence" });
      expect(explanation).toBe(
        `confidence: the surest statement is shown; ${shortOf(2)}'s newer one is less sure (0.6 < 0.9), so the key is contested`,
      );
    }
  });

  test("counts the increments of both, before and after restarts", async () => {
    expect((await at(1, "put", DOC, "count/parts", "40", "--increment")).code).toBe(EXIT.ok);
    expect((await at(2, "put", DOC, "count/parts", "1", "--increment")).code).toBe(EXIT.ok);
    await restart(2);
    await at(2, "put", DOC, "count/parts", "1", "--increment");
    await converge();
    const values = await atBoth((agent) => at(agent, "get", DOC, "count/parts"));
    expect(values.map(({ stdout }) => stdout)).toEqual(["42\n", "42\n"]);
    const { explanation } = await json<All>(1, "get", DOC, "count/parts", "--all");
    expect(explanation).toMatch(/^sum: the numbers of 2 writers are added: [240 +]+ = 42$/u);
  });

  test("is listed by pattern, source and tag", async () => {
    await at(1, "put", DOC, "line-2/a/t", "1", "--source", "m", "--tag", "hot");
    await at(1, "put", DOC, "line-2/b/t", "2", "--source", "m");
    const keys = async (...args: readonly string[]): Promise<string[]> => {
      const { stdout } = await at(1, "ls", ...args, "--json");
      const lines = stdout.split("\n").filter((line) => line !== "");
      return lines.map((line) => (JSON.parse(line) as VisibleFact).key);
    };
    expect(await keys("--pattern", "line-*/**")).toEqual(["line-2/a/t", "line-2/b/t"]);
    expect(await keys(DOC, "--pattern", "line-*/*")).toEqual([]);
    expect(await keys(DOC, "--source", "m", "--tag", "hot")).toEqual(["line-2/a/t"]);
    expect(await keys(DOC, "--source", "model-b")).toEqual(["temperature"]);
  });

  test("loses the statement that is retracted, at both, with who and why", async () => {
    const refused = await at(
      2,
      "retract",
      DOC,
      "temperature",
      "--writer",
      shortOf(1),
      "--reason",
      "x",
    );
    expect(refused.code).toBe(EXIT.policy);
    expect(refused.stderr).toMatch(/role is write, and this needs manage/u);
    const unknown = await at(1, "retract", DOC, "nothing", "--writer", shortOf(2), "--reason", "x");
    expect(unknown.code).toBe(EXIT.failed);
    expect(unknown.stderr).toMatch(/^ctxmesh: no writer \w+ has said anything about "nothing"/u);

    const reason = "thermo-1 is broken";
    const done = await at(
      1,
      "retract",
      DOC,
      "temperature",
      "--writer",
      shortOf(1),
      "--reason",
      reason,
    );
    expect(done).toMatchObject({ code: EXIT.ok, stderr: "" });
    expect(done.stdout).toContain(`retracted what ${shortOf(1)} has said about temperature`);
    await converge();
    for (const { fact, candidates, explanation } of await atBoth(getAll)) {
      expect(fact).toMatchObject({ value: 70, contested: false });
      expect(candidates.find(({ writer }) => writer === devices.get(1))).toMatchObject({
        value: 71.5,
        standing: "retracted",
        retraction: { by: devices.get(1), reason },
      });
      expect(explanation).toBe("confidence: the only statement that counts is shown");
    }
    const { stdout } = await at(2, "get", DOC, "temperature", "--all");
    expect(stdout).toContain(`  retracted by ${shortOf(1)}: ${reason}\n`);
  });
});
