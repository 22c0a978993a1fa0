// SPDX-License-Identifier: Apache-2.0
import { request } from "node:http";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { LIMITS } from "@ctxmesh/model";
import type { ChangeEvent } from "@ctxmesh/model";
import { silentLogger, tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createControlServer } from "../src/index.ts";
import type { ControlServer } from "../src/index.ts";
import { RecordingService, rawRequest } from "./raw.ts";

let dir: TempDir;
let service: RecordingService;
let server: ControlServer;
let socketPath: string;

beforeEach(async () => {
  dir = await tempDir();
  socketPath = join(dir.path, "api.sock");
  service = new RecordingService();
  server = createControlServer({ service, version: "1.2.3", logger: silentLogger });
  await server.listenUnix(socketPath);
});

afterEach(async () => {
  await server.close();
  await dir.remove();
});

async function openWatch(): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  request({ socketPath, path: "/v1/watch", agent: false }, resolve).on("error", reject).end();
  return promise;
}

async function readAll(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response.setEncoding("utf8") as AsyncIterable<string>) text += chunk;
  return text;
}

const change = (key: string, value: string): ChangeEvent =>
  ({ doc: "a", key, origin: "local", fact: { value } }) as unknown as ChangeEvent;

const BOUND = { timeoutMs: 10_000, what: "the watch to end" };

test("changes come in order after a first comment", async () => {
  const response = await openWatch();
  expect(response.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
  service.emit(change("k1", "x"));
  service.emit(change("k2", "line\nbreak"));
  await server.close();
  const blocks = (await readAll(response)).split("\n\n");
  expect(blocks[0]).toBe(": watching");
  expect(blocks[1]).toBe(`event: change\ndata: ${JSON.stringify(change("k1", "x"))}`);
  expect(blocks[2]).toBe(`event: change\ndata: ${JSON.stringify(change("k2", "line\nbreak"))}`);
});

test("a server that closes tells its watchers so", async () => {
  const response = await openWatch();
  await server.close();
  expect(await readAll(response)).toMatch(/event: error\ndata: .*"code":"CLOSED"/u);
});

test("a reader that stands still is cut off with an error, and its watch is over", async () => {
  const response = await openWatch();
  response.pause();
  // More than the kernel's socket buffers take, so that events have to wait here.
  const value = "v".repeat(10_000);
  for (let i = 0; i < LIMITS.watchQueueEvents && service.listeners.size > 0; i++) {
    service.emit(change(`k${String(i)}`, value));
    if (i % 100 === 0) await new Promise(setImmediate);
  }
  await waitFor(() => service.listeners.size === 0, BOUND);
  const text = await readAll(response);
  expect(text.trimEnd().split("\n\n").at(-1)).toMatch(/^event: error\ndata: .*LIMIT_EXCEEDED/u);
});

test("a burst of one turn over the limit of events is cut off as well", async () => {
  const response = await openWatch();
  for (let i = 0; i <= LIMITS.watchQueueEvents; i++) service.emit(change("k", "v"));
  expect(service.listeners.size).toBe(0);
  expect(await readAll(response)).toMatch(/event: error\ndata: .*LIMIT_EXCEEDED/u);
});

test("a reader that goes away ends its watch", async () => {
  const response = await openWatch();
  expect(service.listeners.size).toBe(1);
  response.destroy();
  await waitFor(() => service.listeners.size === 0, BOUND);
});

test("a query that the service refuses gets a problem, not a stream", async () => {
  const response = await rawRequest({ socketPath, path: "/v1/watch?doc=bad%20doc" });
  expect(response.status).toBe(400);
  expect(response.headers["content-type"]).toBe("application/problem+json");
});
