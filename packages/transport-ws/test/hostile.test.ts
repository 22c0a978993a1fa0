// SPDX-License-Identifier: Apache-2.0
/** Ends that do not keep to the protocol, played by bare WebSockets. */
import type { AddressInfo } from "node:net";
import { LIMITS } from "@ctxmesh/model";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { Handshake } from "../src/handshake.ts";
import type { Device, Hub } from "./parties.ts";
import {
  anyone,
  bytes,
  newDevice,
  random,
  SPACE,
  startAgent,
  startHub,
  until,
  verifier,
} from "./parties.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

/** A bare WebSocket to a hub, and what came of it. */
interface Bare {
  readonly socket: WebSocket;
  readonly received: Uint8Array[];
  closed: { code: number; reason: string } | undefined;
}

async function connect(hub: Hub, options: { readonly autoPong?: boolean } = {}): Promise<Bare> {
  const socket = new WebSocket(`${hub.url}/v1/sync`, { perMessageDeflate: false, ...options });
  const bare: Bare = { socket, received: [], closed: undefined };
  socket.on("message", (data: Buffer) => bare.received.push(data));
  socket.on("error", () => undefined);
  socket.on("close", (code, reason) => {
    bare.closed = { code, reason: reason.toString() };
  });
  await until("the WebSocket", () => socket.readyState === socket.OPEN);
  return bare;
}

function clientHandshake(device: Device): Handshake {
  return new Handshake({ role: "client", device, space: SPACE, accepts: anyone, verifier, random });
}

/** Sends the hello and returns the proof that would end the handshake. */
async function sayHello(bare: Bare, device: Device): Promise<Uint8Array> {
  const handshake = clientHandshake(device);
  for (const message of handshake.start()) bare.socket.send(message);
  await until("the hub's hello and proof", () => bare.received.length === 2);
  const [proof = new Uint8Array()] = bare.received
    .splice(0)
    .flatMap((m) => handshake.receive(m).send);
  return proof;
}

const refusals = (hub: Hub): unknown[] =>
  hub.logger.events.filter(({ event }) => event === "peer.refused").map(({ fields }) => fields);

describe("before authentication, a hub", () => {
  test.each([
    ["an oversized hello", new Uint8Array(99), "malformed hello"],
    ["a short hello", new Uint8Array(97), "malformed hello"],
    ["an empty message", new Uint8Array(0), "malformed hello"],
    ["a text message", "hello", "malformed hello"],
    ["an unknown version", Uint8Array.of(1, 2, ...new Uint8Array(96)), "unknown version 2"],
    ["another space", Uint8Array.of(1, 1, ...new Uint8Array(96)), "another space"],
  ])("refuses %s with 4401 and the reason, logged once", async (_, message, reason) => {
    await using hub = await startHub();
    const bare = await connect(hub);
    bare.socket.send(message);
    await until("the close", () => bare.closed !== undefined);
    expect(bare.closed).toEqual({ code: 4401, reason });
    expect(refusals(hub)).toEqual([
      { code: "AUTH_FAILED", reason, address: expect.stringContaining("127.0.0.1:") },
    ]);
    expect([bare.received, hub.channels]).toEqual([[], []]);
  });

  test("refuses a forged proof", async () => {
    await using hub = await startHub();
    const bare = await connect(hub);
    const proof = await sayHello(bare, newDevice());
    bare.socket.send(proof.with(1, (proof[1] ?? 0) ^ 1));
    await until("the close", () => bare.closed !== undefined);
    expect(bare.closed).toEqual({ code: 4401, reason: "the signature does not verify" });
    expect(hub.channels).toEqual([]);
  });

  test("refuses its own proof, reflected", async () => {
    await using hub = await startHub();
    const bare = await connect(hub);
    for (const message of clientHandshake(newDevice()).start()) bare.socket.send(message);
    await until("the hub's proof", () => bare.received.length === 2);
    bare.socket.send(bare.received[1] ?? "");
    await until("the close", () => bare.closed !== undefined);
    expect(bare.closed).toEqual({ code: 4401, reason: "the signature does not verify" });
    expect(hub.channels).toEqual([]);
  });

  test("cuts who sends more than 4 KiB, in one message or in many control frames", async () => {
    await using hub = await startHub();
    const [large, many] = [await connect(hub), await connect(hub)];
    large.socket.send(new Uint8Array(LIMITS.syncMessageBytes));
    for (let i = 0; i < 40; i++) many.socket.ping(new Uint8Array(120));
    for (const bare of [large, many]) await until("the cut", () => bare.closed !== undefined);
    expect(refusals(hub)).toHaveLength(2);
    expect(refusals(hub)).toContainEqual(
      expect.objectContaining({ reason: "more than 4096 bytes before authentication" }),
    );
  });

  test("takes a large message right behind the proof", async () => {
    await using hub = await startHub();
    const bare = await connect(hub);
    const proof = await sayHello(bare, newDevice());
    bare.socket.send(proof);
    bare.socket.send(bytes("x".repeat(200_000)));
    await until("the message", () => hub.received.length === 1);
    expect(hub.received[0]).toHaveLength(200_000);
    bare.socket.terminate();
  });
});

