// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a link is a channel as any other, between the two devices that were meant; who does not authenticate, floods or falls silent takes nothing from others.
 * Method: the acceptance suite of the port, and hostile or silent clients, over real sockets; the timers are moved by hand.
 */
import { connect } from "node:net";
import type { Socket } from "node:net";
import { LIMITS } from "@ctxmesh/model";
import { runChannelTests } from "@ctxmesh/testing";
import { Handshake, FrameWriter, leafPsk } from "@ctxmesh/transport-tcp";
import { afterEach, describe, expect, test, vi } from "vitest";
import { connectTo, newDevice, random, SPACE, startParent, until, verifier } from "./ends.ts";
import type { Parent } from "./ends.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });
afterEach(() => vi.useRealTimers());

// Both ends are the same class, and each test goes both ways.
runChannelTests(
  "link over TCP",
  async () => {
    const parent = await startParent();
    const a = await connectTo(parent);
    await until("a channel", () => parent.channels.length === 1);
    const [b] = parent.channels as [typeof a];
    const dispose = async (): Promise<void> => {
      await a.close();
      await parent[Symbol.asyncDispose]();
    };
    return { a, b, dispose };
  },
  1,
);

const refusals = ({ logger }: Parent): unknown[] =>
  logger.entries
    .filter(({ event }) => event === "peer.refused")
    .map(({ fields }) => fields["reason"]);

describe("who is at the other end", () => {
  test("each side sees the other's device, role and address", async () => {
    await using parent = await startParent();
    const device = newDevice();
    const leaf = await connectTo(parent, { device });
    await until("a channel", () => parent.channels.length === 1);
    const address = `127.0.0.1:${String(parent.port)}`;
    const remote = { device: parent.device.key, address, direction: "outbound", role: "agent" };
    expect(leaf.remote).toEqual(remote);
    expect(parent.channels[0]?.remote).toEqual({
      device: device.key,
      address: expect.stringMatching(/^127\.0\.0\.1:\d+$/u),
      direction: "inbound",
      role: "agent",
      leaf: true,
    });
    expect(parent.transport.addresses()).toEqual([`tcp://${address}`]);
  });

  test.each([
    ["is no member", { isMember: () => false }, {}, "not a member"],
    ["is of another space", {}, { space: "77".repeat(32) as typeof SPACE }, "another space"],
  ])("who %s gets no byte of an answer", async (_, server, client, reason) => {
    await using parent = await startParent(server);
    await expect(connectTo(parent, client)).rejects.toMatchObject({ code: "UNREACHABLE" });
    await until("the refusal", () => refusals(parent).length === 1);
    expect(refusals(parent)[0]).toMatch(reason);
    expect(parent.channels).toEqual([]);
  });

  test("a leaf refuses an agent other than its parent, or with another psk", async () => {
    await using parent = await startParent();
    await expect(connectTo(parent, { parent: newDevice().key })).rejects.toThrow(
      "not the expected",
    );
    await expect(connectTo(parent, { psk: new Uint8Array(32) })).rejects.toThrow("see the psk");
    expect(parent.channels).toEqual([]);
  });

  test("a device's newer channel replaces its older one", async () => {
    await using parent = await startParent();
    const device = newDevice();
    const first = await connectTo(parent, { device });
    const second = await connectTo(parent, { device });
    expect(await first.closed).toBe("closed by the other end");
    await until("both channels", () => parent.channels.length === 2);
    await second.send(Uint8Array.of(1));
    for await (const message of parent.channels[1]?.receive() ?? []) {
      expect(message).toEqual(Uint8Array.of(1));
      await second.close();
    }
  });

  test("an address that is taken is refused with a code", async () => {
    await using parent = await startParent();
    await expect(startParent({ port: parent.port })).rejects.toMatchObject({
      code: "ADDRESS_UNAVAILABLE",
    });
  });
});

/** A plain connection to a listener; resolves `closed` when the listener has hung up. */
async function rawTo({
  port,
}: Parent): Promise<{ socket: Socket; received: () => number; isClosed: () => boolean }> {
  const socket = connect({ port, host: "127.0.0.1" });
  let bytes = 0;
  let closed = false;
  socket.on("data", (chunk) => {
    bytes += chunk.length;
  });
  socket
    .on("error", () => undefined)
    .on("close", () => {
      closed = true;
    });
  await new Promise((resolve) => socket.once("connect", resolve));
  return { socket, received: () => bytes, isClosed: () => closed };
}

