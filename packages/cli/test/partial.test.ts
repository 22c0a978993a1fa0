// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: an agent that keeps a part says so, lists and proves what it leaves out, fetches it when it is told to, and by itself once it is
 * started with a wider subscription. Method: a hub and two agents, driven by the command line alone.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { decodeCbor, decodeHeader, headerSigningInput } from "@ctxmesh/codec";
import { createDeviceVerifier } from "@ctxmesh/crypto";
import { EXIT, fromHex } from "@ctxmesh/model";
import type { FetchReport, OmissionReport } from "@ctxmesh/model";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";
import { tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Daemon } from "./daemon-process.ts";
import { run } from "./run.ts";
import type { RunResult } from "./run.ts";

let dir: TempDir;
const daemons: Daemon[] = [];

const at = (node: string, ...args: readonly string[]): Promise<RunResult> =>
  run([...args, "--socket", `${node}/${node === "hub" ? "hub" : "agent"}.sock`], { cwd: dir.path });

async function json<T>(node: string, ...args: readonly string[]): Promise<T> {
  const { stdout, stderr } = await at(node, ...args, "--json");
  expect(stderr).toBe("");
  return JSON.parse(stdout) as T;
}

async function start(kind: "agent" | "hub", config: string, ...options: string[]): Promise<Daemon> {
  const daemon = new Daemon(dir.path, kind, config, options);
  daemons.push(daemon);
  await daemon.ready();
  return daemon;
}

const clientOf = (node: string): ContextClient =>
  connect({
    socketPath: join(dir.path, node, node === "hub" ? "hub.sock" : "agent.sock"),
  });

const keysIn = async (node: string, doc: string): Promise<readonly string[]> =>
  (await clientOf(node).list({ doc })).map(({ key }) => key);

const equalFrontiers = async (): Promise<void> =>
  waitFor(
    async () => {
      const [one, two] = await Promise.all(
        ["hub", "agent-2"].map(async (node) => clientOf(node).status()),
      );
      return one?.frontier === two?.frontier && one?.chains === 1;
    },
    { timeoutMs: 20_000, what: "the agent to know of everything" },
  );

beforeAll(async () => {
  dir = await tempDir();
  await run(["init", dir.path, "--agents", "2", "--ports", "auto"]);
  for (const name of ["agent-1", "agent-2"]) {
    const path = join(dir.path, `${name}.yaml`);
    const text = await readFile(path, "utf8");
    await writeFile(path, text.replace(/^sources:\n(?: .*\n)*/mu, ""));
  }
  await start("hub", "hub.yaml");
  await start("agent", "agent-1.yaml");
}, 60_000);

afterAll(async () => {
  await Promise.all(daemons.map(async (daemon) => daemon.stop()));
  await dir.remove();
});

test("an agent keeps what it subscribes to, says what it leaves out, and fetches it", async () => {
  const wrong = await run(["agent", "agent-2.yaml", "--subscribe", "docs:a"], { cwd: dir.path });
  expect(wrong).toMatchObject({ code: EXIT.input });
  const partial = await start("agent", "agent-2.yaml", "--subscribe", "doc:line-1/");
  for (const [doc, key] of [
    ["line-1/a", "one"],
    ["line-2/b", "two"],
    ["line-2/b", "three"],
    ["line-3/c", "four"],
  ] as const) {
    await clientOf("agent-1").put(doc, { key, value: 1 }, { ack: "hub" });
  }
  await equalFrontiers();
  expect(await keysIn("agent-2", "line-1/a")).toEqual(["one"]);
  expect(await keysIn("agent-2", "line-2/b")).toEqual([]);

  expect((await clientOf("agent-2").status()).partial).toMatchObject({
    subscription: ["doc:line-1/"],
    documents: 2,
    sections: 3,
    expired: 0,
  });
  const shown = (await at("agent-2", "status", "--digest")).stdout;
  expect(shown).toMatch(/partial +keeps doc:line-1\/; left out: 3 sections of 2 documents/u);
  expect(shown).toMatch(/digest +[0-9a-f]{64} \(of the part that is here/u);

  const all = await json<OmissionReport>("agent-2", "missing");
  expect(all.documents.map(({ doc, sections }) => [doc, sections])).toEqual([
    ["line-2/b", 2],
    ["line-3/c", 1],
  ]);
  const proven = await at("agent-2", "missing", "line-2/b", "--proof", "missing.json");
  expect(proven).toMatchObject({ code: EXIT.ok, stderr: "" });
  const { headers } = JSON.parse(await readFile(join(dir.path, "missing.json"), "utf8")) as {
    readonly headers: readonly string[];
  };
  expect(headers).toHaveLength(2);
  for (const text of headers) {
    const [bytes, signature] = decodeCbor(Buffer.from(text, "base64"), 10_000, "proof") as [
      Uint8Array,
      Uint8Array,
    ];
    const { replica, sections } = decodeHeader(bytes);
    expect(sections).toMatchObject([{ doc: "line-2/b" }]);
    const verifier = createDeviceVerifier();
    expect(verifier.verify(fromHex(replica), headerSigningInput(bytes), signature)).toBe(true);
  }

  const some = await json<FetchReport>("agent-2", "fetch", "line-2/b", "--key", "thr*");
  expect(some).toMatchObject({ filled: 1, unwanted: 1, unavailable: 0 });
  expect(await keysIn("agent-2", "line-2/b")).toEqual(["three"]);
  const rest = await at("agent-2", "fetch", "line-2/b");
  expect(rest).toMatchObject({ code: EXIT.ok, stderr: "" });
  expect(rest.stdout).toMatch(/^fetched 1 section of line-2\/b/u);
  expect(await keysIn("agent-2", "line-2/b")).toEqual(["three", "two"]);

  // Wanting everything again, it gets what is left by itself.
  await partial.stop();
  await start("agent", "agent-2.yaml");
  await waitFor(async () => (await keysIn("agent-2", "line-3/c")).length === 1, {
    timeoutMs: 90_000,
    what: "what was left out to be fetched",
  });
  const [one, two] = await Promise.all(
    ["hub", "agent-2"].map(async (node) => clientOf(node).status({ digest: true })),
  );
  expect(two?.digest).toBe(one?.digest);
  expect(two?.partial).toBeUndefined();
}, 120_000);
