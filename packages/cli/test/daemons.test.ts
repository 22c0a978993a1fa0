// SPDX-License-Identifier: Apache-2.0
/** Agent and hub as processes, driven by the command line alone. */
import { copyFile, cp, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { platform } from "node:process";
import { createInterface } from "node:readline";
import { EXIT } from "@ctxmesh/model";
import { tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Daemon } from "./daemon-process.ts";
import { run, start } from "./run.ts";
import type { RunResult } from "./run.ts";

let dir: TempDir;
let mesh: string;
let hub: Daemon;
let agent: Daemon;

const ctxmesh = (...args: readonly string[]): Promise<RunResult> => run(args, { cwd: mesh });

beforeAll(async () => {
  dir = await tempDir();
  mesh = join(dir.path, "mesh");
  await run(["init", mesh, "--agents", "1", "--ports", "auto"]);
  hub = new Daemon(mesh, "hub", "hub.yaml");
  await hub.ready();
  agent = new Daemon(mesh, "agent", "agent-1.yaml", ["--small"]);
  await agent.ready();
});

afterAll(async () => {
  await Promise.all([agent.stop(), hub.stop()]);
  await dir.remove();
});

test("ready is a log line with the addresses, and stdout has log lines only", async () => {
  const line = await agent.ready();
  expect(line).toMatchObject({ level: "info", event: "agent.ready", service: "agent" });
  expect(line["addresses"]).toEqual([
    expect.stringMatching(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+\/p2p\//u),
  ]);
  for (const entry of [...hub.log, ...agent.log]) {
    expect(Date.parse(String(entry["time"]))).toBeGreaterThan(0);
    expect(entry.event).toMatch(/^[a-z][a-z0-9.-]+$/u);
  }
});

test.runIf(platform === "linux")(
  "an agent that is to be small is the same process, with other flags of Node",
  async () => {
    const about = `/proc/${String(agent.process.pid)}`;
    const args = (await readFile(`${about}/cmdline`, "latin1")).split("\0");
    expect(args).toContain("--max-semi-space-size=1");
    expect(args.filter((arg) => arg === "--small")).toHaveLength(1);
    const environment = (await readFile(`${about}/environ`, "latin1")).split("\0");
    expect(environment).toContain("UV_THREADPOOL_SIZE=2");
  },
);

async function engineOf(socket: string): Promise<unknown> {
  const { stdout } = await ctxmesh("status", "--json", "--socket", socket);
  return (JSON.parse(stdout) as { factEngine?: unknown }).factEngine;
}

test("an agent keeps large documents in WebAssembly, and its hub in JavaScript", async () => {
  expect([await engineOf("agent-1/agent.sock"), await engineOf("hub/hub.sock")]).toEqual([
    "wasm",
    "js",
  ]);
});

describe("facts", () => {
  test("put, get, ls and get --all tell the same", async () => {
    const put = await ctxmesh(
      "put",
      "line-2/press-7",
      "temperature",
      "-71.5",
      "--confidence",
      "0.9",
      "--source",
      "thermo-1",
      "--tag",
      "a",
      "--tag",
      "b",
    );
    expect(put).toEqual({ code: EXIT.ok, stdout: "wrote 1 (local)\n", stderr: "" });
    expect(await ctxmesh("get", "line-2/press-7", "temperature")).toEqual({
      code: EXIT.ok,
      stdout: "-71.5\n",
      stderr: "",
    });
    const json = await ctxmesh("get", "line-2/press-7", "temperature", "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({
      value: -71.5,
      confidence: 0.9,
      source: { model: "thermo-1" },
      tags: ["a", "b"],
      contested: false,
    });
    const all = await ctxmesh("get", "line-2/press-7", "temperature", "--all");
    expect(all.stdout).toMatch(
      /^line-2\/press-7 temperature: 1 statement, resolver latest\n.*\n-> +-71\.5 +0\.9 +[0-9a-f]{8} +thermo-1 .* shown\nlatest: the only statement that counts is shown\n$/u,
    );
    const listed = await ctxmesh("ls", "line-2/press-7", "--json");
    expect(
      listed.stdout
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as { key: string }).key),
    ).toEqual(["temperature"]);
  });

  test("a missing fact is exit code 1", async () => {
    const { code, stderr } = await ctxmesh("get", "line-2/press-7", "nothing");
    expect(code).toBe(EXIT.failed);
    expect(stderr).toBe(
      'ctxmesh: line-2/press-7 has no fact "nothing"; ctxmesh ls line-2/press-7 lists what there is\n',
    );
  });

  test("what the node refuses is exit code 3 with its reason", async () => {
    const { code, stderr } = await ctxmesh("put", "bad doc", "k", "1");
    expect(code).toBe(EXIT.input);
    expect(stderr).toMatch(/^ctxmesh: malformed document name.*\n$/u);
  });

  test("lines of stdin are written, more than one write's worth", async () => {
    const input = Array.from(
      { length: 2_500 },
      (_, i) => `{"key":"k${String(i)}","value":${String(i)}}\n`,
    ).join("");
    const { code, stdout } = await run(["put", "bulk", "-", "--json"], { cwd: mesh, input });
    expect(code).toBe(EXIT.ok);
    expect(JSON.parse(stdout)).toMatchObject({ facts: 2_500 });
    const listed = await ctxmesh("ls", "bulk", "--json");
    expect(listed.stdout.trim().split("\n")).toHaveLength(2_500);
  });

  test("a bad line of stdin is named, with what was written before", async () => {
    const { code, stderr } = await run(["put", "bulk", "-"], {
      cwd: mesh,
      input: '{"key":"a","value":1}\n\nnot json\n',
    });
    expect(code).toBe(EXIT.input);
    expect(stderr).toMatch(/^ctxmesh: stdin:3: not a JSON object.*0 facts were written before/u);
  });

  test("a hub does not write", async () => {
    const { code, stderr } = await ctxmesh("put", "a", "k", "1", "--socket", "hub/hub.sock");
    expect(code).toBe(EXIT.policy);
    expect(stderr).toMatch(/^ctxmesh: a hub does not write facts; .+\n$/u);
  });

  test("watch prints changes as they come, and an interrupt ends it well", async () => {
    const watching = start(["watch", "news", "--json"], { cwd: mesh });
    const lines: string[] = [];
    createInterface({ input: watching.stdout }).on("line", (line) => lines.push(line));
    const closed = new Promise((resolve) => watching.on("close", resolve));
    let value = 0;
    await waitFor(
      async () => {
        await ctxmesh("put", "news", "k", String(++value));
        return lines.length > 0;
      },
      { timeoutMs: 20_000, what: "a change" },
    );
    watching.kill("SIGINT");
    expect(await closed).toBe(EXIT.ok);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ doc: "news", key: "k", origin: "local" });
  });
});

