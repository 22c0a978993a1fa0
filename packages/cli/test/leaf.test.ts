// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what `ctxmesh leaf add` prints is all that a device needs to get in, once it has a grant, and lets nobody else in.
 * Method: the real command, a real agent, and connections over its listener with what was printed.
 */
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import type { LinkClientOptions } from "@ctxmesh/transport-tcp";
import { connectLink } from "@ctxmesh/transport-tcp";
import { EXIT, fromHex, parseSpaceId, toHex } from "@ctxmesh/model";
import { encodeMessage } from "@ctxmesh/sync";
import { systemRandom } from "@ctxmesh/service";
import { tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseConfig } from "../src/config/load.ts";
import { leavesOf, parseHostPort, readLeafSecret } from "../src/leaf-links.ts";
import { Daemon } from "./daemon-process.ts";
import { run } from "./run.ts";
import type { RunResult } from "./run.ts";

const device = createDeviceSigner(new Uint8Array(32).fill(77));
const DEVICE = toHex(device.publicKey);

let dir: TempDir;
let mesh: string;
let agent: Daemon;
const ctxmesh = (...args: readonly string[]): Promise<RunResult> => run(args, { cwd: mesh });

beforeAll(async () => {
  dir = await tempDir();
  mesh = join(dir.path, "mesh");
  await run(["init", mesh, "--agents", "1", "--ports", "auto"]);
  const file = join(mesh, "agent-1.yaml");
  const leaves = "leaves: { listen: 127.0.0.1:0, secretFile: leaf.secret }\n";
  await writeFile(file, `${await readFile(file, "utf8")}${leaves}`);
  agent = new Daemon(mesh, "agent", "agent-1.yaml");
  await agent.ready();
}, 30_000);

afterAll(async () => {
  await agent.stop();
  await dir.remove();
});

/** Where the agent says that it listens. */
function portOf(): number {
  const ready = agent.log.find(({ event }) => event === "agent.ready");
  const [address = ""] = (ready?.["leaves"] ?? []) as readonly string[];
  return Number(new URL(address).port);
}

/** What connects with the configuration of a leaf. */
function optionsOf(text: string): LinkClientOptions {
  const lines = new Map(
    text
      .trim()
      .split("\n")
      .map((line) => line.split(" ") as [string, string]),
  );
  const at = parseHostPort(lines.get("address") ?? "", "address");
  return {
    ...at,
    device,
    space: parseSpaceId(lines.get("space") ?? ""),
    parent: lines.get("device") ?? "",
    psk: fromHex(lines.get("psk") ?? ""),
    verifier: createDeviceVerifier(),
    random: systemRandom,
  };
}

test("a leaf gets in with what was printed for it, once it has a grant, and is among the peers then", async () => {
  const address = `127.0.0.1:${String(portOf())}`;
  const args = ["--config", "agent-1.yaml", "--address", address];
  const added = await ctxmesh("leaf", "add", DEVICE, ...args);
  expect(added).toMatchObject({ code: EXIT.ok });
  expect(added.stdout).toMatch(
    new RegExp(
      `^space [0-9a-f]{64}\ndevice [0-9a-f]{64}\naddress ${address}\npsk [0-9a-f]{64}\n$`,
      "u",
    ),
  );
  expect(added.stderr).toMatch(/has no grant.*ctxmesh space grant/u);
  const { mode } = await stat(join(mesh, "leaf.secret"));
  expect(mode & 0o777).toBe(0o600);
  const options = optionsOf(added.stdout);
  await expect(connectLink(options)).rejects.toMatchObject({ code: "UNREACHABLE" });

  const grant = [
    "--role",
    "write",
    "--key",
    "creator/creator.jwk",
    "--socket",
    "agent-1/agent.sock",
  ];
  expect(await ctxmesh("space", "grant", DEVICE, ...grant)).toMatchObject({ code: EXIT.ok });
  expect(await ctxmesh("leaf", "add", DEVICE, ...args)).toEqual({ ...added, stderr: "" });
  const channel = await connectLink(options);
  expect(channel.remote.device).toBe(options.parent);
  const nothing = new Uint8Array(16);
  const hello = { type: "hello", space: options.space, digest: nothing, records: nothing } as const;
  await channel.send(encodeMessage(hello));
  const isListed = new RegExp(`leaf ${DEVICE.slice(0, 8)}`, "u");
  await waitFor(
    async () => isListed.test((await ctxmesh("status", "--socket", "agent-1/agent.sock")).stdout),
    { timeoutMs: 20_000, what: "the leaf among the peers" },
  );
  await channel.close();
  await expect(connectLink({ ...options, psk: new Uint8Array(32) })).rejects.toMatchObject({
    code: "AUTH_FAILED",
  });

  const json = await ctxmesh("leaf", "add", DEVICE.toUpperCase(), ...args, "--json");
  expect(JSON.parse(json.stdout)).toMatchObject({
    leaf: DEVICE,
    space: options.space,
    device: options.parent,
    address,
    psk: toHex(options.psk),
  });
}, 30_000);

