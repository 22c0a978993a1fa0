// SPDX-License-Identifier: Apache-2.0
import type { Channel } from "@ctxmesh/model";
import { runChannelTests } from "@ctxmesh/testing";
import { createLibp2pTransport } from "@ctxmesh/transport-libp2p";
import { describe, expect, test, vi } from "vitest";
import type { Node } from "./mesh.ts";
import {
  addressOf,
  bytes,
  freePort,
  newDevice,
  newDevices,
  recordingLogger,
  SPACE,
  startNode,
  until,
} from "./mesh.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const firstChannel = (node: Node): Channel => {
  const [channel] = node.channels;
  if (channel === undefined) throw new Error("no channel yet");
  return channel;
};

runChannelTests("libp2p stream", async () => {
  const [lower, higher] = newDevices();
  const a = await startNode({ device: lower, read: false });
  const b = await startNode({ device: higher, peers: [addressOf(a)], read: false });
  await until("both channels", () => a.channels.length === 1 && b.channels.length === 1);
  return {
    a: firstChannel(a),
    b: firstChannel(b),
    dispose: async () => {
      await Promise.all([a.transport.stop(), b.transport.stop()]);
    },
  };
});

describe("one channel per pair", () => {
  test.each([
    ["lower", 0],
    ["higher", 1],
  ])("there is one when only the end with the %s key knows an address", async (_, dialler) => {
    const devices = newDevices();
    const [dialling, waiting] = dialler === 0 ? devices : devices.toReversed();
    await using target = await startNode({ device: waiting ?? newDevice() });
    await using source = await startNode({
      device: dialling ?? newDevice(),
      peers: [addressOf(target).replace(/\/p2p\/.*$/u, "")],
    });
    await until("a channel", () => source.open.size === 1 && target.open.size === 1);
    expect(firstChannel(source).remote).toMatchObject({
      device: target.device.key,
      direction: "outbound",
      role: "agent",
    });
    expect(firstChannel(target).remote).toMatchObject({
      device: source.device.key,
      direction: "inbound",
    });
  });

  test("there is one when both dial at the same time, ten times over", async () => {
    for (let round = 0; round < 10; round++) {
      const devices = newDevices();
      const ports = [await freePort(), await freePort()];
      const start = (i: 0 | 1): Promise<Node> =>
        startNode({
          device: devices[i],
          listen: [`/ip4/127.0.0.1/tcp/${String(ports[i])}`],
          peers: [`/ip4/127.0.0.1/tcp/${String(ports[1 - i])}`],
        });
      const starting = [start(0), start(1)] as const;
      await using a = await starting[0];
      await using b = await starting[1];
      await until("a channel", () => a.open.size === 1 && b.open.size === 1);
      await firstChannel(a).send(bytes(`round ${String(round)}`));
      await until("the message", () => b.received.length === 1);
      expect([a.open.size, b.open.size]).toEqual([1, 1]);
      expect([a.transport.peers().length, b.transport.peers().length]).toEqual([1, 1]);
      // Whatever the race did, no channel was ever replaced.
      expect([a.channels.length, b.channels.length]).toEqual([1, 1]);
      const events = [...a.logger.events, ...b.logger.events].map(({ event }) => event);
      expect(events).not.toContain("peer.disconnected");
    }
  });

  test("a channel that one side closes is opened again", async () => {
    const [lower, higher] = newDevices();
    await using a = await startNode({ device: lower });
    await using b = await startNode({ device: higher, peers: [addressOf(a)] });
    for (const [round, side] of [a, b, a].entries()) {
      await until("a channel", () => a.open.size === 1 && b.open.size === 1);
      expect(a.channels.length).toBe(round + 1);
      await side.channels.at(-1)?.close("try again");
    }
    await until("a channel", () => a.channels.length === 4 && b.channels.length === 4);
    const reasons = [...a.logger.events, ...b.logger.events]
      .filter(({ event }) => event === "channel.closed")
      .map(({ fields }) => fields["reason"]);
    expect(reasons).toContain("the remote closed: try again");
    const events = [...a.logger.events, ...b.logger.events].map(({ event }) => event);
    expect(events).not.toContain("peer.half-connected");
    expect(a.transport.peers().length).toBe(1);
  });
});

describe("membership", () => {
  test("a stranger is refused whether it dials or is dialled", async () => {
    const [member, stranger] = [newDevice(), newDevice()];
    await using inside = await startNode({
      device: member,
      isMember: (device) => device === member.key,
    });
    await using outside = await startNode({ device: stranger, peers: [addressOf(inside)] });
    await using dialling = await startNode({
      device: newDevice(),
      isMember: (device) => device !== stranger.key,
      peers: [addressOf(outside).replace(/\/p2p\/.*$/u, "")],
    });
    for (const node of [inside, dialling]) {
      await until("a refusal", () =>
        node.logger.events.some(
          ({ event, fields }) => event === "peer.refused" && fields["device"] === stranger.key,
        ),
      );
      expect(node.transport.peers()).toEqual([]);
    }
    expect([inside, outside, dialling].flatMap((node) => node.channels)).toEqual([]);
  });

  test("a member that is removed is cut off, and let in again when it is back", async () => {
    const [lower, higher] = newDevices();
    let member = true;
    await using a = await startNode({ device: lower, isMember: () => member });
    await using b = await startNode({ device: higher, peers: [addressOf(a)] });
    await until("a channel", () => a.open.size === 1 && b.open.size === 1);
    member = false;
    await until("the cut", () => a.open.size === 0 && a.transport.peers().length === 0);
    member = true;
    await until("a new channel", () => a.open.size === 1 && b.open.size === 1);
    expect(a.channels.length).toBe(2);
  });
});

