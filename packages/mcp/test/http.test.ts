// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: on loopback TCP whoever bears the token is served as over stdio, and nobody else is heard.
 * Method: `ctxmesh mcp --http` as a process, real clients, and raw requests.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFile, stat, writeFile } from "node:fs/promises";
import { request } from "node:http";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { connect } from "@ctxmesh/sdk";
import { createRecordingLogger, silentLogger, tempDir, waitFor } from "@ctxmesh/testing";
// oxlint-disable-next-line import/extensions -- the export paths of the library end in .js
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serveHttp } from "../src/index.ts";
import { McpClient, TestMesh, command, environment } from "./support.ts";

const stack = new AsyncDisposableStack();
let child: ChildProcess;
let url: URL;
let token: string;
let tokenFile: string;
let socket: string;

beforeAll(async () => {
  const dir = await tempDir();
  stack.defer(() => dir.remove());
  const mesh = await TestMesh.found(stack, 1);
  ({ socket } = await mesh.start(0));
  tokenFile = join(dir.path, "mcp.token");
  child = spawn(process.execPath, command(socket, "--http", "0", "--token-file", tokenFile), {
    env: environment,
  });
  stack.defer(async () => {
    if (child.exitCode !== null) return;
    const exit = once(child, "close");
    child.kill("SIGKILL");
    await exit;
  });
  let log = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (log += text));
  const listening = (): string | undefined => /"url":"([^"]+)"/u.exec(log)?.[1];
  await waitFor(() => listening() !== undefined || child.exitCode !== null, {
    timeoutMs: 15_000,
    what: "the server to listen",
  });
  url = new URL(listening() ?? "");
  token = (await readFile(tokenFile, "utf8")).trim();
});

afterAll(() => stack.disposeAsync());

const authorized = (to: URL = url, bearer: string = token): Promise<McpClient> =>
  McpClient.connect(
    new StreamableHTTPClientTransport(to, {
      requestInit: { headers: { authorization: `Bearer ${bearer}` } },
    }),
  );

const INITIALIZE = {
  jsonrpc: "2.0",
  id: 1,
  method: "initialize",
  params: {
    protocolVersion: "2025-06-18",
    capabilities: {},
    clientInfo: { name: "raw", version: "1" },
  },
};

/** The status and body of a raw request. */
async function send(
  headers: Readonly<Record<string, string>>,
  {
    path = "/mcp",
    method = "POST",
    body = JSON.stringify(INITIALIZE),
  }: { path?: string; method?: string; body?: string } = {},
): Promise<{ readonly status: number | undefined; readonly body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{
    status: number | undefined;
    body: string;
  }>();
  const outgoing = request(
    {
      host: url.hostname,
      port: url.port,
      path,
      method,
      headers: {
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        authorization: `Bearer ${token}`,
        ...headers,
      },
    },
    (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      response.on("end", () => {
        resolve({ status: response.statusCode, body: text });
      });
    },
  );
  outgoing.on("error", reject).end(body);
  return promise;
}

test("the token is made for this user alone, and clients with it share one memory and hear of each other", async () => {
  expect((await stat(tokenFile)).mode & 0o777).toBe(0o600);
  expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/u);
  await using first = await authorized();
  await using second = await authorized(new URL(`http://localhost:${url.port}/mcp`));
  await second.client.subscribeResource({ uri: "memory://knowledge-graph" });
  await first.ask("create_entities", {
    entities: [{ name: "a", entityType: "b", observations: ["c"] }],
  });
  expect(await second.ask("open_nodes", { names: ["a"] })).toMatchObject({
    entities: [{ name: "a" }],
  });
  await waitFor(() => second.updated.length > 0, { timeoutMs: 15_000, what: "the notification" });
});

test.for([
  ["no token", { authorization: "" }, 401],
  ["another token", { authorization: "Bearer abcdefghijklmnopqrstuvwxyz" }, 401],
  ["the token under another scheme", { authorization: "Basic x" }, 401],
  ["a name that was made to point here", { host: "evil.example" }, 403],
  ["a page of another site", { origin: "https://evil.example" }, 403],
  ["a page of nowhere", { origin: "null" }, 403],
  ["a session that is not there", { "mcp-session-id": "0".repeat(36) }, 404],
] as const)("%s is turned away", async ([, headers, status]) => {
  const answer = await send(headers);
  expect(answer.status).toBe(status);
  expect(JSON.parse(answer.body)).toMatchObject({ error: { message: expect.any(String) } });
});

