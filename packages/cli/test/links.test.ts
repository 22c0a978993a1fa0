// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh links`, budgets and priorities, with a real agent and a real hub. */
import { join } from "node:path";
import { EXIT } from "@ctxmesh/model";
import type { LinkReport } from "@ctxmesh/model";
import { tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Daemon } from "./daemon-process.ts";
import { run } from "./run.ts";
import type { RunResult } from "./run.ts";

let dir: TempDir;
let mesh: string;
let hub: Daemon;
let agent: Daemon;

const ctxmesh = (...args: readonly string[]): Promise<RunResult> => run(args, { cwd: mesh });

async function linksOf(...args: readonly string[]): Promise<readonly LinkReport[]> {
  const { stdout } = await ctxmesh("links", "--json", ...args);
  return (JSON.parse(stdout) as { links: readonly LinkReport[] }).links;
}

beforeAll(async () => {
  dir = await tempDir();
  mesh = join(dir.path, "mesh");
  await run(["init", mesh, "--agents", "1", "--ports", "auto"]);
  hub = new Daemon(mesh, "hub", "hub.yaml");
  await hub.ready();
  agent = new Daemon(mesh, "agent", "agent-1.yaml", ["--link-budget", "256kbit"]);
  await agent.ready();
}, 30_000);

afterAll(async () => {
  await Promise.all([agent.stop(), hub.stop()]);
  await dir.remove();
});

test("links are listed with their budget, at both ends", async () => {
  const bound = { timeoutMs: 20_000, what: "the hub to be connected" };
  await waitFor(async () => (await linksOf()).length === 1, bound);
  const [link] = await linksOf();
  expect(link).toMatchObject({ role: "hub", traffic: { budget: 32_000 } });
  const [back] = await linksOf("--socket", join("hub", "hub.sock"));
  expect(back?.traffic).not.toHaveProperty("budget");
  const table = await ctxmesh("links");
  expect(table.stdout).toMatch(/^PEER +STATE +BUDGET .*\nhub [0-9a-f]{8} +/u);
  expect(table.stdout).toContain("32.0 kB/s");
});

test("facts of every priority are written, and arrive", async () => {
  for (const priority of ["high", "normal", "low"]) {
    const put = await ctxmesh("put", "d", priority, "1", "--priority", priority, "--ack", "hub");
    expect(put).toMatchObject({ code: EXIT.ok, stdout: "wrote 1 (hub)\n" });
  }
  const [link] = await linksOf();
  expect(link?.traffic.out.bytes).toBeGreaterThan(3 * 300);
});

test("a priority or a rate that there is not is refused with what there is", async () => {
  const put = await ctxmesh("put", "d", "k", "1", "--priority", "urgent");
  expect(put.code).toBe(EXIT.input);
  expect(put.stderr).toMatch(/high, normal, low/u);
  const start = await ctxmesh("agent", "agent-1.yaml", "--link-budget", "fast");
  expect(start.code).toBe(EXIT.input);
  expect(start.stderr).toMatch(/"fast" is not a rate.*256kbit/u);
});
