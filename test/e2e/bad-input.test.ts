// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: bad input ends in one clear line that names the thing, with a stable exit code, and changes nothing on disk.
 * Method: real processes over a folder that `ctxmesh init` made, whose every byte is compared before and after.
 */
import { readFile, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { LIMITS } from "@ctxmesh/model";
import { tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { initMesh, run, startDaemon, stateOf } from "./processes.ts";
import type { Daemon } from "./processes.ts";

let dir: TempDir;
let other: TempDir;
let agent: Daemon;

const at = (name: string): string => join(dir.path, name);

/** The bundle's text with one character of the seal's signature changed. */
function otherSignature(bundle: string): string {
  const place = bundle.indexOf(String.raw`sig\":\"`) + 20;
  return `${bundle.slice(0, place)}${bundle[place] === "A" ? "B" : "A"}${bundle.slice(place + 1)}`;
}

/** A sealed bundle, an agent at work on the store of agent-1, and files that are bad in one way each. */
beforeAll(async () => {
  [dir, other] = await Promise.all([tempDir(), tempDir()]);
  await Promise.all([initMesh(dir.path, 2), initMesh(other.path, 1)]);
  const hub = await startDaemon(dir.path, "hub", "hub.yaml");
  await run(dir.path, "seal", "--out", "bundle.json");
  await hub.end("SIGTERM");
  agent = await startDaemon(dir.path, "agent", "agent-1.yaml");
  const config = await readFile(at("agent-2.yaml"), "utf8");
  const bundle = await readFile(at("bundle.json"));
  await Promise.all([
    writeFile(at("unknown-key.yaml"), `sokket: a.sock\n${config}`),
    writeFile(at("no-yaml.yaml"), "space: [\n"),
    writeFile(at("bad-address.yaml"), config.replace("/ip4/", "/ip9/")),
    writeFile(at("locked-store.yaml"), config.replace("agent-2/store", "agent-1/store")),
    writeFile(at("bad-key.yaml"), config.replace("agent-2/device.jwk", "bad.jwk")),
    writeFile(at("bad.jwk"), (await readFile(at("agent-2/device.jwk"), "utf8")).slice(0, 60)),
    writeFile(at("other-key.yaml"), config.replace("agent-2/device.jwk", "hub/snapshot.jwk")),
    writeFile(at("no-space.yaml"), config.replace("space.json", "nowhere.json")),
    writeFile(at("bad-space.yaml"), config.replace("space.json", "root.json")),
    writeFile(at("other-root.json"), await readFile(join(other.path, "root.json"))),
    writeFile(at("truncated.json"), bundle.subarray(0, bundle.length / 2)),
    writeFile(at("no-bundle.json"), "{}"),
    writeFile(at("oversized.json"), bundle),
    writeFile(at("tampered.json"), otherSignature(bundle.toString())),
  ]);
  await truncate(at("oversized.json"), LIMITS.bundleBytes + 1);
});

afterAll(async () => {
  await agent[Symbol.asyncDispose]();
  await Promise.all([dir.remove(), other.remove()]);
});

type Case = readonly [what: string, exit: number, command: string, says: RegExp];

/** Each line says what is wrong, with the file's name, and has a remedy. */
const COMMANDS: readonly Case[] = [
  [
    "an unknown key",
    3,
    "agent unknown-key.yaml",
    /unknown-key\.yaml:1:1: unknown key "sokket"; did you mean "socket"\?/u,
  ],
  ["no YAML", 3, "agent no-yaml.yaml", /no-yaml\.yaml:\d+:\d+: /u],
  [
    "a malformed address",
    3,
    "agent bad-address.yaml",
    /bad-address\.yaml:\d+:\d+: mesh\.listen\[0\] must be /u,
  ],
  ["a configuration that is not there", 3, "agent nowhere.yaml", /nowhere\.yaml/u],
  [
    "a locked store",
    4,
    "agent locked-store.yaml",
    /agent-1\/store is open in another process; stop /u,
  ],
  ["a corrupt key file", 3, "agent bad-key.yaml", /bad\.jwk/u],
  ["a key of another kind", 3, "agent other-key.yaml", /hub\/snapshot\.jwk: .*Ed25519/u],
  ["a space file that is not there", 3, "agent no-space.yaml", /nowhere\.json.*; check the path/u],
  ["a space file that is none", 3, "agent bad-space.yaml", /root\.json: .*space file/u],
  ["a daemon that does not run", 4, "get d k --socket agent-2/agent.sock", /agent-2\/agent\.sock/u],
  ["a command that does not exist", 3, "verfy bundle.json", /verfy.*did you mean verify\?/u],
  ["no trust root", 3, "verify bundle.json", /trust root\?; give --trust/u],
  ["a bad document name", 3, "put ../up key 1 --socket agent-1/agent.sock", /document/u],
  [
    "a seal by an agent",
    3,
    "seal --socket agent-1/agent.sock",
    /only a hub .*; use the socket of a hub/u,
  ],
];

describe("a command with bad input", () => {
  test.each(COMMANDS)("%s: exit %i, one line, nothing changed", async (_, exit, command, says) => {
    const before = await stateOf(dir.path);
    const outcome = await run(dir.path, ...command.split(" "));
    expect(outcome.stderr).toMatch(/^ctxmesh: [^\n]+\n$/u);
    expect(outcome.stderr).toMatch(says);
    expect(outcome.exit).toBe(exit);
    expect(await stateOf(dir.path)).toEqual(before);
  });

  test("a busy port: exit 4 at agent and hub, one line with a remedy, and no socket left", async () => {
    for (const [kind, config] of [
      ["agent", "agent-2.yaml"],
      ["hub", "hub.yaml"],
    ] as const) {
      const settings = (await readFile(at(config), "utf8")).replaceAll(/^ *#.*$/gmu, "");
      const port = /(?:tcp\/|port: |127\.0\.0\.1:)(\d+)/u.exec(settings)?.[1];
      // The agent at work dials both ports.
      const server = createServer((socket) => socket.destroy());
      await new Promise<void>((resolve) => {
        server.listen({ host: "127.0.0.1", port: Number(port) }, resolve);
      });
      const outcome = await run(dir.path, kind, config);
      await new Promise((resolve) => server.close(resolve));
      expect(outcome.stderr).toMatch(/^ctxmesh: [^\n]+\n$/u);
      expect(outcome.stderr).toContain(port);
      expect(outcome.stderr).toContain("; ");
      expect(outcome.exit).toBe(4);
      expect(
        (await stateOf(dir.path)).filter((line) => /(?:agent-2|hub)\/\S+\.sock/u.test(line)),
      ).toEqual([]);
    }
  });
});

/** `verify` answers with a verdict on stdout, whatever is wrong. */
const VERDICTS: readonly Case[] = [
  [
    "a wrong trust root",
    2,
    "verify bundle.json --root other-root.json",
    /trust root does not name space/u,
  ],
  ["a truncated bundle", 3, "verify truncated.json --root root.json", /bundle/u],
  [
    "an oversized bundle",
    3,
    "verify oversized.json --root root.json",
    /oversized\.json has 268435457 bytes; at most 268435456/u,
  ],
  [
    "a bundle that is not there",
    3,
    "verify nowhere.json --root root.json",
    /nowhere\.json does not exist/u,
  ],
  [
    "a trust root that is not there",
    3,
    "verify bundle.json --root nowhere.json",
    /nowhere\.json does not exist/u,
  ],
  ["a folder for a bundle", 3, "verify agent-1 --root root.json", /agent-1 is not a regular file/u],
  ["something else for a bundle", 3, "verify no-bundle.json --root root.json", /bundle/u],
  ["a bundle for a trust root", 3, "verify bundle.json --root bundle.json", /trust root/u],
  [
    "a signature that is not the sealer's",
    1,
    "verify tampered.json --root root.json",
    /signature/u,
  ],
];

describe("verify", () => {
  test.each(VERDICTS)(
    "%s: exit %i, a verdict that says why, nothing changed",
    async (_, exit, command, says) => {
      const before = await stateOf(dir.path);
      const outcome = await run(dir.path, ...command.split(" "));
      expect(outcome.stdout).toMatch(says);
      expect(outcome.stderr).toBe("");
      expect(outcome.exit).toBe(exit);
      expect(await stateOf(dir.path)).toEqual(before);
    },
  );

  test("says yes to the bundle itself", async () => {
    const outcome = await run(dir.path, "verify", "bundle.json", "--root", "root.json");
    expect([outcome.exit, outcome.stderr]).toEqual([0, ""]);
  });
});

test("the agent at work beside all of this took no notice", async () => {
  const put = await run(dir.path, "put", "d", "k", "1", "--socket", "agent-1/agent.sock");
  expect([put.exit, put.stderr]).toEqual([0, ""]);
  expect(await agent.end("SIGTERM")).toBe(0);
});