describe("seal and verify", () => {
  test("a bundle of the hub holds a fact of the agent, and one changed byte is refused", async () => {
    await ctxmesh("put", "sealed", "secret-value", '"needle"');
    await waitFor(
      async () =>
        (await ctxmesh("get", "sealed", "secret-value", "--socket", "hub/hub.sock")).code ===
        EXIT.ok,
      { timeoutMs: 20_000, what: "the fact at the hub" },
    );
    const sealed = await ctxmesh("seal", "--out", "bundle.json", "--json");
    expect(JSON.parse(sealed.stdout)).toMatchObject({ sequence: 1, out: "bundle.json" });
    const good = await ctxmesh("verify", "bundle.json", "--root", "root.json");
    expect(good).toMatchObject({ code: EXIT.ok, stderr: "" });
    const text = await readFile(join(mesh, "bundle.json"), "utf8");
    expect(text).toContain("needle");
    await writeFile(join(mesh, "changed.json"), text.replace("needle", "needlf"));
    const bad = await ctxmesh("verify", "changed.json", "--trust", "root.json", "--json");
    expect(bad.code).toBe(EXIT.failed);
    expect(JSON.parse(bad.stdout)).toMatchObject({ valid: false, exitCode: 1 });
    expect((await ctxmesh("verify", "none.json", "--root", "root.json")).code).toBe(EXIT.input);
  });

  test("a decision is classical alone, and hybrid with the proof of its fact; what was read can be proven, too", async () => {
    await ctxmesh("put", "press", "temperature", "92");
    const made = await ctxmesh(
      "decide",
      '{"action":"stop"}',
      "--model=advisor@1.2",
      "--input=press:temperature",
      "--check=below limit=fail:92 > 90",
      "--out=decision.json",
      "--json",
    );
    const { doc, key, id } = JSON.parse(made.stdout) as Record<string, string>;
    await waitFor(
      async () =>
        (await ctxmesh("get", doc ?? "", key ?? "", "--socket", "hub/hub.sock")).code === EXIT.ok,
      { timeoutMs: 20_000, what: "the decision at the hub" },
    );
    const alone = await ctxmesh("verify", "decision.json", "--trust", "root.json", "--json");
    expect(JSON.parse(alone.stdout)).toMatchObject({
      exitCode: 2,
      failed: { step: "decision-signer" },
    });
    await ctxmesh("seal", "--out", "decided.json", "--batches");
    expect(
      (await ctxmesh("prove", "--decision", "decision.json", "--bundle", "decided.json")).code,
    ).toBe(EXIT.ok);
    const proven = await ctxmesh("verify", "decision.json", "--trust", "root.json", "--json");
    expect(JSON.parse(proven.stdout)).toMatchObject({
      valid: true,
      decisions: [
        { id, strength: "hybrid by snapshot seal", record: { output: { action: "stop" } } },
      ],
    });
    const fact = await ctxmesh(
      "prove",
      "press",
      "temperature",
      "--socket",
      "hub/hub.sock",
      "-o",
      "t.proof",
    );
    expect(fact).toMatchObject({ code: EXIT.ok, stderr: "" });
    const shown = await ctxmesh("verify", "t.proof", "--trust", "root.json");
    expect(shown.stdout).toContain("press temperature = 92, by replica");
    // With batches every fact is derived again from what its replica signed.
    const derived = await ctxmesh("verify", "decided.json", "--trust", "root.json", "--json");
    const { replicas, steps } = JSON.parse(derived.stdout) as {
      readonly replicas: readonly { readonly facts: number }[];
      readonly steps: readonly { readonly name: string; readonly detail: string }[];
    };
    expect(replicas.some(({ facts }) => facts > 0)).toBe(true);
    expect(steps.find(({ name }) => name === "batches")?.detail).toMatch(
      /^\d+ facts as their replicas signed them/u,
    );
    const diff = await ctxmesh(
      "diff",
      "bundle.json",
      "decided.json",
      "--trust",
      "root.json",
      "--json",
    );
    const { keys } = JSON.parse(diff.stdout) as { readonly keys: readonly unknown[] };
    expect(keys).toContainEqual(
      expect.objectContaining({ doc: "press", key: "temperature", change: "added" }),
    );
  });

  test("only a hub seals", async () => {
    const { code, stderr } = await ctxmesh("seal", "--socket", "agent-1/agent.sock");
    expect(code).toBe(EXIT.input);
    expect(stderr).toMatch(/^ctxmesh: .*only a hub makes seals; use the socket of a hub\n$/u);
  });

  test("a bundle that can't be saved is one line, and leaves no part of a file", async () => {
    const { code, stderr } = await ctxmesh("seal", "--out", "nowhere/bundle.json");
    expect(code).toBe(EXIT.input);
    expect(stderr).toMatch(/^ctxmesh: can't write nowhere\/bundle\.json: ENOENT; .+\n$/u);
  });
});

test("status shows both nodes and their connection", async () => {
  const { stdout } = await ctxmesh("status", "--digest", "--json");
  expect(JSON.parse(stdout)).toMatchObject({ service: "agent", ready: true, spaceName: "mesh" });
  const text = (await ctxmesh("status", "--socket", "hub/hub.sock")).stdout;
  expect(text).toMatch(/^hub +ready, up /u);
  expect(text).toMatch(/^peer +agent /mu);
});

/** The agent's configuration with one change, in a file of its own. */
async function variant(name: string, change: (yaml: string) => string): Promise<string> {
  const yaml = await readFile(join(mesh, "agent-1.yaml"), "utf8");
  await writeFile(join(mesh, name), change(yaml.replace(/listen:\n.*\n/u, "listen: []\n")));
  return name;
}

const startFailure = async (config: string): Promise<RunResult> => ctxmesh("agent", config);

describe("starts that fail end with one line", () => {
  test("a store that is open elsewhere", async () => {
    const config = await variant("locked.yaml", (yaml) => yaml.replace("agent.sock", "other.sock"));
    const { code, stdout, stderr } = await startFailure(config);
    expect({ code, stdout }).toEqual({ code: EXIT.unavailable, stdout: "" });
    expect(stderr).toMatch(/^ctxmesh: .*agent-1\/store.*\n$/u);
  });

  test("a socket that another daemon serves", async () => {
    const config = await variant("socket.yaml", (yaml) => yaml.replace("agent-1/store", "store-2"));
    const { code, stderr } = await startFailure(config);
    expect(code).toBe(EXIT.unavailable);
    expect(stderr).toMatch(/^ctxmesh: another process serves .*agent\.sock; .+\n$/u);
    expect((await ctxmesh("status")).code).toBe(EXIT.ok);
  });

  test("a key file that holds something else, which is not quoted", async () => {
    await writeFile(join(mesh, "broken.jwk"), '{"kty":"OKP","d":"TOPSECRET"');
    const config = await variant("key.yaml", (yaml) =>
      yaml.replace("agent-1/device.jwk", "broken.jwk"),
    );
    const { code, stderr } = await startFailure(config);
    expect(code).toBe(EXIT.input);
    expect(stderr).toMatch(/^ctxmesh: .*broken\.jwk: key file is not JSON\n$/u);
    expect(stderr).not.toContain("TOPSECRET");
  });

  test("a key of another kind", async () => {
    await copyFile(join(mesh, "hub/snapshot.jwk"), join(mesh, "snapshot.jwk"));
    const config = await variant("kind.yaml", (yaml) =>
      yaml.replace("agent-1/device.jwk", "snapshot.jwk"),
    );
    const { code, stderr } = await startFailure(config);
    expect(code).toBe(EXIT.input);
    expect(stderr).toMatch(
      /snapshot\.jwk: is a key for ML-DSA-65-Ed25519; Ed25519 is needed here/u,
    );
  });

  test("a space file with one changed character", async () => {
    const space = await readFile(join(mesh, "space.json"), "utf8");
    await writeFile(
      join(mesh, "space-2.json"),
      space.replace(/"genesis": "(.{20})./u, '"genesis": "$1!'),
    );
    const config = await variant("space.yaml", (yaml) =>
      yaml.replace("space.json", "space-2.json"),
    );
    const { code, stderr } = await startFailure(config);
    expect(code).toBe(EXIT.input);
    expect(stderr).toMatch(/^ctxmesh: .*space-2\.json: .+\n$/u);
    await expect(stat(join(mesh, "space-2"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("a CSV source without its file", async () => {
    const config = await variant("csv.yaml", (yaml) =>
      yaml.replace("sources:\n", "sources:\n  - type: csv\n    path: none.csv\n"),
    );
    const { code, stderr } = await startFailure(config);
    expect(code).toBe(EXIT.input);
    expect(stderr).toMatch(/^ctxmesh: can't read the CSV file .*none\.csv: ENOENT; .+\n$/u);
  });

  test("a hub whose port is busy", async () => {
    await cp(join(mesh, "hub.yaml"), join(mesh, "hub-2.yaml"));
    const yaml = await readFile(join(mesh, "hub.yaml"), "utf8");
    await writeFile(
      join(mesh, "hub-2.yaml"),
      yaml.replace("hub/store", "hub-2-store").replace("hub/hub.sock", "hub-2.sock"),
    );
    const { code, stderr } = await ctxmesh("hub", "hub-2.yaml");
    expect(code).toBe(EXIT.unavailable);
    expect(stderr).toMatch(/^ctxmesh: can't listen on 127\.0\.0\.1:\d+: EADDRINUSE; .+\n$/u);
  });
});

test("SIGTERM drains: exit code 0, no socket left, what was written is there after a restart", async () => {
  await ctxmesh("put", "kept", "k", "1");
  expect(await agent.stop()).toBe(EXIT.ok);
  expect(agent.log.at(-1)).toMatchObject({ event: "daemon.stopped" });
  await expect(stat(join(mesh, "agent-1/agent.sock"))).rejects.toMatchObject({ code: "ENOENT" });
  const { code, stderr } = await ctxmesh("status");
  expect(code).toBe(EXIT.unavailable);
  expect(stderr).toBe(
    "ctxmesh: no daemon serves agent-1/agent.sock; start it: ctxmesh agent agent-1.yaml\n",
  );
  agent = new Daemon(mesh, "agent", "agent-1.yaml");
  await agent.ready();
  expect((await ctxmesh("get", "kept", "k")).stdout).toBe("1\n");
});

test("a daemon that was killed is followed by one that starts all the same", async () => {
  agent.process.kill("SIGKILL");
  await agent.exit;
  agent = new Daemon(mesh, "agent", "agent-1.yaml");
  await agent.ready();
  expect((await ctxmesh("status")).code).toBe(EXIT.ok);
});