test("a key, or an address, that is none is refused with what to do", async () => {
  const wrong = [
    [["3fa9c21b"], "INPUT_INVALID"],
    [[DEVICE], "USAGE"],
    [[DEVICE, "--address", "192.0.2.7"], "CONFIG_INVALID"],
  ] as const;
  const results = wrong.map(async ([args, code]) => {
    const result = await ctxmesh("leaf", "add", ...args, "--config", "agent-1.yaml", "--json");
    expect([result.code, result.stdout]).toEqual([EXIT.input, ""]);
    const remedy = expect.stringMatching(/./u) as unknown;
    expect(JSON.parse(result.stderr)).toMatchObject({ error: { code, remedy } });
  });
  await Promise.all(results);
}, 30_000);

test("an agent that listens for no leaves has none to add", async () => {
  const file = join(mesh, "agent-1.yaml");
  await writeFile(
    join(mesh, "plain.yaml"),
    (await readFile(file, "utf8")).replace(/^leaves.*$/mu, ""),
  );
  const { code, stderr } = await ctxmesh("leaf", "add", DEVICE, "--config", "plain.yaml");
  expect(code).toBe(EXIT.input);
  expect(stderr).toMatch(/plain\.yaml has no leaves.*secretFile/u);
});

describe("the configuration", () => {
  const MINIMAL = "space: space.json\nkey: k.jwk\nstore: store\nsocket: a.sock\n";
  const configOf = (listen: string): ReturnType<typeof parseConfig<"agent">> =>
    parseConfig(
      "agent",
      `${MINIMAL}leaves: { listen: "${listen}", secretFile: s }\n`,
      join(dir.path, "a.yaml"),
    );

  test("says nothing of leaves unless it does", async () => {
    expect(await leavesOf(parseConfig("agent", MINIMAL, "a.yaml"))).toEqual({});
  });

  test.each([
    ["0.0.0.0:7420", "0.0.0.0", 7_420],
    ["[2001:db8::7]:1", "2001:db8::7", 1],
    ["gateway.local:0", "gateway.local", 0],
  ])("listens on %s", async (listen, host, port) => {
    const { leaves } = await leavesOf(configOf(listen));
    expect(leaves).toMatchObject({ host, port });
    expect(leaves?.secret).toHaveLength(32);
  });

  test.each(["7420", "0.0.0.0", ":7420", "::7420", "a b:1", "127.0.0.1:123456"])(
    "does not listen on %s",
    (listen) => {
      expect(() => configOf(listen)).toThrow(/leaves\.listen must be an address with a port/u);
    },
  );

  test("a port that there is not is refused, too", async () => {
    await expect(leavesOf(configOf("127.0.0.1:65536"))).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
  });

  test("a secret is made once, and one that is none is refused", async () => {
    const path = join(dir.path, "made.secret");
    const made = await readLeafSecret(path);
    expect(await readLeafSecret(path)).toEqual(made);
    for (const wrong of ["", "ab", "g".repeat(64), "A".repeat(64)]) {
      await writeFile(path, wrong);
      await expect(readLeafSecret(path)).rejects.toMatchObject({ code: "KEY_INVALID" });
    }
    await expect(readLeafSecret(join(dir.path, "none", "s"))).rejects.toMatchObject({
      code: "FILE_UNAVAILABLE",
    });
  });
});
