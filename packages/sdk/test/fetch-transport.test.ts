// SPDX-License-Identifier: Apache-2.0
/** The client over a port: what it does there is what it does over the socket. */
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { waitFor } from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createFetchTransport } from "../src/fetch-transport.ts";
import { connect } from "../src/index.ts";
import type { ContextClient } from "../src/index.ts";
import { startMemoryNode } from "./memory-node.ts";
import type { MemoryNode } from "./memory-node.ts";

const TOKEN = "a-token-of-the-test-with-32-characters";

let node: MemoryNode;
let client: ContextClient;
let url: string;

beforeEach(async () => {
  node = await startMemoryNode();
  url = await node.listen(TOKEN);
  client = connect({ url, token: TOKEN });
});

afterEach(async () => {
  client.close();
  await node[Symbol.asyncDispose]();
});

test("facts, bytes and the node's errors are those of the socket", async () => {
  await client.put("d", { key: "k", value: { text: "é" } });
  const socket = connect({ socketPath: node.socketPath });
  expect(await client.get("d", "k")).toEqual(await socket.get("d", "k"));
  socket.close();
  expect(await client.spaceFile()).toBe(node.service.spaceFile());
  await client.seal();
  expect(Buffer.from(await client.bundle())).toEqual(node.bundle);
  await expect(client.list({ limit: 10_001 })).rejects.toMatchObject({
    code: "INPUT_INVALID",
    field: "limit",
  });
  expect(await client.get("d", "none")).toBeUndefined();
  await client.addActs([Uint8Array.of(0, 255, 7)]);
  expect(node.service.acts).toEqual([Uint8Array.of(0, 255, 7)]);
});

test("a watch tells changes, and ends at the node when it is left", async () => {
  const watch = client.watch({ doc: "d" });
  await watch.ready;
  await client.put("d", { key: "k", value: 7 });
  for await (const { fact } of watch) {
    expect(fact?.value).toBe(7);
    break;
  }
  await waitFor(() => node.service.watching === 0, { timeoutMs: 5_000, what: "the end" });
  const controller = new AbortController();
  const other = client.watch({}, { signal: controller.signal });
  await other.ready;
  controller.abort();
  for await (const event of other) expect(event).toBeUndefined();
});

test("without the token nothing is answered, and the error says why", async () => {
  for (const token of [undefined, "another"]) {
    const stranger = connect({ url, ...(token === undefined ? {} : { token }) });
    await expect(stranger.status()).rejects.toMatchObject({ code: "AUTH_FAILED" });
    stranger.close();
  }
});

test("a port where nobody listens is UNREACHABLE, a silent one ABORTED, and a bad URL refused", async () => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => sockets.push(socket));
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const { port } = silent.address() as AddressInfo;
  const place = `http://127.0.0.1:${String(port)}`;
  const impatient = connect({ url: place, timeoutMs: 20 });
  await expect(impatient.status()).rejects.toMatchObject({ code: "ABORTED" });
  impatient.close();
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => silent.close(resolve));
  await expect(connect({ url: place, retries: 1 }).status()).rejects.toMatchObject({
    code: "UNREACHABLE",
    message: expect.stringContaining("ECONNREFUSED") as string,
  });
  for (const bad of ["", "agent.sock", "ftp://x", "http://"]) {
    expect(() => connect({ url: bad })).toThrow(/no URL of a node/u);
  }
});

test("a call is ended by its signal, and by closing the client", async () => {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  node.service.acknowledgement = promise;
  const controller = new AbortController();
  const off = client.put("d", { key: "k", value: 1 }, { signal: controller.signal });
  const ended = expect(off).rejects.toMatchObject({ code: "ABORTED" });
  await waitFor(() => node.service.options.length === 1, { timeoutMs: 5_000, what: "the write" });
  controller.abort();
  await ended;
  const open = expect(client.put("d", { key: "k", value: 2 })).rejects.toMatchObject({
    code: "CLOSED",
  });
  await waitFor(() => node.service.options.length === 2, { timeoutMs: 5_000, what: "the write" });
  client.close();
  await open;
  resolve(undefined);
});

const timers = (): number =>
  process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;

test("a reader that takes longer than the node may be silent gets all that it said, and a response that nobody reads keeps no timer", async () => {
  const PARTS = 40;
  let written = 0;
  const server = createHttpServer((_request, response) => {
    const timer = setInterval(() => {
      response.write(`${String(written++)}\n`);
      if (written < PARTS) return;
      clearInterval(timer);
      response.end();
    }, 10);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const transport = createFetchTransport({ url: `http://127.0.0.1:${String(port)}` });
  const request = { method: "GET", target: "/", headers: {}, body: undefined } as const;
  const response = await transport.send({ ...request, signal: undefined, timeoutMs: 200 });
  let text = "";
  for await (const part of response) {
    text += new TextDecoder().decode(part);
    await waitFor(() => written === PARTS, { timeoutMs: 10_000, what: "the end of the response" });
  }
  expect(text.trim().split("\n")).toHaveLength(PARTS);
  written = 0;
  await transport.send({ ...request, signal: undefined, timeoutMs: 600_000 });
  await waitFor(() => written === PARTS, { timeoutMs: 10_000, what: "the end of the response" });
  const before = timers();
  await transport.send({ ...request, signal: undefined, timeoutMs: 600_000 });
  expect(timers()).toBe(before);
  transport.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});
