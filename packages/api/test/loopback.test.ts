// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: on TCP only who bears the token gets in, from this machine, and no page of another site, whatever name was made to point here; the same for
 * WebSockets, whose readers cost a bounded amount.
 * Method: the real server and real sockets; the service only remembers.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { ChangeEvent, EventService } from "@ctxmesh/model";
import { silentLogger, tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { createStreamAcceptor } from "@ctxmesh/transport-ws";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createControlServer } from "../src/index.ts";
import type { ControlServer } from "../src/index.ts";
import { RecordingService, rawRequest } from "./raw.ts";
import type { RawResponse } from "./raw.ts";

const TOKEN = "a-token.of_64~chars";
const PAGE = "http://localhost:5173";

type Item = Awaited<ReturnType<ReturnType<EventService["events"]>["next"]>>["value"];

/** Tells what it is given, and then waits until it is called off. */
class SomeEvents implements EventService {
  parts: readonly Item[] = [];
  asked: unknown[] = [];

  async *events(
    ...[query, options]: Parameters<EventService["events"]>
  ): ReturnType<EventService["events"]> {
    this.asked.push(query, options?.follow);
    for (const part of this.parts) if (part !== undefined) yield part;
    if (options?.follow !== true) return;
    const { promise, reject } = Promise.withResolvers<never>();
    options.signal?.addEventListener("abort", () => reject(options.signal?.reason));
    await promise;
  }
}

let dir: TempDir;
let service: RecordingService;
let events: SomeEvents;
let server: ControlServer;
let port: number;

beforeEach(async () => {
  dir = await tempDir();
  service = new RecordingService();
  events = new SomeEvents();
  const acceptSocket = createStreamAcceptor();
  server = createControlServer({
    service,
    events,
    acceptSocket,
    version: "1",
    logger: silentLogger,
  });
  await server.listenUnix(join(dir.path, "s.sock"));
  const where = { host: "127.0.0.1", port: 0, token: TOKEN, origins: [PAGE] };
  ({ port } = await server.listenLoopback(where));
});
afterEach(async () => {
  await server.close();
  await dir.remove();
});

const ask = async (
  headers: Record<string, string>,
  path = "/v1/fact?doc=a&key=known",
  method = "GET",
): Promise<RawResponse> => rawRequest({ host: "127.0.0.1", port, path, method, headers });
const BEARER = { authorization: `Bearer ${TOKEN}` };

