// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: an operator sees, replaces and rotates the keys of a store, and has it checked, while the agent runs.
 * Method: a real agent in a process of its own, driven by the command line alone.
 */
import { readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EXIT } from "@ctxmesh/model";
import type { KeysReport, ScrubReport } from "@ctxmesh/model";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";
import { tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { Level } from "level";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Daemon } from "./daemon-process.ts";
import { run } from "./run.ts";
import type { RunResult } from "./run.ts";

let dir: TempDir;
let mesh: string;
let config: string;
let agent: Daemon;

const at = (name: string): string => join(mesh, name);
const ctxmesh = (...args: readonly string[]): Promise<RunResult> => run(args, { cwd: mesh });

/** Asks the agent without a process for each question. */
async function ask<Answer>(question: (client: ContextClient) => Promise<Answer>): Promise<Answer> {
  const client = connect({ socketPath: at("agent-1/agent.sock") });
  return question(client).finally(() => {
    client.close();
  });
}

const put = async (key: string, value: number): Promise<unknown> =>
  ask((client) => client.put("d", { key, value }));
const valuesOf = async (): Promise<Record<string, unknown>> =>
  Object.fromEntries((await ask((client) => client.list())).map(({ key, value }) => [key, value]));
const keysOf = async (): Promise<KeysReport["keys"]> => (await ask((client) => client.keys())).keys;

async function start(...options: readonly string[]): Promise<void> {
  agent = new Daemon(mesh, "agent", "agent-1.yaml", options);
  await agent.ready();
}

/** Has the configuration say where the key of the store is. */
const configure = async (encryption: unknown): Promise<void> =>
  writeFile(at("agent-1.yaml"), `${config}\nencryption: ${JSON.stringify(encryption)}\n`);

/** How a start that fails ends. */
async function failure(...options: readonly string[]): Promise<{ code: number; text: string }> {
  const daemon = new Daemon(mesh, "agent", "agent-1.yaml", options);
  const code = await daemon.exit;
  return { code: code ?? -1, text: daemon.stderr };
}

/** Puts a damaged record into the store where nobody looks: no replica reads another program's records. */
async function damage(): Promise<void> {
  const raw = new Level<Uint8Array, Uint8Array>(at("agent-1/store"), {
    keyEncoding: "view",
    valueEncoding: "view",
  });
  await raw.put(Uint8Array.of(0x7f), new Uint8Array(30));
  await raw.close();
}

beforeAll(async () => {
  dir = await tempDir();
  mesh = join(dir.path, "mesh");
  await run(["init", mesh, "--agents", "1", "--ports", "auto"]);
  // Without its source and its hub: nobody else writes, and it has nobody to wait for.
  config = (await readFile(at("agent-1.yaml"), "utf8")).replace(
    /^sources:$.*^log:$/msu,
    "sources: []\nlog:",
  );
  config = config.replace(/^hubs:$\n.*$/mu, "hubs: []");
  await writeFile(at("agent-1.yaml"), config);
  await start();
});

afterAll(async () => {
  await agent.stop();
  await dir.remove();
});

test("keys are shown, rotated and replaced while the agent runs, and the new configuration opens the store", async () => {
  await put("one", 1);
  const first = await ctxmesh("keys", "show");
  expect(first).toMatchObject({ code: EXIT.ok, stderr: "" });
  expect(first.stdout).toMatch(
    /^protected by {2}file:\/.*store\.key\nstore key +number 1, made 20/u,
  );
  expect(first.stdout).toMatch(/^data keys +1, for 1 document; at most 1 epoch of one$/mu);

  const rotated = await ctxmesh("keys", "rotate");
  expect(rotated).toMatchObject({ code: EXIT.ok, stderr: "" });
  expect(rotated.stdout).toMatch(/^1 epoch ended: /u);
  await put("two", 2);
  const before = await keysOf();
  expect(before).toMatchObject({ dataKeys: 2, epochs: 2, storeKey: 1, rotating: false });

  const rewrapped = await ctxmesh("keys", "rewrap", "--to", "file:agent-1/new.key");
  expect(rewrapped).toMatchObject({ code: EXIT.ok, stderr: "" });
  const path = at("agent-1/new.key");
  expect(rewrapped.stdout).toBe(
    [
      `the store is protected by file:${path} now; 2 data keys wrapped anew`,
      "to finish, have the configuration of the daemon say so before its next start:",
      "",
      "encryption:",
      `  keyFile: ${path}`,
      "",
      `keep ${before?.provider ?? ""} for as long as you keep backups that were made until now`,
      "",
    ].join("\n"),
  );
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await keysOf()).toMatchObject({ provider: `file:${path}`, storeKey: 2, dataKeys: 2 });
  await put("three", 3);

  expect(await agent.stop()).toBe(EXIT.ok);
  const refused = await failure();
  expect(refused.code).toBe(EXIT.input);
  expect(refused.text).toContain(`which was wrapped by file:${path}`);
  await configure({ keyFile: path });
  await damage();
  await start();
  expect(await valuesOf()).toEqual({ one: 1, two: 2, three: 3 });
});

