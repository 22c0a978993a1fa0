// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: devices come and go in a mesh of running daemons, and every side says what it accepted and why.
 * Method: agents as processes, driven by the command line alone; a partition is a network key of one side.
 */
import { mkdir, readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createDeviceSigner, formatPrivateKey, generatePrivateKey } from "@ctxmesh/crypto";
import { encodeSpaceFile, issueGrant } from "@ctxmesh/membership";
import { EXIT, parseDeviceKey, toHex } from "@ctxmesh/model";
import type { MembershipReport, NodeStatus } from "@ctxmesh/model";
import { createSeededRandom, tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { memberYaml } from "../src/commands/init-templates.ts";
import { readKey, readSpace } from "../src/files.ts";
import { Daemon } from "./daemon-process.ts";
import { run } from "./run.ts";
import type { RunResult } from "./run.ts";

// Many processes one after the other.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let dir: TempDir;
const inDir = (...parts: readonly string[]): string => join(dir.path, ...parts);
const daemons = new Map<string, Daemon>();

/** Runs in a member's folder, where its own daemon is found. */
const at = (folder: string, ...args: readonly string[]): Promise<RunResult> =>
  run(args, { cwd: inDir(folder) });

async function json<Answer>(folder: string, ...args: readonly string[]): Promise<Answer> {
  const { code, stdout, stderr } = await at(folder, ...args, "--json");
  if (code !== EXIT.ok) throw new Error(`${args.join(" ")}: ${stderr}`);
  return JSON.parse(stdout) as Answer;
}

async function startAgent(folder: string, config = "agent.yaml"): Promise<Daemon> {
  await daemons.get(folder)?.stop();
  const daemon = new Daemon(inDir(folder), "agent", config);
  daemons.set(folder, daemon);
  await daemon.ready();
  return daemon;
}

const stopAgent = async (folder: string): Promise<unknown> => daemons.get(folder)?.stop();

const eventually = (what: string, condition: () => Promise<boolean>): Promise<void> =>
  waitFor(condition, { timeoutMs: 20_000, what });

const valueAt = async (folder: string, key: string): Promise<string> =>
  (await at(folder, "get", "d", key)).stdout.trim();

const KEY = ["--key", "../plant/creator/creator.jwk"];
const deviceOf = async (folder: string): Promise<string> =>
  toHex(
    (
      await readKey(
        inDir(folder, folder === "plant" ? "agent-1/device.jwk" : "device.jwk"),
        "Ed25519",
      )
    ).publicKey,
  );

const memberOf = ({ members }: Pick<MembershipReport, "members">, device: string): unknown =>
  members.find((one) => one.device === device);

beforeAll(async () => {
  dir = await tempDir();
  await run(["space", "create", "plant", "--out", "plant"], { cwd: dir.path });
  await startAgent("plant", "agent-1.yaml");
});

afterAll(async () => {
  await Promise.all([...daemons.values()].map((daemon) => daemon.stop()));
  await dir.remove();
});

/** A new member by invite; its agent is not started. */
async function inviteAndJoin(folder: string, ...more: readonly string[]): Promise<string> {
  const invited = await at("plant", "space", "invite", ...KEY, "--quiet", ...more);
  expect(invited).toMatchObject({ code: EXIT.ok, stderr: "" });
  const joined = await run(["space", "join", "-", folder], {
    cwd: dir.path,
    input: invited.stdout,
  });
  expect(joined).toMatchObject({ code: EXIT.ok });
  return invited.stdout.trim();
}

describe("inviting and joining", () => {
  test("a token alone makes a member whose facts reach the others", async () => {
    const token = await inviteAndJoin("two");
    expect(token).toMatch(/^ctxmesh-invite1\.[A-Za-z0-9_-]+$/u);
    expect((await readdir(inDir("two"))).toSorted()).toEqual([
      "agent.schema.json",
      "agent.yaml",
      "device.jwk",
      "space.json",
    ]);
    expect((await stat(inDir("two/device.jwk"))).mode & 0o777).toBe(0o600);
    await startAgent("two");
    expect((await at("two", "put", "d", "hello", "1")).code).toBe(EXIT.ok);
    await eventually(
      "the fact at the first agent",
      async () => (await valueAt("plant", "hello")) === "1",
    );
    await at("plant", "put", "d", "answer", "2");
    await eventually("the answer", async () => (await valueAt("two", "answer")) === "2");

    const report = await json<MembershipReport>("plant", "space", "members");
    const device = await deviceOf("two");
    expect(memberOf(report, device)).toMatchObject({ role: "write", state: "active" });
    expect(report.invites).toMatchObject([{ state: "open", role: "write", joined: [device] }]);
    expect(report.chains.filter((chain) => chain.device === device)).toMatchObject([
      { seq: 1, void: 0 },
    ]);
    const text = (await at("two", "space", "members", "--chains")).stdout;
    expect(text).toMatch(new RegExp(`^${device.slice(0, 8)} .* write +active .* 1 +-$`, "mu"));
    expect(text).toMatch(/^ {2}chain [0-9a-f]{8} counts up to 1, /mu);
    expect(text).toMatch(/^ {2}[0-9a-f]{8} to write as agent, .*, open until .*; joined: /mu);
    // The file that it began with says the same of members as its daemon.
    const offline = await json<MembershipReport>(
      "two",
      "space",
      "members",
      "--space",
      "space.json",
    );
    expect(offline.members).toEqual(report.members);
  });

  test("a read-only member can't write", async () => {
    await inviteAndJoin("reader", "--role", "read");
    await startAgent("reader");
    const { code, stderr } = await at("reader", "put", "d", "k", "1");
    expect(code).toBe(EXIT.policy);
    expect(stderr).toMatch(/role is read, and this needs append/u);
    expect((await json<NodeStatus>("reader", "status")).membership.grant).toMatchObject({
      role: "read",
      state: "active",
    });
    await stopAgent("reader");
  });

  test("a revoked invite lets nobody in any more, and says so", async () => {
    const invited = await json<{ token: string; key: string }>("plant", "space", "invite", ...KEY);
    const revoked = await at("plant", "space", "revoke", invited.key.slice(0, 8), ...KEY);
    expect(revoked.stdout).toMatch(/^revoked the invite [0-9a-f]{8}: nobody can join/u);
    const { code, stderr } = await run(
      ["space", "join", invited.token, "late", "--timeout", "2s"],
      {
        cwd: dir.path,
      },
    );
    expect(code).toBe(EXIT.unavailable);
    expect(stderr).toMatch(
      /\nctxmesh: no contact of the invite took this device in: .*was not revoked\n$/u,
    );
    await expect(stat(inDir("late"))).rejects.toMatchObject({ code: "ENOENT" });
  });
});

describe("grants", () => {
  test("what is written after a grant has ended is held elsewhere, and applies once it is renewed", async () => {
    const DAY_MS = 86_400_000;
    const key = generatePrivateKey("Ed25519", createSeededRandom(7));
    const device = parseDeviceKey(toHex(key.publicKey));
    const creator = createDeviceSigner(
      (await readKey(inDir("plant/creator/creator.jwk"), "Ed25519")).seed,
    );
    const space = await readSpace(inDir("plant/space.json"));
    const now = Date.now();
    const text = encodeSpaceFile(
      issueGrant(space, creator, {
        device,
        service: "agent",
        role: "write",
        notBefore: now - 2 * DAY_MS,
        notAfter: now - DAY_MS,
        now,
      }),
    );
    const { addresses } = await json<NodeStatus>("plant", "status");
    await mkdir(inDir("three"));
    await writeFile(inDir("three/space.json"), text);
    await writeFile(inDir("three/device.jwk"), formatPrivateKey(key), { mode: 0o600 });
    await writeFile(
      inDir("three/agent.yaml"),
      memberYaml({ folder: "", listen: "/ip4/127.0.0.1/tcp/0", peers: addresses, hubs: [] }),
    );
    // The first agent hears of that grant when it starts with a file that has it.
    await stopAgent("plant");
    await writeFile(inDir("plant/space.json"), text);
    await startAgent("plant", "agent-1.yaml");
    await startAgent("three");
    expect((await at("three", "put", "d", "late", "3")).code).toBe(EXIT.ok);
    const status = (await at("three", "status")).stdout;
    expect(status).toMatch(/^member +write, ended /mu);
    expect(status).toMatch(
      /^warning +this device's grant has ended: others hold what it writes until ctxmesh space renew/mu,
    );
    await eventually(
      "the batch to be held",
      async () => (await json<NodeStatus>("plant", "status")).batches.held === 1,
    );
    expect(await valueAt("plant", "late")).toBe("");

    const renewed = await at("plant", "space", "renew", device.slice(0, 8), ...KEY, "--days", "7");
    expect(renewed.stdout).toMatch(
      / may write as an agent until .*, from .* on, when the last one ended\n/u,
    );
    await eventually("the batch to apply", async () => (await valueAt("plant", "late")) === "3");
    await eventually(
      "the renewal at the device",
      async () => (await json<NodeStatus>("three", "status")).membership.grant?.state !== "expired",
    );
    const all = await json<{ grants: readonly { device: string }[] }>(
      "plant",
      "space",
      "renew",
      "--all",
      ...KEY,
    );
    expect(all.grants.map((one) => one.device)).toContain(device);
    const { members } = await json<MembershipReport>("plant", "space", "members");
    expect(memberOf({ members }, device)).toMatchObject({ state: "active" });
    await stopAgent("three");
  });

  test("a device that was never here is let in by its whole key, and a lesser role is said to wait", async () => {
    const device = "7f".repeat(32);
    const granted = await json<{ role: string; device: string }>(
      "plant",
      "space",
      "grant",
      device,
      ...KEY,
      "--role",
      "manage",
      "--service",
      "hub",
      "--days",
      "1",
    );
    expect(granted).toMatchObject({ device, role: "manage", service: "hub" });
    const less = await at("plant", "space", "grant", "7f7f7f7f", ...KEY, "--role", "read");
    expect(less.stdout).toMatch(
      /may read as a hub until .*\nan earlier grant with the role manage holds until /u,
    );
  });
});

describe("revocation", () => {
  test("takes effect across a partition: both sides say what they accepted, and why not more", async () => {
    await inviteAndJoin("left");
    await inviteAndJoin("right");
    const revoked = await deviceOf("left");
    await startAgent("left");
    await startAgent("right");
    await at("left", "put", "d", "before", "1");
    await eventually("it everywhere", async () =>
      (await Promise.all(["plant", "right"].map((folder) => valueAt(folder, "before")))).every(
        (value) => value === "1",
      ),
    );

    // The partition: left and right have each other, the first agent is alone.
    await Promise.all(["left", "right", "two", "plant"].map(stopAgent));
    await startAgent("plant", "agent-1.yaml");
    const yaml = await readFile(inDir("left/agent.yaml"), "utf8");
    const [, listen = ""] = /listen:\n +- (.*)\n/u.exec(yaml) ?? [];
    // They know the first agent's addresses; with a network key of their own they don't get through to it.
    await writeFile(inDir("swarm.key"), `/key/swarm/psk/1.0.0/\n/base16/\n${"5a".repeat(32)}\n`);
    const apart = (peers: readonly string[]): string =>
      yaml.replace(
        /peers:\n( +- .*\n)+/u,
        `peers: [${peers.join(", ")}]\n  networkKey: ../swarm.key\n`,
      );
    await writeFile(inDir("left/apart.yaml"), apart([]));
    await writeFile(
      inDir("right/apart.yaml"),
      apart([listen]).replace(listen, "/ip4/127.0.0.1/tcp/0"),
    );
    await startAgent("left", "apart.yaml");
    await startAgent("right", "apart.yaml");
    await at("left", "put", "d", "during", "2");
    await eventually("it on its side", async () => (await valueAt("right", "during")) === "2");
    const cut = await at(
      "plant",
      "space",
      "revoke",
      revoked.slice(0, 8),
      ...KEY,
      "--reason",
      "gateway stolen",
    );
    expect(cut.stdout).toMatch(/^revoked [0-9a-f]{8} for ever: of what it wrote, 1 batch stands/u);

    // Heal.
    await stopAgent("right");
    await startAgent("right");
    await eventually("the void batch", async () => {
      const { membership } = await json<NodeStatus>("right", "status");
      return membership.voidBatches === 1 && membership.revoked === 1;
    });
    expect(await valueAt("right", "during")).toBe("");
    expect(await valueAt("right", "before")).toBe("1");
    await eventually("equal digests", async () => {
      const [one, two] = await Promise.all(
        ["plant", "right"].map((folder) => json<NodeStatus>(folder, "status", "--digest")),
      );
      return one?.digest === two?.digest && one?.membership.digest === two?.membership.digest;
    });
    const short = revoked.slice(0, 8);
    const accepted = (await at("right", "space", "members")).stdout;
    expect(accepted).toMatch(
      new RegExp(`^${short} .* revoked .* 1 +1 void: beyond what its revocation keeps$`, "mu"),
    );
    expect(accepted).toMatch(
      new RegExp(
        `^ {2}${short} by [0-9a-f]{8} on .*, a part of 1 chain stands: gateway stolen$`,
        "mu",
      ),
    );
    expect((await at("plant", "space", "members")).stdout).toMatch(
      new RegExp(`^${short} .* revoked .* 1 +-$`, "mu"),
    );
  });

  test("shuts the device out, and its key never comes back", async () => {
    const revoked = await deviceOf("left");
    await stopAgent("left");
    const left = await startAgent("left");
    const plant = daemons.get("plant");
    await eventually("the refusal", async () =>
      Promise.resolve(
        plant?.log.some(({ event, device }) => event === "peer.refused" && device === revoked) ===
          true,
      ),
    );
    expect(
      (await json<NodeStatus>("plant", "status")).peers.map(({ device }) => device),
    ).not.toContain(revoked);
    expect(
      left.log.some(({ event, device }) => event === "peer.connected" && device === revoked),
    ).toBe(false);
    const again = await at("plant", "space", "grant", revoked, ...KEY, "--role", "write");
    expect(again).toMatchObject({ code: EXIT.policy, stdout: "" });
    expect(again.stderr).toMatch(/was revoked/u);
    const twice = await at("plant", "space", "revoke", revoked, ...KEY);
    expect(twice).toMatchObject({ code: EXIT.policy, stdout: "" });
  });

  test("cuts a device that is connected, which learns why", async () => {
    await startAgent("two");
    const device = await deviceOf("two");
    const isConnected = async (): Promise<boolean> =>
      (await json<NodeStatus>("plant", "status")).peers.some((peer) => peer.device === device);
    await eventually("the connection", isConnected);
    await at("plant", "space", "revoke", device, ...KEY, "--keep", "nothing");
    await eventually("the cut", async () => !(await isConnected()));
    await eventually(
      "the news",
      async () => (await json<NodeStatus>("two", "status")).membership.grant?.state === "revoked",
    );
    const { code, stderr } = await at("two", "put", "d", "k", "1");
    expect(code).toBe(EXIT.policy);
    expect(stderr).toMatch(/this device was revoked/u);
    expect((await at("two", "status")).stdout).toMatch(/^warning +this device was revoked/mu);
    expect(await valueAt("plant", "hello")).toBe("");
  });
});

describe("policy", () => {
  test("set at one daemon holds at the others without a restart", async () => {
    await writeFile(inDir("p.yaml"), "rules:\n  - prefix: max/\n    resolver: max\n");
    const set = await at("plant", "policy", "set", "../p.yaml", "--socket", "agent-1/agent.sock");
    expect(set.stdout).toMatch(
      /^the space now has policy epoch 1: 1 rule\nthe daemon passes it on/u,
    );
    await eventually(
      "the policy",
      async () => (await json<NodeStatus>("right", "status")).policyEpoch === 1,
    );
    const shown = await json<{ rules: unknown }>(
      "right",
      "policy",
      "show",
      "--socket",
      "agent.sock",
    );
    expect(shown.rules).toEqual([{ prefix: "max/", resolver: "max" }]);
    await at("plant", "put", "d", "max/a", "5");
    await at("right", "put", "d", "max/a", "3");
    await eventually("the larger one", async () =>
      (await Promise.all(["plant", "right"].map((folder) => valueAt(folder, "max/a")))).every(
        (value) => value === "5",
      ),
    );
  });
});