describe("TCP", () => {
  test("who bears the token gets what the Unix socket answers", async () => {
    const answer = await ask(BEARER);
    const { text } = await rawRequest({
      socketPath: join(dir.path, "s.sock"),
      path: "/v1/fact?doc=a&key=known",
    });
    expect([answer.status, answer.text]).toEqual([200, text]);
    expect((await ask({ authorization: `bearer  ${TOKEN} ` })).status).toBe(200);
  });

  test.each([
    ["no token", {}],
    ["a wrong one", { authorization: "Bearer a-token.of_64~charz" }],
    ["the beginning of it", { authorization: "Bearer a-token" }],
    ["another scheme", { authorization: `Basic ${TOKEN}` }],
    ["nothing behind the scheme", { authorization: "Bearer" }],
    ["the token in another header", { cookie: `token=${TOKEN}` }],
    ["the token in an offered protocol that is none", { "sec-websocket-protocol": `x.${TOKEN}` }],
  ])("%s: 401, and the service is not asked", async (_, headers) => {
    const answer = await ask(headers);
    expect([answer.status, answer.headers["www-authenticate"]]).toEqual([401, "Bearer"]);
    expect(answer.headers["content-type"]).toBe("application/problem+json");
    expect(JSON.parse(answer.text)).toMatchObject({ code: "AUTH_FAILED", field: "Authorization" });
    expect(answer.text).not.toContain(TOKEN);
  });

  test("a token in the URL is none", async () => {
    expect((await ask({}, `/v1/status?token=${TOKEN}`)).status).toBe(401);
  });

  test.each([
    "evil.example",
    "evil.example:80",
    "127.0.0.1.evil.example",
    "0.0.0.0",
    "localhost.",
    "[::2]",
    "a b",
    "192.168.0.1",
  ])("the host %s is another machine, whoever asks", async (host) => {
    const answer = await ask({ ...BEARER, host });
    expect(JSON.parse(answer.text)).toMatchObject({ status: 403, field: "Host" });
  });

  test.each(["127.0.0.1", "localhost", "[::1]", "127.0.0.2:1"])(
    "the host %s is this one",
    async (host) => {
      expect((await ask({ ...BEARER, host })).status).toBe(200);
    },
  );

  test("a page of another site is refused, even with the token; one that is admitted may read and write", async () => {
    for (const origin of ["https://evil.example", "null", `${PAGE}0`, "http://localhost"]) {
      const answer = await ask({ ...BEARER, origin });
      expect(JSON.parse(answer.text), origin).toMatchObject({ status: 403, field: "Origin" });
      expect(answer.headers["access-control-allow-origin"]).toBeUndefined();
    }
    const answer = await ask({ ...BEARER, origin: PAGE });
    expect(answer.status).toBe(200);
    expect(answer.headers["access-control-allow-origin"]).toBe(PAGE);
    expect(answer.headers["access-control-expose-headers"]).toBe("etag");
    // What is refused is readable for it, too.
    const refused = await ask({ origin: PAGE });
    expect([refused.status, refused.headers["access-control-allow-origin"]]).toEqual([401, PAGE]);
  });

  test("a preflight is answered without the token, for admitted pages alone", async () => {
    const asked = { "access-control-request-method": "POST" };
    const answer = await ask({ origin: PAGE, ...asked }, "/v1/facts", "OPTIONS");
    expect([answer.status, answer.text]).toEqual([204, ""]);
    expect(answer.headers["access-control-allow-headers"]).toContain("authorization");
    expect(answer.headers["access-control-allow-headers"]).toContain("idempotency-key");
    const other = await ask({ origin: "https://evil.example", ...asked }, "/v1/facts", "OPTIONS");
    expect(other.status).toBe(403);
    expect(service.puts).toEqual([]);
  });

  test.each(["0.0.0.0", "::", "192.168.0.1", "example.org", "127.0.0.1.nip.io", "1127.0.0.1"])(
    "there is no listening on %s",
    async (host) => {
      const where = { host, port: 0, token: TOKEN, origins: [] };
      await expect(server.listenLoopback(where)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    },
  );

  test("the stream of changes ends when the server does", async () => {
    const opened = Promise.withResolvers<string>();
    const socket = connect(port, "127.0.0.1", () => {
      socket.write(
        `GET /v1/watch HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`,
      );
    });
    let text = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      if (text.includes(": watching")) opened.resolve(text);
    });
    await opened.promise;
    const closed = once(socket, "close");
    await server.close();
    await closed;
    expect(text).toContain('"code":"CLOSED"');
  });
});

/** A WebSocket of the runtime, which is a browser's. */
async function open(
  path: string,
  protocols = ["ctxmesh.stream", `ctxmesh.token.${TOKEN}`],
): Promise<{
  readonly socket: WebSocket;
  readonly messages: unknown[];
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
}> {
  const socket = new WebSocket(`ws://127.0.0.1:${String(port)}${path}`, protocols);
  const messages: unknown[] = [];
  const { promise: closed, resolve } = Promise.withResolvers<{ code: number; reason: string }>();
  socket.addEventListener("message", ({ data }) => messages.push(JSON.parse(String(data))));
  socket.addEventListener("close", ({ code, reason }) => resolve({ code, reason }));
  await new Promise<void>((opened, failed) => {
    socket.addEventListener("open", () => opened());
    socket.addEventListener("error", () => failed(new Error("not opened")));
  });
  return { socket, messages, closed };
}

const change = (key: string): ChangeEvent => ({ doc: "a", key, origin: "local" });
const bound = (what: string): { timeoutMs: number; what: string } => ({ timeoutMs: 5_000, what });