test("other paths, methods, bodies that are no JSON and bodies without end are refused, and the server goes on", async () => {
  expect(await send({}, { path: "/other" })).toMatchObject({ status: 404 });
  expect(await send({}, { method: "PUT" })).toMatchObject({ status: 405 });
  expect(await send({}, { body: "{" })).toMatchObject({ status: 400 });
  expect(
    await send({}, { body: JSON.stringify({ ...INITIALIZE, method: "tools/list" }) }),
  ).toMatchObject({ status: 400 });
  expect(await send({}, { body: `"${"x".repeat(9_000_000)}"` })).toMatchObject({ status: 413 });
  expect(await send({})).toMatchObject({ status: 200 });
});

test("past so many sessions the one used longest ago is ended", async () => {
  const client = connect({ socketPath: socket });
  const server = await serveHttp(
    { client, document: "memory", version: "0.0.0", explain: () => "", logger: silentLogger },
    { port: 0, token: "t".repeat(16) },
  );
  try {
    const to = new URL(server.url);
    const clients: McpClient[] = [];
    for (let i = 0; i < 65; i++) clients.push(await authorized(to, "t".repeat(16)));
    const [first, second] = clients;
    await expect(first?.ask("read_graph")).rejects.toThrow(/Session not found/u);
    expect(await second?.ask("read_graph")).toMatchObject({ relations: [] });
    await Promise.all(clients.map(async (one) => one[Symbol.asyncDispose]()));
  } finally {
    await server.close();
    client.close();
  }
});

test("a client that reads nothing of an answer is cut", async () => {
  const client = connect({ socketPath: socket });
  const logger = createRecordingLogger();
  const value = "x".repeat(60_000);
  for (const doc of ["large/1", "large/2"]) {
    for (let key = 0; key < 60; key += 3) {
      const facts = [0, 1, 2].map((n) => ({ key: String(key + n), value }));
      await client.put(doc, facts);
    }
  }
  const server = await serveHttp(
    { client, document: "memory", version: "0.0.0", explain: () => "", logger },
    { port: 0, token, stallMs: 100 },
  );
  try {
    const to = new URL(server.url);
    await using other = await authorized(to);
    const transport = new StreamableHTTPClientTransport(to, {
      requestInit: { headers: { authorization: `Bearer ${token}` } },
    });
    await using _ = await McpClient.connect(transport);
    const params = { name: "search", arguments: { prefix: "", limit: 1_000 } };
    const body = JSON.stringify({ jsonrpc: "2.0", id: 9, method: "tools/call", params });
    const answered = once(
      request(to, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          accept: "application/json, text/event-stream",
          authorization: `Bearer ${token}`,
          "mcp-session-id": transport.sessionId ?? "",
        },
      }).end(body),
      "response",
    );
    const [response] = (await answered) as [IncomingMessage];
    // Nothing of it is read until then.
    await waitFor(() => logger.entries.some(({ event }) => event === "mcp.reader-stalled"), {
      timeoutMs: 15_000,
      what: "the cut",
    });
    const rest = (async () => {
      for await (const part of response) expect(part).toBeDefined();
    })();
    await expect(rest).rejects.toThrow("aborted");
    expect(await other.ask("get", { doc: "large/1", key: "0" })).toMatchObject({ found: true });
  } finally {
    await server.close();
    client.close();
  }
});

/** Exit code and log of a command that comes to an end by itself. */
async function end(...args: readonly string[]): Promise<string> {
  const ended = spawn(process.execPath, command(socket, ...args), { env: environment });
  let log = "";
  ended.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  const code = await new Promise((resolve) => ended.once("close", resolve));
  return `${String(code)} ${log}`;
}

test("a token file that holds no token, and a port without a token file, are said before anything listens", async () => {
  const bad = `${tokenFile}.bad`;
  await writeFile(bad, "short\n");
  expect(await end("--http", "0", "--token-file", bad)).toMatch(/^3 .*holds no token/u);
  expect(await end("--http", "0")).toMatch(/^3 .*--http needs a token/u);
  expect(await end("--http", url.port, "--token-file", tokenFile)).toMatch(/^4 .*EADDRINUSE/u);
});

test("the server ends on a signal, and its sessions with it", async () => {
  await using client = await authorized();
  expect(await client.ask("open_nodes", { names: [] })).toEqual({ entities: [], relations: [] });
  const exit = new Promise((resolve) => child.once("close", resolve));
  child.kill("SIGTERM");
  expect(await exit).toBe(0);
});
