// SPDX-License-Identifier: Apache-2.0
/** Goal: whoever takes more than five seconds from the first packet to say who it is, in whatever way, is cut, and costs others nothing until then. */
import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { createHealthServer } from "@ctxmesh/api";
import { LIMITS } from "@ctxmesh/model";
import { createTestCertificate, silentLogger } from "@ctxmesh/testing";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { WsServerTransport } from "@ctxmesh/transport-ws";
import { Handshake } from "../src/handshake.ts";
import { comeBackMs } from "../src/sockets.ts";
import {
  SPACE,
  anyone,
  newDevice,
  random,
  startAgent,
  startHubOn,
  until,
  verifier,
} from "./parties.ts";

const authority = createTestCertificate({ name: "authority", isAuthority: true });
const door = createTestCertificate({ name: "localhost", issuer: authority });
const ca = authority.cert;

const UPGRADE =
  "GET /v1/sync HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/** A frame of a client, masked with zeros. */
const frame = (opcode: number, payload: Uint8Array): Buffer =>
  Buffer.concat([Uint8Array.of(0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0), payload]);

const hello = (): Buffer => {
  const [device, role] = [newDevice(), "client"] as const;
  const party = { device, role, space: SPACE, accepts: anyone, verifier, random };
  const [message = new Uint8Array()] = new Handshake(party).start();
  return frame(2, message);
};

/** Ways to be slow. */
const WAYS: readonly ((socket: Socket) => void)[] = [
  () => undefined,
  (socket) => socket.write("GET /v1/sy"),
  (socket) => socket.write("GET /v1/sync HTTP/1.1\r\nHost: h\r\nX: "),
  (socket) => socket.write(UPGRADE),
  (socket) => socket.write(`${UPGRADE}\r\n`),
  (socket) => {
    socket.write(`${UPGRADE}\r\n`);
    socket.write(hello());
  },
  (socket) => {
    socket.write(`${UPGRADE}\r\n`);
    for (let i = 0; i < 8; i++) socket.write(frame(9, Uint8Array.of(i)));
  },
];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval"] });
});
afterEach(() => {
  vi.useRealTimers();
});

test.each([
  ["in plain text", false],
  ["over TLS", true],
])(
  "300 slow ones %s are cut at the deadline, and honest ones served meanwhile",
  async (_, isTls) => {
    const tls = { cert: door.cert, key: door.key };
    const health = createHealthServer({
      ready: () => true,
      ...(isTls ? { tls } : {}),
      logger: silentLogger,
    });
    const { port } = await health.listen("127.0.0.1", 0);
    await using hub = await startHubOn(health.server);
    // The HTTP server's own limits come later, and are not what is looked at.
    Object.assign(health.server, { headersTimeout: 0, requestTimeout: 0 });
    let [connected, closed] = [0, 0];
    const sockets = Array.from({ length: 300 }, (_value, i) => {
      const way = WAYS[i % WAYS.length] ?? (() => undefined);
      // Every second one over TLS stays in its handshake.
      const speaksTls = isTls && i % 2 === 0;
      const socket = speaksTls
        ? connectTls({ host: "127.0.0.1", port, ca })
        : connect({ host: "127.0.0.1", port });
      socket.on("error", () => undefined).on("close", () => (closed += 1));
      socket.once(speaksTls ? "secureConnect" : "connect", () => {
        if (isTls && !speaksTls) socket.write(Uint8Array.of(0x16, 3, 1, 2, 0));
        else way(socket);
        connected += 1;
      });
      socket.resume();
      return socket;
    });
    await until("the slow ones", () => connected === sockets.length);
    const urls = [`${isTls ? "wss" : "ws"}://localhost:${String(port)}`];
    const agents = await Promise.all(
      Array.from({ length: 20 }, () => startAgent({ urls, tls: { ca } })),
    );
    await until("the honest ones", () => hub.open.size === agents.length);
    expect(closed).toBe(0);
    vi.advanceTimersByTime(LIMITS.handshakeMs);
    // Closes that nobody answers are cut after two seconds more.
    await until("what follows", () => {
      vi.advanceTimersByTime(500);
      return closed === sockets.length;
    });
    expect(hub.open.size).toBe(agents.length);
    await Promise.all(agents.map(async (agent) => agent.transport.stop()));
    await hub.transport.stop();
    health.server.closeAllConnections();
    await health.close();
  },
);

