// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: doctor names each thing that is wrong, with a remedy, and changes nothing.
 * Method: the folder that `ctxmesh init` makes, spoiled in one way at a time; a real daemon where one matters.
 */
import { hash } from "node:crypto";
import { chmod, cp, mkdir, readFile, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createDeviceVerifier, parsePrivateKey } from "@ctxmesh/crypto";
import { parseSpaceFile } from "@ctxmesh/membership";
import { EXIT, parseDocumentName } from "@ctxmesh/model";
import { openReplica, systemClock, systemRandom } from "@ctxmesh/service";
import { silentLogger, tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { judgeFreeBytes } from "../src/doctor/files.ts";
import type { Finding } from "../src/doctor/finding.ts";
import { keyProviderOf } from "../src/key-provider.ts";
import { Daemon } from "./daemon-process.ts";
import { run } from "./run.ts";

let dir: TempDir;
/** A mesh whose agent has run, with its store closed. */
let used: string;
/** A copy of it for each test. */
let mesh: string;
let copies = 0;

const at = (name: string): string => join(mesh, name);

beforeAll(async () => {
  dir = await tempDir();
  used = join(dir.path, "used");
  await run(["init", used, "--agents", "2", "--ports", "auto"]);
  const yaml = join(used, "agent-1.yaml");
  const text = await readFile(yaml, "utf8");
  // The host source would write what the tests don't know of.
  await writeFile(yaml, text.replace(/sources:\n[\s\S]*log:/u, "sources: []\nlog:"));
  const agent = new Daemon(used, "agent", "agent-1.yaml");
  await agent.ready();
  for (const key of ["a", "b", "c"]) await run(["put", "d", key, "1"], { cwd: used });
  await agent.stop();
});

afterAll(() => dir.remove());

beforeEach(async () => {
  mesh = join(dir.path, `copy-${String(copies++)}`);
  await cp(used, mesh, { recursive: true, preserveTimestamps: true });
});

interface Examined {
  readonly code: number | null;
  readonly ok: boolean;
  readonly findings: readonly Finding[];
  /** Those that are not ok. */
  readonly problems: readonly Finding[];
}

async function doctor(config = "agent-1.yaml"): Promise<Examined> {
  const { code, stdout, stderr } = await run(["doctor", config, "--json"], { cwd: mesh });
  expect(stderr).toBe("");
  const { ok, findings } = JSON.parse(stdout) as Omit<Examined, "code" | "problems">;
  const problems = findings.filter(({ status }) => status !== "ok");
  for (const { remedy } of problems) expect(remedy).toMatch(/\w/u);
  expect({ code, ok }).toEqual(
    problems.some(({ status }) => status === "fail")
      ? { code: EXIT.failed, ok: false }
      : { code: EXIT.ok, ok: true },
  );
  return { code, ok, findings, problems };
}

/** The only problem that there is. */
async function problem(config?: string): Promise<Pick<Finding, "status" | "check" | "message">> {
  const { problems } = await doctor(config);
  const [{ status, check, message } = { status: "ok", check: "", message: "" } as const] = problems;
  expect(problems).toHaveLength(1);
  return { status, check, message };
}

/** One that is like this. */
const like = (status: Finding["status"], check: string, message: RegExp): unknown => ({
  status,
  check,
  message: expect.stringMatching(message) as string,
});

async function replaceIn(name: string, pattern: RegExp, text: string): Promise<void> {
  const before = await readFile(at(name), "utf8");
  const after = before.replace(pattern, text);
  expect(after).not.toBe(before);
  await writeFile(at(name), after);
}

/** Every file of the mesh with its content and time. A folder's time moves when something was in it for a moment. */
async function everything(): Promise<readonly string[]> {
  const names = await readdir(mesh, { recursive: true });
  return Promise.all(
    names.toSorted().map(async (name) => {
      const entry = await stat(at(name));
      if (!entry.isFile()) return name;
      const { mtimeMs, ino, nlink } = entry;
      return `${name} ${[mtimeMs, ino, nlink].join(" ")} ${hash("sha256", await readFile(at(name)))}`;
    }),
  );
}

test("all is well with a node that has run: every check says what it looked at, and nothing is changed", async () => {
  const before = await everything();
  const { problems, findings } = await doctor();
  expect(problems).toEqual([]);
  expect(findings.map(({ check }) => check)).toEqual([
    "configuration",
    "device key",
    "space",
    "disk",
    "daemon",
    "store",
    "grant",
    "clock",
  ]);
  expect(findings[5]?.message).toMatch(
    /store: \d+ records match their hashes, 3 batches in 1 chain link up, 3 facts$/u,
  );
  const text = await run(["doctor", "agent-1.yaml"], { cwd: mesh });
  expect(text.stdout).toMatch(/^ok {4}configuration {2}agent-1\.yaml: an agent$/mu);
  expect(await everything()).toEqual(before);
});

test("a node that has never started is well, too, and so is a hub with all its keys", async () => {
  const { problems, findings } = await doctor("agent-2.yaml");
  expect(problems).toEqual([]);
  expect(findings.find(({ check }) => check === "store")?.message).toMatch(/none yet/u);
  const hub = await doctor("hub.yaml");
  expect(hub.problems).toEqual([]);
  expect(hub.findings.filter(({ check }) => check.endsWith(" key"))).toHaveLength(4);
});

test("a running daemon is asked instead of its store; another configuration with its store names the process", async () => {
  const agent = new Daemon(mesh, "agent", "agent-1.yaml");
  await agent.ready();
  const { problems, findings } = await doctor();
  expect(problems).toEqual([]);
  expect(findings.map(({ check }) => check)).not.toContain("store");
  expect(findings.find(({ check }) => check === "daemon")?.message).toMatch(
    /^running, and ready; /u,
  );
  await cp(at("agent-1.yaml"), at("other.yaml"));
  await replaceIn("other.yaml", /agent\.sock/u, "other.sock");
  const pid = new RegExp(`^process ${String(agent.process.pid)} has the store .* open, and `, "u");
  expect(await problem("other.yaml")).toEqual(like("fail", "daemon", pid));
  agent.process.kill("SIGKILL");
  await agent.exit;
  // It left its socket and LevelDB's LOCK file.
  expect(await readdir(at("agent-1"))).toContain("agent.sock");
  expect((await doctor()).problems).toEqual([]);
});

test("what the daemon or its store knows of the members counts, not an old space file", async () => {
  const agent = new Daemon(mesh, "agent", "agent-1.yaml");
  await agent.ready();
  const { findings } = await doctor();
  const device = /device ([0-9a-f]{8})/u.exec(findings.at(-2)?.message ?? "")?.[1] ?? "";
  const args = ["--key", "creator/creator.jwk", "--socket", "agent-1/agent.sock"];
  const revoked = await run(["space", "revoke", device, ...args], { cwd: mesh });
  expect(revoked).toMatchObject({ code: EXIT.ok, stderr: "" });
  expect(await problem()).toEqual(like("fail", "grant", /was revoked$/u));
  await agent.stop();
  expect(await problem()).toEqual(like("fail", "grant", /was revoked$/u));
});

describe("what is wrong is named", () => {
  test("a configuration: with every problem and its line, and nothing else is looked at", async () => {
    await replaceIn("agent-1.yaml", /^space:/mu, "spice:");
    const { findings } = await doctor();
    expect(findings).toHaveLength(1);
    expect(findings[0]?.message).toMatch(/^agent-1\.yaml:\d+:\d+: .*"space" is missing/mu);
    const text = await run(["doctor", "none.yaml"], { cwd: mesh });
    expect({ ...text }).toMatchObject({ code: EXIT.failed, stderr: "" });
    expect(text.stdout).toMatch(
      /^fail {2}configuration .*none\.yaml: ENOENT\n +-> check the path/u,
    );
  });

  test.each([
    ["fail", 0o644, /open to every user \(mode 0644\)/u],
    ["fail", 0o602, /open to every user/u],
    ["warn", 0o640, /open to its group \(mode 0640\)/u],
  ] as const)("a key file that others can reach: %s for mode %o", async (status, mode, message) => {
    await chmod(at("agent-1/device.jwk"), mode);
    expect(await problem()).toEqual(like(status, "device key", message));
  });

  test("a key of a hub", async () => {
    await chmod(at("hub/log-mldsa44.jwk"), 0o604);
    expect(await problem("hub.yaml")).toEqual(
      like("fail", "log key", /log-mldsa44\.jwk is open to every user/u),
    );
  });

  test("a key file that is missing, and what that leaves open", async () => {
    await rm(at("agent-1/device.jwk"));
    const { problems } = await doctor();
    expect(problems.map(({ check, status }) => `${status} ${check}`)).toEqual([
      "fail device key",
      "warn store",
    ]);
  });

  test("a space file with one changed character", async () => {
    await replaceIn("space.json", /"genesis": "(.{20})./u, '"genesis": "$1!');
    const { problems } = await doctor();
    expect(problems.map(({ check, status }) => `${status} ${check}`)).toEqual([
      "fail space",
      "warn store",
    ]);
  });

  test("a key that has no grant, and one whose grant is for a hub", async () => {
    await replaceIn("agent-1.yaml", /agent-1\/store/u, "store-2");
    await cp(at("creator/creator.jwk"), at("agent-1/device.jwk"));
    expect(await problem()).toEqual(like("fail", "grant", /has no grant in the space/u));
    await cp(at("hub/device.jwk"), at("agent-1/device.jwk"));
    expect(await problem()).toEqual(like("fail", "grant", /has a grant as hub, .* an agent$/u));
  });

  test("a grant that was taken away, as the space file has it", async () => {
    const { findings } = await doctor("agent-2.yaml");
    const device = /device ([0-9a-f]{8})/u.exec(findings.at(-2)?.message ?? "")?.[1] ?? "";
    const args = ["--space", "space.json", "--key", "creator/creator.jwk", "--keep", "nothing"];
    const revoked = await run(["space", "revoke", device, ...args], { cwd: mesh });
    expect(revoked).toMatchObject({ code: EXIT.ok, stderr: "" });
    expect(await problem("agent-2.yaml")).toEqual(like("fail", "grant", /was revoked$/u));
  });

  test("a folder that is no store", async () => {
    await rm(at("agent-1/store"), { recursive: true });
    await mkdir(at("agent-1/store"));
    await writeFile(at("agent-1/store/notes.txt"), "mine");
    expect(await problem()).toEqual(
      like("fail", "store", /agent-1\/store holds files, but no store$/u),
    );
    expect(await readdir(at("agent-1"))).toEqual(["device.jwk", "store", "store.key"]);
  });

  test("a store of another space", async () => {
    await run(["init", at("other"), "--agents", "1", "--ports", "auto"]);
    await cp(at("other/space.json"), at("space.json"));
    const { problems } = await doctor();
    expect(problems.map(({ check, status }) => `${status} ${check}`)).toEqual([
      "fail store",
      "fail grant",
    ]);
  });

  test("a flipped bit anywhere in a table or log, and the store stays as it is", async () => {
    const names = (await readdir(at("agent-1/store"))).filter((name) =>
      /\.(?:ldb|log)$/u.test(name),
    );
    for (const name of names) {
      const path = at(`agent-1/store/${name}`);
      const bytes = await readFile(path);
      if (bytes.length === 0) continue;
      const flipped = Buffer.from(bytes);
      const place = Math.floor(bytes.length / 3);
      flipped[place] = (flipped[place] ?? 0) ^ 4;
      await writeFile(path, flipped);
      const before = await everything();
      expect(await problem()).toEqual(like("fail", "store", /agent-1\/store is damaged: /u));
      expect(await everything()).toEqual(before);
      await writeFile(path, bytes);
    }
  });

  test("a store without its anchor, and a damaged one that was moved aside", async () => {
    await rm(at("agent-1/store/ANCHOR"));
    expect(await problem()).toEqual(like("warn", "store", /ANCHOR file is missing/u));
    await cp(join(used, "agent-1/store/ANCHOR"), at("agent-1/store/ANCHOR"));
    await mkdir(at("agent-1/store.damaged-1"));
    expect(await problem()).toEqual(like("warn", "store", /store\.damaged-1 is a damaged store/u));
  });

  test("a clock that is behind a file, or behind a batch", async () => {
    const later = new Date(systemClock.now() + 3_600_000);
    await utimes(at("agent-1/store/CURRENT"), later, later);
    expect(await problem()).toEqual(
      like("warn", "clock", /newest file of the store is (?:59|60) m|1 h ahead/u),
    );
    await writeFromLater(3 * 3_600_000);
    const now = new Date();
    for (const name of await readdir(at("agent-1/store"))) {
      await utimes(at(`agent-1/store/${name}`), now, now);
    }
    expect(await problem()).toEqual(
      like("warn", "clock", /and the newest batch is [23] h ahead of that$/u),
    );
  });

  test("a folder for the store that is missing", async () => {
    await replaceIn("agent-1.yaml", /agent-1\/store/u, "nowhere/store");
    expect(await problem()).toEqual(like("fail", "disk", /nowhere can't be read$/u));
  });

  test.each([
    [0, "fail"],
    [64 * 1_048_576 - 1, "fail"],
    [64 * 1_048_576, "warn"],
    [1_073_741_823, "warn"],
    [1_073_741_824, "ok"],
  ])("a disk with %i bytes free is %s", (free, status) => {
    expect(judgeFreeBytes(free, "/var")).toMatchObject({ check: "disk", status });
  });
});

/** Writes a fact by a clock that is ahead. */
async function writeFromLater(aheadMs: number): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const space = parseSpaceFile(await readFile(at("space.json"), "utf8"), createDeviceVerifier());
  const { seed } = parsePrivateKey(await readFile(at("agent-1/device.jwk"), "utf8"));
  const protection = await keyProviderOf({ key: at("agent-1/device.jwk") });
  const { replica } = await openReplica(
    { space, deviceSeed: seed, storePath: at("agent-1/store"), ...protection },
    {
      clock: { now: () => systemClock.now() + aheadMs },
      random: systemRandom,
      logger: silentLogger,
    },
    stack,
  );
  await replica.put(parseDocumentName("d"), [{ key: "later", value: 1 }]);
}
