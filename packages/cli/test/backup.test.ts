// SPDX-License-Identifier: Apache-2.0
/** Goal: a backup of a live daemon, and a node that goes on from it. Method: real processes, driven by the command line alone. */
import { readFile, readdir, rename, stat, writeFile } from "node:fs/promises";
import { hash } from "node:crypto";
import { join } from "node:path";
import { EXIT } from "@ctxmesh/model";
import type { NodeStatus } from "@ctxmesh/model";
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

const at = (name: string): string => join(mesh, name);
const ctxmesh = (...args: readonly string[]): Promise<RunResult> => run(args, { cwd: mesh });
const valueOf = async (key: string, ...more: readonly string[]): Promise<string> =>
  (await ctxmesh("get", "d", key, ...more)).stdout.trim();
const statusOf = async (...args: readonly string[]): Promise<NodeStatus> =>
  JSON.parse((await ctxmesh("status", "--json", ...args)).stdout) as NodeStatus;
const AT_HUB = ["--socket", "hub/hub.sock"];

beforeAll(async () => {
  dir = await tempDir();
  mesh = join(dir.path, "mesh");
  await run(["init", mesh, "--agents", "1", "--ports", "auto"]);
  hub = new Daemon(mesh, "hub", "hub.yaml");
  await hub.ready();
  agent = new Daemon(mesh, "agent", "agent-1.yaml");
  await agent.ready();
});

afterAll(async () => {
  await Promise.all([agent.stop(), hub.stop()]);
  await dir.remove();
});

test("a backup of a live daemon is restored; what the original wrote later comes back from the mesh, and nothing forks", async () => {
  await ctxmesh("put", "d", "early", "1");
  const saved = await ctxmesh("backup", "a.backup", "--json");
  expect(saved).toMatchObject({ code: EXIT.ok, stderr: "" });
  const bytes = await readFile(at("a.backup"));
  const { device, space, incarnation } = await statusOf();
  expect(JSON.parse(saved.stdout)).toEqual({
    file: "a.backup",
    space,
    device,
    service: "agent",
    takenAt: expect.any(Number) as number,
    bytes: bytes.length,
    parts: 1,
    records: expect.any(Number) as number,
    sha256: hash("sha256", bytes),
  });
  expect((await stat(at("a.backup"))).mode & 0o777).toBe(0o600);

  await ctxmesh("put", "d", "late", "2");
  const isThere = async (): Promise<boolean> => (await valueOf("late", ...AT_HUB)) === "2";
  await waitFor(isThere, { timeoutMs: 20_000, what: "the late fact at the hub" });
  expect(await agent.stop()).toBe(EXIT.ok);
  await rename(at("agent-1/store"), at("lost"));
  const restored = await ctxmesh("restore", "a.backup", "agent-1/store");
  expect(restored).toMatchObject({ code: EXIT.ok, stderr: "" });
  expect(restored.stdout).toMatch(
    new RegExp(`^restored \\d+ records into agent-1/store: agent ${device.slice(0, 8)} of `, "u"),
  );
  agent = new Daemon(mesh, "agent", "agent-1.yaml");
  await agent.ready();
  expect((await statusOf()).incarnation).not.toBe(incarnation);
  expect(await valueOf("early")).toBe("1");
  await ctxmesh("put", "d", "new", "3");
  await waitFor(
    async () => (await valueOf("late")) === "2" && (await valueOf("new", ...AT_HUB)) === "3",
    { timeoutMs: 20_000, what: "both to have everything" },
  );
  for (const args of [[], AT_HUB]) {
    expect((await statusOf(...args)).membership).toMatchObject({ forks: 0, voidBatches: 0 });
  }
});