describe("a channel", () => {
  test("is closed on a text message", async () => {
    await using hub = await startHub();
    const bare = await connect(hub);
    bare.socket.send(await sayHello(bare, newDevice()));
    await until("the channel", () => hub.open.size === 1);
    bare.socket.send("text");
    await until("the close", () => bare.closed !== undefined && hub.open.size === 0);
    expect(bare.closed).toEqual({ code: 1003, reason: "a message is a binary frame" });
  });

  test("is closed on a message over the limit", async () => {
    await using hub = await startHub();
    const bare = await connect(hub);
    bare.socket.send(await sayHello(bare, newDevice()));
    await until("the channel", () => hub.open.size === 1);
    bare.socket.send(new Uint8Array(LIMITS.syncMessageBytes + 1));
    await until("the close", () => bare.closed !== undefined && hub.open.size === 0);
    expect(hub.received).toEqual([]);
  });
});

describe("time limits", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval"] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test("a handshake that is not over at its deadline is given up, whatever was sent meanwhile", async () => {
    await using hub = await startHub();
    const bare = await connect(hub);
    vi.advanceTimersByTime(LIMITS.handshakeMs - 1);
    await sayHello(bare, newDevice());
    bare.socket.ping();
    expect(bare.closed).toBeUndefined();
    vi.advanceTimersByTime(1);
    await until("the close", () => bare.closed !== undefined);
    expect(bare.closed).toEqual({ code: 4401, reason: "not authenticated after 5000 ms" });
    expect(refusals(hub)).toHaveLength(1);
    vi.useRealTimers();
  });

  test("an agent gives up on a hub that says nothing", async () => {
    const mute = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await until("the port", () => mute.address() !== null);
    const { port } = mute.address() as AddressInfo;
    await using agent = await startAgent({ urls: [`ws://127.0.0.1:${String(port)}`] });
    let heard = 0;
    mute.on("connection", (socket) => socket.on("message", () => (heard += 1)));
    await until("its hello", () => heard === 1);
    vi.advanceTimersByTime(LIMITS.handshakeMs);
    await until("the end", () => agent.logger.events.length > 0);
    expect(agent.logger.events[0]).toMatchObject({
      event: "hub.unavailable",
      fields: { code: "AUTH_FAILED", reason: "not authenticated after 5000 ms" },
    });
    vi.useRealTimers();
    await agent.transport.stop();
    mute.close();
  });

  test("a channel stays while pings are answered, and is cut when they no longer are", async () => {
    await using hub = await startHub();
    const [alive, dead] = [await connect(hub), await connect(hub, { autoPong: false })];
    let [pings, pongs] = [0, 0];
    alive.socket.on("ping", () => (pings += 1)).on("pong", () => (pongs += 1));
    for (const bare of [alive, dead]) bare.socket.send(await sayHello(bare, newDevice()));
    await until("the channels", () => hub.open.size === 2);
    for (let beat = 1; beat <= 3; beat++) {
      vi.advanceTimersByTime(30_000);
      await until("a ping", () => pings === beat);
      alive.socket.ping();
      // Its answer comes after the hub has heard ours.
      await until("an answer", () => pongs === beat);
    }
    await until("the cut", () => dead.closed !== undefined && hub.open.size === 1);
    expect(alive.closed).toBeUndefined();
    expect(hub.logger.events).toContainEqual({
      event: "channel.closed",
      fields: expect.objectContaining({ reason: "nothing was received for 30000 ms" }),
    });
    alive.socket.terminate();
    vi.useRealTimers();
  });
});
