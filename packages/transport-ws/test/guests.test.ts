// SPDX-License-Identifier: Apache-2.0
/** Goal: who bears a token gets a limited WebSocket on the port of the agents, and five seconds, from the first packet, to be admitted. */
import { once } from "node:events";
import { get } from "node:http";
import type { IncomingMessage } from "node:http";
import { LIMITS } from "@ctxmesh/model";
import type { Guest } from "@ctxmesh/model";
import type { GuestEndpoint } from "@ctxmesh/transport-ws";
import { afterEach, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { bytes, startHub, until } from "./parties.ts";
import type { Hub } from "./parties.ts";

interface Scene extends AsyncDisposable {
  readonly hub: Hub;
  readonly guests: Guest[];
}

async function open(changes: Partial<GuestEndpoint> = {}): Promise<Scene> {
  const guests: Guest[] = [];
  const hub = await startHub({
    guests: {
      prefix: "/yjs/",
      protocol: "ctxmesh.yjs",
      origins: [],
      welcome: (guest) => guests.push(guest),
      ...changes,
    },
  });
  return { hub, guests, [Symbol.asyncDispose]: () => hub[Symbol.asyncDispose]() };
}

interface Caller {
  readonly socket: WebSocket;
  readonly received: string[];
  closed: { code: number; reason: string } | undefined;
}

async function call(hub: Hub, path = "/yjs/a/b?x=y", protocols: string[] = []): Promise<Caller> {
  const socket = new WebSocket(hub.url + path, protocols, { perMessageDeflate: false });
  const caller: Caller = { socket, received: [], closed: undefined };
  socket.on("message", (data: Buffer) => caller.received.push(data.toString()));
  socket.on("error", () => undefined);
  socket.on("close", (code, reason) => {
    caller.closed = { code, reason: reason.toString() };
  });
  await once(socket, "open");
  return caller;
}

/** The answer to an upgrade request that is not followed. */
async function refusal(
  hub: Hub,
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ readonly response: IncomingMessage; readonly problem: unknown }> {
  const request = get(hub.url.replace("ws:", "http:") + path, {
    agent: false,
    headers: {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
      ...headers,
    },
  });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  response.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(response, "end");
  return { response, problem: JSON.parse(Buffer.concat(chunks).toString()) };
}

afterEach(() => void vi.useRealTimers());

test("a guest comes with all that it said, and is heard once it is admitted", async () => {
  await using scene = await open();
  const { hub, guests } = scene;
  const caller = await call(hub, "/yjs/a/b?x=y", ["ctxmesh.yjs", "other"]);
  expect(caller.socket.protocol).toBe("ctxmesh.yjs");
  caller.socket.send(bytes("early"));
  const [guest] = guests;
  expect(guest).toMatchObject({ target: "/yjs/a/b?x=y", protocols: ["ctxmesh.yjs", "other"] });
  expect(guest?.authorization).toBeUndefined();
  const heard: string[] = [];
  const reading = (async () => {
    for await (const message of guest?.socket.receive() ?? [])
      heard.push(new TextDecoder().decode(message));
  })();
  guest?.socket.send(bytes("one"));
  await until("the message", () => caller.received.length === 1);
  expect(heard).toEqual([]);
  guest?.admit();
  await until("the early message", () => heard.length === 1);
  caller.socket.close(1000, "done");
  await reading;
  expect(heard).toEqual(["early"]);
  expect(await guest?.socket.closed).toBe("done (code 1000)");
  guest?.socket.send(bytes("late"));
});

test("who is not admitted in time, whatever it sends, is closed with 4401; who is stays", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  await using scene = await open();
  const [idle, admitted] = [await call(scene.hub), await call(scene.hub)];
  scene.guests[1]?.admit();
  idle.socket.send(bytes("hello"));
  vi.advanceTimersByTime(LIMITS.handshakeMs);
  vi.useRealTimers();
  await until("the close", () => idle.closed !== undefined);
  expect(idle.closed).toEqual({ code: 4401, reason: "not authenticated after 5000 ms" });
  expect(admitted.closed).toBeUndefined();
  admitted.socket.terminate();
});