test("a hub is backed up and restored with its seals, and says what that means", async () => {
  expect((await ctxmesh("seal")).code).toBe(EXIT.ok);
  const saved = await ctxmesh("backup", "hub.backup", ...AT_HUB);
  expect(saved.stdout).toMatch(
    /^wrote hub\.backup: \d+ records, [\d.]+ [kM]?B, as of .* UTC\nsha256 [0-9a-f]{64}\nrestore it: ctxmesh restore hub\.backup STORE_DIR\n$/u,
  );
  expect(await hub.stop()).toBe(EXIT.ok);
  await rename(at("hub/store"), at("hub-lost"));
  const restored = await ctxmesh("restore", "hub.backup", "hub/store");
  expect(restored.stdout).toMatch(/^seals made after the backup are not in it: /mu);
  hub = new Daemon(mesh, "hub", "hub.yaml");
  await hub.ready();
  expect(await statusOf(...AT_HUB)).toMatchObject({ ready: true, seals: 1 });
  const refused = await ctxmesh("seal");
  expect(refused.code).toBe(EXIT.policy);
  expect(refused.stderr).toMatch(/^ctxmesh: the store was restored or healed: it has 1 seal, /u);
  expect((await ctxmesh("seal", "--after", "2")).stderr).toMatch(/going on would fork the log/u);
  const sealed = await ctxmesh("seal", "--after", "1", "--out", "second.json");
  expect(sealed.stdout).toMatch(/^seal 2: /u);
  expect((await ctxmesh("verify", "second.json", "--root", "root.json")).code).toBe(EXIT.ok);
  expect((await ctxmesh("seal")).stdout).toMatch(/^seal 3: /u);
});

test("a file is never replaced, and a failure leaves none", async () => {
  await writeFile(at("mine"), "mine");
  const before = await readdir(mesh);
  const cases: readonly (readonly [readonly string[], number, RegExp])[] = [
    [["mine"], EXIT.input, /^ctxmesh: mine exists already; name a new file; /u],
    [["mine", "--socket", "none.sock"], EXIT.input, /^ctxmesh: mine exists already; /u],
    [["none/b"], EXIT.input, /^ctxmesh: can't write none\/b: ENOENT; /u],
    [["b", "--socket", "none.sock"], EXIT.unavailable, /^ctxmesh: can't reach a node at none/u],
    [[], EXIT.input, /^ctxmesh: missing required argument 'file'/u],
  ];
  for (const [args, code, message] of cases) {
    const { stderr, ...result } = await ctxmesh("backup", ...args);
    expect({ args, ...result }).toEqual({ args, code, stdout: "" });
    expect(stderr).toMatch(message);
    expect(stderr.trim().split("\n")).toHaveLength(1);
  }
  expect(await readFile(at("mine"), "utf8")).toBe("mine");
  expect(await readdir(mesh)).toEqual(before);
});

test("what is no sound backup, or no place for one, is one line that names it, and nothing is written", async () => {
  const bytes = await readFile(at("a.backup"));
  await writeFile(at("cut.backup"), bytes.subarray(0, -40));
  const flipped = Buffer.from(bytes);
  flipped[400] = (flipped[400] ?? 0) ^ 1;
  await writeFile(at("flipped.backup"), flipped);
  const before = await readdir(mesh);
  const cases: readonly (readonly [string, string, number, RegExp])[] = [
    ["cut.backup", "r", EXIT.failed, /^ctxmesh: cut\.backup: the trailer is cut off; use another/u],
    ["flipped.backup", "r", EXIT.failed, /flipped\.backup: part 1 does not match its hash; use/u],
    ["space.json", "r", EXIT.input, /^ctxmesh: space\.json: it is not a backup of ctxmesh; /u],
    ["none", "r", EXIT.input, /^ctxmesh: can't read the backup none: ENOENT; /u],
    ["a.backup", "agent-1", EXIT.input, /^ctxmesh: \/.*\/agent-1 is not empty; /u],
    ["a.backup", "agent-1/store", EXIT.input, /^ctxmesh: \/.*\/store is not empty; .*never /u],
  ];
  for (const [file, folder, code, message] of cases) {
    const { stderr, ...result } = await ctxmesh("restore", file, folder);
    expect({ file, ...result }).toEqual({ file, code, stdout: "" });
    expect(stderr).toMatch(message);
  }
  expect(await readdir(mesh)).toEqual(before);
  expect((await ctxmesh("status")).code).toBe(EXIT.ok);
});