describe("who does not behave", () => {
  test("noise is answered by hanging up, without a byte", async () => {
    await using parent = await startParent();
    for (const noise of [
      Buffer.from("GET / HTTP/1.1\r\n".repeat(20)),
      Buffer.alloc(98),
      random.bytes(100_000),
    ]) {
      const client = await rawTo(parent);
      client.socket.write(noise);
      await until("the end", client.isClosed);
      expect(client.received()).toBe(0);
    }
  });

  test("with more than 256 that say nothing the oldest has to go, and an honest leaf gets in", async () => {
    await using parent = await startParent();
    const silent: Awaited<ReturnType<typeof rawTo>>[] = [];
    for (let i = 0; i < 257; i++) silent.push(await rawTo(parent));
    await until("one to go", () => silent.some(({ isClosed }) => isClosed()));
    const leaf = await connectTo(parent);
    await until("a channel", () => parent.channels.length === 1);
    await until("one more to go", () => silent.filter(({ isClosed }) => isClosed()).length === 2);
    expect(silent[256]?.isClosed()).toBe(false);
    await leaf.close();
    for (const { socket } of silent) socket.destroy();
  });

  test("who says nothing for five seconds is cut off", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    await using parent = await startParent();
    const client = await rawTo(parent);
    while (vi.getTimerCount() === 0) await new Promise(setImmediate);
    vi.advanceTimersByTime(LIMITS.handshakeMs);
    while (!client.isClosed()) await new Promise(setImmediate);
    expect(refusals(parent)).toEqual(["not authenticated after 5000 ms"]);
  });

  test("a frame that is not from the leaf ends the channel", async () => {
    await using parent = await startParent();
    const { socket, writer } = await leafByHand(parent);
    const good = writer.write(Uint8Array.of(1, 2, 3));
    const bad = writer.write(Uint8Array.of(4));
    bad[6] = (bad[6] ?? 0) ^ 1;
    socket.write(Buffer.concat([good, bad]));
    await until("the end", () =>
      parent.logger.entries.some(({ event }) => event === "channel.closed"),
    );
    expect(parent.logger.entries.at(-1)?.fields["reason"]).toMatch("frame 1 is not from");
  });

  test("signs of life are not heard by the reader, and a flood of them ends the channel", async () => {
    await using parent = await startParent();
    const { socket, writer } = await leafByHand(parent);
    const frames = Array.from({ length: 3 }, () => writer.write(new Uint8Array()));
    socket.write(Buffer.concat([...frames, writer.write(Uint8Array.of(5))]));
    for await (const message of parent.channels[0]?.receive() ?? []) {
      expect(message).toEqual(Uint8Array.of(5));
      break;
    }
    socket.write(Buffer.concat(Array.from({ length: 500 }, () => writer.write(new Uint8Array()))));
    await until("the end", () =>
      parent.logger.entries.some(({ event }) => event === "channel.closed"),
    );
    expect(parent.logger.entries.at(-1)?.fields["reason"]).toBe("too many signs of life");
  });
});

/** A leaf that says on its own what goes over the connection. */
async function leafByHand(parent: Parent): Promise<{ socket: Socket; writer: FrameWriter }> {
  const { socket } = await rawTo(parent);
  const device = newDevice();
  const handshake = new Handshake({
    role: "client",
    device,
    space: SPACE,
    psk: () => leafPsk(parent.secret, device.publicKey),
    accepts: () => true,
    verifier,
    random,
  });
  socket.write(handshake.start());
  const answer = await new Promise<Uint8Array>((resolve) => socket.once("data", resolve));
  const { send, session } = handshake.receive(answer);
  socket.write(send);
  await until("a channel", () => parent.channels.length > 0);
  return { socket, writer: new FrameWriter(session?.sendKey ?? new Uint8Array()) };
}

describe("silence", () => {
  test("an idle link stays, since both ends speak up every ten seconds; one whose other end says nothing for thirty is cut", async () => {
    await using parent = await startParent();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const leaf = await connectTo(parent);
    while (parent.channels.length === 0) await new Promise(setImmediate);
    const mute = await leafByHandFaked(parent);
    for (let s = 0; s < 45 && !mute.isClosed(); s++) {
      vi.advanceTimersByTime(1_000);
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    }
    while (!mute.isClosed()) await new Promise(setImmediate);
    expect(parent.logger.entries.at(-1)?.fields["reason"]).toBe(
      "nothing was received for 30000 ms",
    );
    expect(mute.received()).toBeGreaterThanOrEqual(145 + 2 * 20);
    // Still there: what is sent goes out.
    await leaf.send(Uint8Array.of(1));
    const closing = leaf.close();
    vi.useRealTimers();
    await closing;
  });
});

/** As {@link leafByHand}, where waiting must not need a timer; it says nothing more. */
async function leafByHandFaked(parent: Parent): ReturnType<typeof rawTo> {
  const client = await rawTo(parent);
  const device = newDevice();
  const handshake = new Handshake({
    role: "client",
    device,
    space: SPACE,
    psk: () => leafPsk(parent.secret, device.publicKey),
    accepts: () => true,
    verifier,
    random,
  });
  client.socket.write(handshake.start());
  const answer = await new Promise<Uint8Array>((resolve) => client.socket.once("data", resolve));
  client.socket.write(handshake.receive(answer).send);
  while (parent.channels.length < 2) await new Promise(setImmediate);
  return client;
}