describe("supervision", () => {
  test.each(["lower", "higher"])(
    "a peer (with the %s key) that stops and starts again on its port is connected again",
    async (which) => {
      const [lower, higher] = newDevices();
      const [staying, leaving] = which === "lower" ? [higher, lower] : [lower, higher];
      const listen = [`/ip4/127.0.0.1/tcp/${String(await freePort())}`];
      await using a = await startNode({ device: staying, peers: listen });
      for (const round of [1, 2]) {
        const b = await startNode({ device: leaving, listen });
        await until("a channel", () => a.open.size === 1 && b.open.size === 1);
        await firstChannel(b).send(bytes(`round ${String(round)}`));
        await until("the message", () => a.received.length === round);
        await b.transport.stop();
        await until("the end of the channel", () => a.open.size === 0);
      }
      expect(a.channels.length).toBe(2);
    },
  );

  test("a member whose address was only learnt is dialled when it comes back", async () => {
    const [device, other] = newDevices();
    const listen = [`/ip4/127.0.0.1/tcp/${String(await freePort())}`];
    await using a = await startNode({ device });
    {
      await using b = await startNode({ device: other, listen, peers: [addressOf(a)] });
      await until("a channel", () => a.open.size === 1 && b.open.size === 1);
      await until("its address", () => a.transport.peers().length === 1);
      await firstChannel(b).send(bytes("hello"));
      await until("the message", () => a.received.length === 1);
    }
    await until("the end of the channel", () => a.open.size === 0);
    await using b = await startNode({ device: other, listen });
    await until("a channel", () => a.open.size === 1 && b.open.size === 1);
    expect(b.transport.peers()[0]?.address).toContain("/ip4/127.0.0.1/tcp/");
  });

  test("our own address among the peers is no peer", async () => {
    const listen = [`/ip4/127.0.0.1/tcp/${String(await freePort())}`];
    await using node = await startNode({ device: newDevice(), listen, peers: listen });
    await until("the discovery", () =>
      node.logger.events.some(({ event }) => event === "peer.is-self"),
    );
    expect(node.transport.peers()).toEqual([]);
  });

  test("peers() tells who is connected, from where and since when", async () => {
    const [lower, higher] = newDevices();
    await using a = await startNode({ device: lower, clock: { now: () => 1_700_000_000_000 } });
    await using b = await startNode({ device: higher, peers: [addressOf(a)] });
    await until("a connection", () => a.transport.peers().length === 1);
    expect(a.transport.peers()).toEqual([
      {
        device: b.device.key,
        address: expect.any(String),
        connectedSinceMs: 1_700_000_000_000,
        security: { protocol: "TLS 1.3", keyExchange: "X25519MLKEM768" },
      },
    ]);
  });
});

const create = (listen: string[], peers: string[]): unknown =>
  createLibp2pTransport({
    seed: newDevice().seed,
    listen,
    peers,
    space: SPACE,
    isMember: () => true,
    clock: Date,
    logger: recordingLogger(),
  });

describe("bad input", () => {
  test.each([
    "",
    "localhost:4001",
    "/ip4/127.0.0.1",
    "/ip4/300.0.0.1/tcp/1",
    "/ip4/127.0.0.1/udp/4001/quic-v1",
    "/ip4/127.0.0.1/tcp/4001/http",
    "/ip4/127.0.0.1/ws",
    "/ip4/127.0.0.1/tcp/4001/p2p/nonsense",
  ])("the address %j is refused by name", (address) => {
    for (const use of ["listen", "peers"]) {
      const make = (): unknown =>
        use === "listen" ? create([address], []) : create([], [address]);
      expect(make).toThrow(
        expect.objectContaining({
          code: "CONFIG_INVALID",
          field: use,
          message: expect.stringContaining(`"${address}"`),
          remedy: expect.stringContaining("/ip4/"),
        }),
      );
    }
  });

  test("a seed that is not 32 bytes is refused", () => {
    expect(() =>
      createLibp2pTransport({
        seed: new Uint8Array(31),
        listen: [],
        peers: [],
        space: SPACE,
        isMember: () => true,
        clock: Date,
        logger: recordingLogger(),
      }),
    ).toThrow(expect.objectContaining({ code: "KEY_INVALID" }));
  });

  test("a busy port is named, with the remedy, and start can be tried again", async () => {
    await using first = await startNode({ device: newDevice() });
    const busy = addressOf(first).replace(/\/p2p\/.*$/u, "");
    const second = createLibp2pTransport({
      seed: newDevice().seed,
      listen: [busy],
      peers: [],
      space: SPACE,
      isMember: () => true,
      clock: Date,
      logger: recordingLogger(),
    });
    const start = (): Promise<void> => second.start(() => undefined);
    await expect(start()).rejects.toMatchObject({
      code: "ADDRESS_UNAVAILABLE",
      message: `cannot listen on ${busy}: the port is in use`,
      remedy: expect.stringContaining("another port"),
    });
    await first.transport.stop();
    await start();
    expect(second.addresses()[0]).toContain(busy);
    await second.stop();
    await second.stop();
    expect(second.addresses()).toEqual([]);
  });

  test("an address of another machine is named", async () => {
    const starting = startNode({ device: newDevice(), listen: ["/ip4/192.0.2.1/tcp/0"] });
    await expect(starting).rejects.toMatchObject({
      code: "ADDRESS_UNAVAILABLE",
      message: expect.stringContaining("/ip4/192.0.2.1/tcp/0"),
      remedy: expect.stringContaining("0.0.0.0"),
    });
  });
});
