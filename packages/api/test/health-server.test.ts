// SPDX-License-Identifier: Apache-2.0
import { connect } from "node:net";
import { silentLogger, waitFor } from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createHealthServer } from "../src/index.ts";
import type { HealthServer } from "../src/index.ts";
import { rawRequest } from "./raw.ts";

let ready: boolean;
let server: HealthServer;
let port: number;

beforeEach(async () => {
  ready = false;
  server = createHealthServer({ ready: () => ready, logger: silentLogger });
  ({ port } = await server.listen("127.0.0.1", 0));
});

afterEach(() => server.close());

test("it is alive from the start, and ready when it says so", async () => {
  const host = "127.0.0.1";
  expect((await rawRequest({ host, port, path: "/livez" })).status).toBe(200);
  expect((await rawRequest({ host, port, path: "/readyz" })).status).toBe(503);
  ready = true;
  expect((await rawRequest({ host, port, path: "/readyz" })).status).toBe(200);
  expect((await rawRequest({ host, port, path: "/v1/status" })).status).toBe(404);
});

test("the start is over once, whatever becomes of readiness", async () => {
  const host = "127.0.0.1";
  let started = false;
  const own = createHealthServer({
    ready: () => false,
    started: () => started,
    logger: silentLogger,
  });
  const bound = await own.listen(host, 0);
  const startup = { host, port: bound.port, path: "/startupz" };
  expect((await rawRequest(startup)).status).toBe(503);
  started = true;
  expect((await rawRequest(startup)).status).toBe(200);
  expect((await rawRequest({ ...startup, path: "/readyz" })).status).toBe(503);
  await own.close();
});

test("a process whose event loop is a second late is not alive, and is again when it has caught up", async () => {
  const path = "/livez";
  const host = "127.0.0.1";
  const blocked = rawRequest({ host, port, path });
  // The request is on its way, and is read after this.
  const until = performance.now() + 1_600;
  while (performance.now() < until);
  expect((await blocked).status).toBe(503);
  await waitFor(async () => (await rawRequest({ host, port, path })).status === 200, {
    timeoutMs: 10_000,
    what: "life",
  });
});

test("metrics are those of the process until there is a node", async () => {
  const { status, text } = await rawRequest({ host: "127.0.0.1", port, path: "/metrics" });
  expect(status).toBe(200);
  expect(text).toMatch(/^process_resident_memory_bytes [1-9]\d+$/mu);
  expect(text).toMatch(/^ctxmesh_event_loop_lag_seconds [0-9.e-]+$/mu);
  expect(text).not.toContain("ctxmesh_batches");
});

test("a busy port is named with a remedy", async () => {
  const second = createHealthServer({ ready: () => true, logger: silentLogger });
  await expect(second.listen("127.0.0.1", port)).rejects.toMatchObject({
    code: "ADDRESS_UNAVAILABLE",
    message: `can't listen on 127.0.0.1:${String(port)}: EADDRINUSE`,
    remedy: expect.any(String) as string,
  });
  await second.close();
});

test("an upgrade goes to the listener of the node server", async () => {
  server.server.on("upgrade", (_request, socket) => {
    socket.end("HTTP/1.1 101 Switching Protocols\r\n\r\nhello");
  });
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect(port, "127.0.0.1");
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  socket.on("end", () => resolve(text));
  socket.write(
    "GET /v1/sync HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
  );
  expect(await promise).toMatch(/hello$/u);
});
