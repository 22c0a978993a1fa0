// SPDX-License-Identifier: Apache-2.0
/** Goal: streams are bounded in number, however they end, and what many are told is made once. Method: the limit itself, and a real server past it. */
import { once } from "node:events";
import { request } from "node:http";
import type { IncomingMessage } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { ChangeEvent, EventService } from "@ctxmesh/model";
import { silentLogger, tempDir, waitFor } from "@ctxmesh/testing";
import { createStreamAcceptor } from "@ctxmesh/transport-ws";
import { expect, test } from "vitest";
import { createControlServer } from "../src/index.ts";
import { Readers, changeText } from "../src/readers.ts";
import { RecordingService, rawRequest } from "./raw.ts";

test("past the limit nobody comes in until somebody leaves, who leaves once", () => {
  const readers = new Readers();
  const leaves = Array.from({ length: LIMITS.streamReaders }, () => readers.enter());
  expect(() => readers.enter()).toThrow(expect.objectContaining({ code: "LIMIT_EXCEEDED" }));
  leaves[0]?.();
  leaves[0]?.();
  readers.enter();
  expect(() => readers.enter()).toThrow(expect.objectContaining({ code: "LIMIT_EXCEEDED" }));
});

test("a change is made a text of once, for all", () => {
  let made = 0;
  const event = { doc: "a", key: "k", origin: "local", toJSON: () => ++made };
  const texts = [1, 2, 3].map(() => changeText(event as unknown as ChangeEvent));
  expect([texts, made]).toEqual([["1", "1", "1"], 1]);
});

test("streams that were refused, or have ended, in whichever way, take no place", async () => {
  await using stack = new AsyncDisposableStack();
  const dir = await tempDir();
  stack.defer(() => dir.remove());
  const events: EventService = {
    // oxlint-disable-next-line require-yield -- it refuses
    async *events() {
      throw new MeshError("INPUT_INVALID", "no position");
    },
  };
  const service = new RecordingService();
  const acceptSocket = createStreamAcceptor();
  const settings = { service, events, acceptSocket, version: "1", logger: silentLogger };
  const server = createControlServer(settings);
  const socketPath = join(dir.path, "api.sock");
  await server.listenUnix(socketPath);
  stack.defer(() => server.close());
  const watch = async (): Promise<IncomingMessage> => {
    const outgoing = request({ socketPath, path: "/v1/watch", agent: false }).end();
    const [response] = (await once(outgoing, "response")) as [IncomingMessage];
    return response;
  };
  /** An upgrade request that comes to nothing. */
  const fail = async (): Promise<void> => {
    const socket = connect(socketPath);
    socket.end(
      "GET /v1/watch HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    socket.resume();
    await once(socket, "close");
  };
  const refuse = async (path: string): Promise<void> => {
    expect((await rawRequest({ socketPath, path })).status).toBe(400);
  };
  // So many that the system holds for a server that has yet to accept them.
  const AT_ONCE = 64;
  for (let n = 0; n < LIMITS.streamReaders / 2; n += AT_ONCE) {
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        await refuse("/v1/watch?doc=bad%20doc");
        await refuse("/v1/events?follow=1");
        await fail();
        (await watch()).destroy();
      }),
    );
  }
  await waitFor(() => service.listeners.size === 0, { timeoutMs: 5_000, what: "all to end" });
  const open: IncomingMessage[] = [];
  while (open.length < LIMITS.streamReaders) {
    open.push(...(await Promise.all(Array.from({ length: AT_ONCE }, watch))));
  }
  expect(open.every(({ statusCode }) => statusCode === 200)).toBe(true);
  const { statusCode } = await watch();
  expect(statusCode).toBe(413);
  for (const response of open) response.destroy();
});