describe("WebSockets", () => {
  test("changes come as JSON, one a message, until either end closes", async () => {
    const { socket, messages, closed } = await open("/v1/watch?doc=a");
    expect(socket.protocol).toBe("ctxmesh.stream");
    await waitFor(() => service.listeners.size === 1, bound("the watch"));
    service.emit(change("k"));
    service.emit(change("l"));
    await waitFor(() => messages.length === 2, bound("the changes"));
    expect(messages).toEqual([change("k"), change("l")]);
    socket.close();
    await closed;
    await waitFor(() => service.listeners.size === 0, bound("the end of the watch"));
  });

  test("events come as JSON with what was asked for, and 1000 when all is told", async () => {
    events.parts = [[{ rejudged: true }], [{ rejudged: true }, { rejudged: true }]];
    const { messages, closed } = await open("/v1/events?stream=1&doc=a&since=p1");
    expect(await closed).toEqual({ code: 1000, reason: "" });
    expect(messages).toEqual(events.parts.flat());
    expect(events.asked).toEqual([{ doc: "a", since: "p1" }, false]);
  });

  test("1012 when the server stops", async () => {
    const [watch, follow] = [await open("/v1/watch"), await open("/v1/events?follow=1")];
    await waitFor(() => service.listeners.size === 1, bound("the watch"));
    await server.close();
    expect(await watch.closed).toEqual({ code: 1012, reason: "CLOSED" });
    expect(await follow.closed).toEqual({ code: 1012, reason: "CLOSED" });
    expect(service.listeners.size).toBe(0);
  });

  test("a client that speaks is closed", async () => {
    const { socket, closed } = await open("/v1/watch");
    socket.send("hello");
    expect((await closed).code).toBe(1003);
  });

  test.each([
    ["/v1/watch", ["ctxmesh.stream"], 401],
    ["/v1/watch", ["ctxmesh.stream", "ctxmesh.token.wrong"], 401],
    ["/v1/watch?nonsense=1", undefined, 400],
    ["/v1/watch?doc=bad%20doc", undefined, 400],
    ["/v1/watch?doc=a&doc=b", undefined, 400],
    ["/v1/events", undefined, 400],
    ["/v1/facts", undefined, 404],
  ])("an upgrade of %s with %j is answered with a problem", async (path, protocols, status) => {
    await expect(open(path, protocols)).rejects.toThrow("not opened");
    const answer = await upgradeBy(path, protocols ?? [`ctxmesh.token.${TOKEN}`]);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${String(status)} `, "u"));
    expect(answer).toContain("application/problem+json");
    expect(service.listeners.size).toBe(0);
  });

  test("who is turned away and keeps its end open keeps nothing of the server's", async () => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    socket.write(upgradeText("/v1/watch", ["ctxmesh.token.wrong"]));
    socket.resume();
    await once(socket, "end");
    let isClosed = false;
    const closing = server.close().then(() => (isClosed = true));
    await waitFor(() => isClosed, bound("the server's end")).finally(() => socket.destroy());
    expect(await closing).toBe(true);
  });

  test("one that never reads is cut, and costs no more than its limit", async () => {
    const socket = connect(port, "127.0.0.1", () =>
      socket.write(upgradeText("/v1/watch", [`ctxmesh.token.${TOKEN}`])),
    );
    await once(socket, "readable");
    await waitFor(() => service.listeners.size === 1, bound("the watch"));
    const large = change("k".repeat(LIMITS.valueBytes));
    let sent = 0;
    for (; service.listeners.size > 0 && sent < 10_000; sent++) {
      service.emit(large);
      // Gives it the turns that a node's event loop has.
      await new Promise((turn) => setImmediate(turn));
    }
    expect(service.listeners.size).toBe(0);
    // What the system itself buffers comes on top.
    expect(sent * LIMITS.valueBytes).toBeLessThan(4 * LIMITS.channelBufferBytes);
    socket.resume();
    await once(socket, "close");
  });
});

const upgradeText = (path: string, protocols: readonly string[]): string =>
  [
    `GET ${path} HTTP/1.1`,
    "Host: localhost",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    `Sec-WebSocket-Protocol: ${protocols.join(", ")}`,
    "",
    "",
  ].join("\r\n");

/** All that is answered to an upgrade by hand. */
async function upgradeBy(path: string, protocols: readonly string[]): Promise<string> {
  const socket = connect(port, "127.0.0.1", () => socket.write(upgradeText(path, protocols)));
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  await once(socket, "close");
  return text;
}

test("what an event source fails with closes the WebSocket with its code", async () => {
  events.events = async function* () {
    yield [];
    throw new MeshError("HISTORY_PRUNED", "gone");
  };
  const { closed } = await open("/v1/events?follow=1");
  expect(await closed).toEqual({ code: 1011, reason: "HISTORY_PRUNED" });
});