test("a text frame, and a message over the limit, end the connection", async () => {
  await using scene = await open();
  const [text, large] = [await call(scene.hub), await call(scene.hub)];
  for (const guest of scene.guests) guest.admit();
  text.socket.send("text");
  large.socket.send(new Uint8Array(LIMITS.syncMessageBytes + 1));
  await until("both closes", () => text.closed !== undefined && large.closed !== undefined);
  expect(text.closed).toEqual({ code: 1003, reason: "a message is a binary frame" });
  expect([1006, 1009]).toContain(large.closed?.code);
});

test("who is not read is held back, and goes on when it is", async () => {
  await using scene = await open();
  const [held, quick] = [await call(scene.hub), await call(scene.hub)];
  for (const guest of scene.guests) guest.admit();
  const part = new Uint8Array(LIMITS.syncMessageBytes / 2);
  const heard = [0, 0];
  const read = async (index: number): Promise<void> => {
    for await (const message of scene.guests[index]?.socket.receive() ?? [])
      heard[index] = (heard[index] ?? 0) + message.length;
  };
  const isHeard = (index: number) => (): boolean => heard[index] === 40 * part.length;
  for (const { socket } of [held, quick]) for (let i = 0; i < 40; i++) socket.send(part);
  const reading = [read(1)];
  // By then the other's would have come as well.
  await until("what is read", isHeard(1));
  expect(held.socket.bufferedAmount).toBeGreaterThan(part.length);
  reading.push(read(0));
  await until("the other", isHeard(0));
  for (const { socket } of scene.guests) void socket.close(1000, "done");
  await Promise.all(reading);
});

test("with too many that are not admitted the oldest has to go", async () => {
  await using scene = await open();
  const first = await call(scene.hub);
  const others = await Promise.all(Array.from({ length: 1_024 }, async () => call(scene.hub)));
  await until("the close", () => first.closed !== undefined);
  expect(first.closed).toEqual({ code: 4401, reason: "others are waiting" });
  expect(others.filter(({ closed }) => closed !== undefined)).toEqual([]);
  for (const { socket } of others) socket.terminate();
});

test("a page of another origin is turned away with 403, and one of the server's own host is not", async () => {
  await using scene = await open({ origins: ["https://listed.example"] });
  const { response, problem } = await refusal(scene.hub, "/yjs/a/b", {
    origin: "https://evil.example",
  });
  expect(response.headers["content-type"]).toBe("application/problem+json");
  expect(problem).toMatchObject({ status: 403, code: "POLICY_REFUSED" });
  expect(scene.guests).toEqual([]);
  expect(scene.hub.logger.events).toContainEqual(
    expect.objectContaining({ event: "guest.refused" }),
  );
});

test("without an endpoint for guests there is a 404 that says why", async () => {
  await using hub = await startHub();
  const { response, problem } = await refusal(hub, "/yjs/a/b");
  expect(response.statusCode).toBe(404);
  expect(problem).toMatchObject({ detail: expect.stringContaining("--dev"), code: "NOT_FOUND" });
});

test("a hub that drains lets no guest in, and sends those that are there elsewhere when it stops", async () => {
  await using scene = await open();
  const { hub, guests } = scene;
  const [admitted, pending] = [await call(hub), await call(hub)];
  guests[0]?.admit();
  (hub.transport as unknown as { drain(): void }).drain();
  const { response } = await refusal(hub, "/yjs/a/b");
  expect([response.statusCode, response.headers["retry-after"]]).toEqual([503, "5"]);
  expect(admitted.closed).toBeUndefined();
  await hub.transport.stop();
  await until("the closes", () => admitted.closed !== undefined && pending.closed !== undefined);
  expect([admitted.closed?.code, pending.closed?.code]).toEqual([1012, 1012]);
});