test("a key that is no good changes nothing", async () => {
  const before = await keysOf();
  const cases: readonly (readonly [string, RegExp])[] = [
    ["agent-1/x.key", /"agent-1\/x\.key" does not say where a key is; use file:PATH/u],
    ["environment:NOT_SET", /the environment variable is not set/u],
    ["credential:store", /CREDENTIALS_DIRECTORY is not set/u],
    ["file:space.json", /space\.json (is open to other users|does not hold a store key)/u],
  ];
  for (const [to, message] of cases) {
    const { code, stdout, stderr } = await ctxmesh("keys", "rewrap", "--to", to);
    expect({ to, code, stdout }).toEqual({ to, code: EXIT.input, stdout: "" });
    expect(stderr).toMatch(message);
  }
  expect(await keysOf()).toEqual(before);
});

test("a check of the whole store can be asked for; damage makes the agent not ready, and a restart heals it", async () => {
  const found = await ctxmesh("scrub", "--json");
  expect(found.code).toBe(EXIT.failed);
  const { findings, last } = JSON.parse(found.stdout) as ScrubReport;
  expect(last).toMatchObject({ damaged: 1 });
  expect(findings).toEqual([expect.stringContaining("record under key 7f")]);
  expect(await ask((client) => client.status())).toMatchObject({
    ready: false,
    scrub: { findings },
  });
  expect((await ctxmesh("status")).stdout).toMatch(/^warning +damage in the store: .*restart/mu);
  const doctor = await ctxmesh("doctor", "agent-1.yaml");
  expect(doctor.code).toBe(EXIT.failed);
  expect(doctor.stdout).toContain("a check of its store found");

  expect(await agent.stop()).toBe(EXIT.ok);
  await start();
  expect(await readdir(at("agent-1"))).toContain("store.damaged-1");
  const sound = await ctxmesh("scrub");
  expect(sound).toMatchObject({ code: EXIT.ok, stderr: "" });
  expect(sound.stdout).toMatch(/^\d+ tables? and \d+ records checked, 0 damaged\n$/u);
  expect(await valuesOf()).toEqual({ one: 1, two: 2, three: 3 });
  expect(await ask((client) => client.status())).toMatchObject({ ready: true });
});

test("encryption is switched on for a store that was made without it when that is said once", async () => {
  expect(await agent.stop()).toBe(EXIT.ok);
  const plain = config.replaceAll("agent-1/store", "agent-1/plain");
  await writeFile(at("agent-1.yaml"), `${plain}\nencryption: { off: true }\n`);
  await start();
  await put("plain", 1);
  expect((await ctxmesh("keys", "show")).stdout).toMatch(/^encryption {2}off: /u);
  const refused = await ctxmesh("keys", "rotate");
  expect(refused.code).toBe(EXIT.input);
  expect(refused.stderr).toMatch(
    /^ctxmesh: the store of this node is not encrypted; .*--accept-plain/u,
  );
  expect(await agent.stop()).toBe(EXIT.ok);

  await writeFile(at("agent-1.yaml"), plain);
  expect((await failure()).text).toContain("start once with --accept-plain");
  await start("--accept-plain");
  await put("encrypted", 2);
  expect(await valuesOf()).toEqual({ plain: 1, encrypted: 2 });
  expect((await ctxmesh("keys", "show")).stdout).toMatch(/^warning .*before encryption/mu);
});