test("a crowd of WebSockets that say nothing makes way for who comes later", async () => {
  const health = createHealthServer({ ready: () => true, logger: silentLogger });
  const { port } = await health.listen("127.0.0.1", 0);
  await using hub = await startHubOn(health.server);
  const crowd: Socket[] = [];
  let [upgraded, closed] = [0, 0];
  for (let i = 0; i < 1_100; i++) {
    const socket = connect({ host: "127.0.0.1", port });
    socket
      .on("error", () => undefined)
      .once("data", () => (upgraded += 1))
      .on("close", () => (closed += 1));
    socket.write(`${UPGRADE}\r\n`);
    crowd.push(socket);
  }
  await until("the crowd", () => upgraded === crowd.length);
  const agent = await startAgent({ urls: [`ws://127.0.0.1:${String(port)}`] });
  await until("the honest one", () => hub.open.size === 1);
  // Before the deadline, and after the two seconds that they have to answer.
  vi.advanceTimersByTime(2_000);
  await until("those that went", () => closed >= 77);
  expect(closed).toBe(77);
  for (const socket of crowd) socket.destroy();
  await agent.transport.stop();
  await hub.transport.stop();
  health.server.closeAllConnections();
  await health.close();
});

test("a page of whatever origin gets a socket, and nothing more without a device key that is welcome", async () => {
  const health = createHealthServer({ ready: () => true, logger: silentLogger });
  const { port } = await health.listen("127.0.0.1", 0);
  await using hub = await startHubOn(health.server);
  const socket = connect({ host: "127.0.0.1", port });
  socket.write(`${UPGRADE}Origin: https://page.example\r\n\r\n`);
  const [answer] = (await once(socket, "data")) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/u);
  const refused = once(socket, "data");
  socket.write(frame(2, new Uint8Array(98)));
  const [refusal] = (await refused) as [Buffer];
  expect(refusal.subarray(0, 4)).toEqual(
    Buffer.of(0x88, refusal.length - 2, 4401 >> 8, 4401 & 255),
  );
  expect(hub.channels).toEqual([]);
  socket.destroy();
  await hub.transport.stop();
  await health.close();
});

test("a hub that is about to stop turns newcomers away, who try again, and keeps who is there until then", async () => {
  const health = createHealthServer({ ready: () => true, logger: silentLogger });
  const { port } = await health.listen("127.0.0.1", 0);
  await using hub = await startHubOn(health.server);
  const urls = [`ws://127.0.0.1:${String(port)}`];
  const early = await startAgent({ urls });
  await until("the channel", () => hub.open.size === 1);
  (hub.transport as WsServerTransport).drain();
  const late = await startAgent({ urls });
  await until("the refusal", () => late.logger.events.length > 0);
  expect(late.logger.events[0]).toMatchObject({
    event: "hub.unavailable",
    fields: { code: "UNREACHABLE", reason: "Unexpected server response: 503" },
  });
  expect([hub.channels.length, early.open.size]).toEqual([1, 1]);
  const silent = connect({ host: "127.0.0.1", port });
  await once(silent, "connect");
  const silenced = once(silent, "close");
  await hub.transport.stop();
  await until("the close", () => early.open.size === 0);
  silent.resume();
  await Promise.all([health.close(), silenced]);
  await Promise.all([early, late].map(async ({ transport }) => transport.stop()));
});

test.each([
  [1012, "the hub stops; come back in 120 ms", 120],
  [1012, "the hub stops; come back in 999999 ms", 30_000],
  [1012, "the hub stops", undefined],
  [1012, "come back in -5 ms", undefined],
  [1000, "the hub stops; come back in 120 ms", undefined],
])("a close with %i and %j asks to come back in %s ms", (code, reason, expected) => {
  expect(comeBackMs(code, new TextEncoder().encode(reason))).toBe(expected);
});
