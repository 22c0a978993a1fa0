// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the examples under "Five lines" of README.md do what they say, as they are written.
 * Method: a mesh as `ctxmesh init` makes it, a hub and an agent in processes of their own, and each block in a process with the mesh's folder as its own.
 */
import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { readFileSync } from "node:fs";
import { symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client";
// oxlint-disable-next-line import/extensions -- the export paths of the library end in .js
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";
import { tempDir, waitFor } from "@ctxmesh/testing";
import { afterAll, beforeAll, expect, test } from "vitest";

const CTXMESH = resolve("packages/cli/bin/ctxmesh.js");

/** The blocks of the section, by language. */
function blocksOf(language: string): readonly string[] {
  const [, section = ""] = readFileSync("README.md", "utf8").split("\n## Five lines\n");
  const [text = ""] = section.split("\n## ");
  return [...text.matchAll(/```(\w+)\n([^]*?)```/gu)]
    .filter(([, name]) => name === language)
    .map(([, , block = ""]) => block);
}

const stack = new AsyncDisposableStack();
let folder: string;
let client: ContextClient;

/** A process in the mesh's folder, which is ended with the tests at the latest. */
function start(command: string, ...args: readonly string[]): ChildProcessWithoutNullStreams {
  const child = spawn(command, args, {
    cwd: folder,
    env: { PATH: process.env["PATH"], NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"] },
  });
  const closed = new Promise((done) => child.once("close", done));
  stack.defer(async () => {
    child.kill("SIGTERM");
    await closed;
  });
  return child;
}

/** What a process has said until now, and its exit code once it has ended. */
interface Said {
  text: string;
  errors: string;
  code?: number | null;
}

function listen(child: ChildProcessWithoutNullStreams): Said {
  const said: Said = { text: "", errors: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said.text += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said.errors += text));
  child.once("close", (code) => (said.code = code));
  return said;
}

const ended = (said: Said): Promise<void> =>
  waitFor(() => said.code !== undefined, { timeoutMs: 20_000, what: "the example to end" });

async function runTs(name: string, source: string): Promise<Said> {
  await writeFile(join(folder, `${name}.ts`), source);
  return listen(start(process.execPath, "--conditions=@ctxmesh/source", `${name}.ts`));
}

beforeAll(async () => {
  const dir = await tempDir();
  stack.defer(() => dir.remove());
  folder = dir.path;
  const init = listen(
    start(process.execPath, CTXMESH, "init", "mesh", "--agents", "1", "--ports", "auto"),
  );
  await ended(init);
  if (init.code !== 0) throw new Error(`ctxmesh init: ${init.errors}`);
  folder = join(dir.path, "mesh");
  await symlink(resolve("node_modules"), join(folder, "node_modules"));
  await writeFile(join(folder, "package.json"), '{ "type": "module" }');
  for (const daemon of ["hub", "agent"]) {
    listen(
      start(process.execPath, CTXMESH, daemon, daemon === "hub" ? "hub.yaml" : "agent-1.yaml"),
    );
  }
  client = connect({ socketPath: join(folder, "agent-1/agent.sock"), retries: 0 });
  stack.defer(() => {
    client.close();
  });
  await waitFor(async () => (await client.status().catch(() => undefined))?.peers.length === 1, {
    timeoutMs: 30_000,
    what: "the agent to have its hub",
  });
}, 60_000);

afterAll(() => stack.disposeAsync());

test("the SDK writes, waits for the hub, reads and watches", async () => {
  const said = await runTs("sdk", blocksOf("ts")[0] ?? "");
  await waitFor(() => said.text.includes("confidence: 0.9") || said.code !== undefined, {
    timeoutMs: 20_000,
    what: "the fact that was read",
  });
  expect(said).toMatchObject({ errors: "" });
  expect(said.text).toContain("value: 71.5");
  // The watch begins after that; it is told of one of these.
  let value = 0;
  await waitFor(
    async () => {
      await client.put("line-2/press-7", { key: "news", value: ++value });
      return /^news \d+$/mu.test(said.text);
    },
    { timeoutMs: 20_000, what: "a change" },
  );
});

test("curl writes and reads", async () => {
  const said = listen(start("sh", "-e", "-c", blocksOf("sh")[0] ?? ""));
  await ended(said);
  expect(said).toMatchObject({ code: 0, errors: "" });
  expect(said.text).toContain('"acknowledged":"local"');
  expect(said.text).toContain('"key":"pressure","value":9.7');
});

test("LangGraph's store keeps and finds items", async () => {
  const said = await runTs("langgraph", blocksOf("ts")[1] ?? "");
  await ended(said);
  expect(said).toMatchObject({ code: 0, errors: "" });
  expect(said.text).toContain("theme: 'dark'");
  expect(await client.get("langgraph", "users/ada/settings")).toMatchObject({
    value: { theme: "dark" },
  });
});

test("an MCP client that is configured so remembers", async () => {
  const configured = JSON.parse(blocksOf("json")[0] ?? "") as {
    readonly mcpServers: { readonly memory: { readonly command: string; readonly args: string[] } };
  };
  const mcp = new Client({ name: "reader", version: "1.0.0" });
  stack.defer(() => mcp.close());
  await mcp.connect(new StdioClientTransport({ ...configured.mcpServers.memory, cwd: folder }));
  const entities = [{ name: "Ada", entityType: "person", observations: ["likes dark themes"] }];
  await mcp.callTool({ name: "create_entities", arguments: { entities } });
  const { structuredContent } = await mcp.callTool({ name: "read_graph", arguments: {} });
  expect(structuredContent).toEqual({ entities, relations: [] });
});
