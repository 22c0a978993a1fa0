// SPDX-License-Identifier: Apache-2.0
import { readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createDeviceVerifier, parsePrivateKey } from "@ctxmesh/crypto";
import { parseTrustRoot } from "@ctxmesh/ledger";
import { parseSpaceFile } from "@ctxmesh/membership";
import { toHex } from "@ctxmesh/model";
import { tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadConfig } from "../src/config/load.ts";
import { CONFIG_SCHEMAS } from "../src/config/schema.ts";
import { readKey, readSpace } from "../src/files.ts";
import { run } from "./run.ts";

let dir: TempDir;

beforeEach(async () => {
  dir = await tempDir();
});

afterEach(async () => {
  await dir.remove();
});

const inDir = (...parts: readonly string[]): string => join(dir.path, ...parts);

async function init(...args: readonly string[]): Promise<{ code: number | null; stderr: string }> {
  return run(["init", ...args], { cwd: dir.path });
}

describe("what it makes", () => {
  test("is read by the parsers that the programs use, and fits together", async () => {
    expect(await init("plant", "--agents", "2", "--port-base", "7400")).toMatchObject({ code: 0 });
    const space = await readSpace(inDir("plant/space.json"));
    expect(space.genesis.name).toBe("plant");
    const root = parseTrustRoot(await readFile(inDir("plant/root.json"), "utf8"));
    expect(root.spaces).toEqual([space.id]);

    for (const [number, port] of [
      [1, 7401],
      [2, 7402],
    ] as const) {
      const config = await loadConfig("agent", inDir(`plant/agent-${String(number)}.yaml`));
      const key = await readKey(config.key, "Ed25519");
      const grant = [...space.grants.values()]
        .flat()
        .find(({ device }) => device === toHex(key.publicKey));
      expect(grant).toMatchObject({ service: "agent", role: port === 7401 ? "manage" : "write" });
      expect(config.mesh.listen).toEqual([`/ip4/127.0.0.1/tcp/${String(port)}`]);
      expect(config.mesh.peers).toEqual([`/ip4/127.0.0.1/tcp/${String(7403 + 7400 - port)}`]);
      expect(config.hubs).toEqual(["ws://127.0.0.1:7400"]);
    }

    const hub = await loadConfig("hub", inDir("plant/hub.yaml"));
    const hubKey = await readKey(hub.key, "Ed25519");
    const hubGrant = [...space.grants.values()].flat().find((grant) => grant.service === "hub");
    expect(hubGrant).toMatchObject({ device: toHex(hubKey.publicKey), role: "write" });
    expect(hub.listen).toEqual({ host: "127.0.0.1", port: 7400 });
    const snapshot = await readKey(hub.seal.key, "ML-DSA-65-Ed25519");
    const rootKey = await readKey(inDir("plant/creator/root.jwk"), "ML-DSA-65-Ed25519");
    expect(root.roles).toMatchObject({
      root: { keyids: [rootKey.keyid], threshold: 1 },
      snapshot: { keyids: [snapshot.keyid] },
    });
    const { origin, ed25519Key, mldsa44Key } = hub.seal.log;
    expect(root.logs.map((log) => [log.origin, log.ed25519.keyid, log.mldsa44.keyid])).toEqual([
      [
        origin,
        (await readKey(ed25519Key, "Ed25519")).keyid,
        (await readKey(mldsa44Key, "ML-DSA-44")).keyid,
      ],
    ]);
  });

  test("keys are for their owner alone, and the creator's key issued the grants", async () => {
    await init("plant");
    for (const path of [
      "agent-1/device.jwk",
      "agent-3/device.jwk",
      "hub/snapshot.jwk",
      "creator/creator.jwk",
      "creator/root.jwk",
    ]) {
      expect((await stat(inDir("plant", path))).mode & 0o777, path).toBe(0o600);
      expect((await stat(inDir("plant", path, ".."))).mode & 0o777, path).toBe(0o700);
    }
    const creator = parsePrivateKey(await readFile(inDir("plant/creator/creator.jwk"), "utf8"));
    const text = await readFile(inDir("plant/space.json"), "utf8");
    const space = parseSpaceFile(text, createDeviceVerifier());
    expect(space.genesis.creators).toEqual([toHex(creator.publicKey)]);
  });

  test("editors find the schema", async () => {
    await init("plant", "--agents", "1");
    const yaml = await readFile(inDir("plant/agent-1.yaml"), "utf8");
    expect(yaml).toMatch(/^# yaml-language-server: \$schema=\.\/agent\.schema\.json\n/u);
    const schema: unknown = JSON.parse(await readFile(inDir("plant/agent.schema.json"), "utf8"));
    expect(schema).toEqual(CONFIG_SCHEMAS.agent);
  });

  test("automatic ports are all different", async () => {
    const { stdout } = await run(["init", "plant", "--ports", "auto", "--json"], { cwd: dir.path });
    const { ports } = JSON.parse(stdout) as { ports: number[] };
    expect(new Set(ports).size).toBe(4);
  });
});

describe("what is there already", () => {
  test("is never overwritten", async () => {
    await init("plant");
    const before = await readFile(inDir("plant/space.json"), "utf8");
    const again = await init("plant");
    expect(again).toMatchObject({ code: 3 });
    expect(again.stderr).toMatch(/^ctxmesh: .*already holds agent-1, .*--force.*\n$/u);
    expect(await readFile(inDir("plant/space.json"), "utf8")).toBe(before);
  });

  test("with --force it moves aside, files of others stay where they are", async () => {
    await init("plant");
    await writeFile(inDir("plant/notes.txt"), "mine");
    const before = await readFile(inDir("plant/agent-1/device.jwk"), "utf8");
    expect(await init("plant", "--agents", "1", "--force")).toMatchObject({ code: 0 });
    const entries = await readdir(inDir("plant"));
    const replaced = entries.find((entry) => entry.startsWith("replaced-")) ?? "";
    expect(await readFile(inDir("plant", replaced, "agent-1/device.jwk"), "utf8")).toBe(before);
    expect(await readFile(inDir("plant/agent-1/device.jwk"), "utf8")).not.toBe(before);
    expect(await readFile(inDir("plant/notes.txt"), "utf8")).toBe("mine");
    expect(entries).not.toContain("agent-2.yaml");
  });

  test("a folder of something else can be used as it is", async () => {
    await writeFile(inDir("notes.txt"), "mine");
    expect(await init(".", "--name", "plant")).toMatchObject({ code: 0 });
    expect(await readdir(dir.path)).toEqual(expect.arrayContaining(["notes.txt", "agent-1.yaml"]));
  });
});

describe("what fails", () => {
  test("leaves nothing behind when the target is a file", async () => {
    await writeFile(inDir("plant"), "a file");
    const failed = await init("plant");
    expect(failed).toMatchObject({ code: 3 });
    expect(failed.stderr).toContain("can't write into");
    expect(await readdir(dir.path)).toEqual(["plant"]);
  });

  test.each([
    [["--agents", "0"], "--agents must be a whole number from 1 to 64"],
    [["--agents", "x"], "--agents must be"],
    [["--port-base", "70000"], "--port-base must be"],
    [["--name", "a\nb"], "can't name a space"],
    [["--ports", "fixed"], "--ports"],
  ])("refuses %j and makes nothing", async (args, message) => {
    const failed = await init("plant", ...args);
    expect(failed.code).toBe(3);
    expect(failed.stderr).toContain(message);
    expect(await readdir(dir.path)).toEqual([]);
  });
});
