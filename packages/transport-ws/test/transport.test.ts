// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { connect } from "node:net";
import { runChannelTests, waitFor } from "@ctxmesh/testing";
import { describe, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import type { Party } from "./parties.ts";
import { bytes, firstChannel, newDevice, startAgent, startHub, until } from "./parties.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const events = (party: Party, event: string): Readonly<Record<string, unknown>>[] =>
  party.logger.events.filter((entry) => entry.event === event).map(({ fields }) => fields);

for (const first of ["agent", "hub"] as const) {
  runChannelTests(`WebSocket, seen from the ${first}`, async () => {
    const hub = await startHub({ read: false });
    const agent = await startAgent({ urls: [hub.url], read: false });
    await until("both channels", () => hub.channels.length === 1 && agent.channels.length === 1);
    const [a, b] = first === "agent" ? [agent, hub] : [hub, agent];
    return {
      a: firstChannel(a),
      b: firstChannel(b),
      dispose: async () => {
        await agent[Symbol.asyncDispose]();
        await hub[Symbol.asyncDispose]();
      },
    };
  });
}

describe("who is at the other end", () => {
  test("each side sees the other's device, role and address", async () => {
    await using hub = await startHub();
    await using agent = await startAgent({ urls: [hub.url] });
    await until("a channel", () => hub.open.size === 1 && agent.open.size === 1);
    expect(firstChannel(agent).remote).toEqual({
      device: hub.device.key,
      address: `${hub.url}/v1/sync`,
      direction: "outbound",
      role: "hub",
    });
    expect(firstChannel(hub).remote).toEqual({
      device: agent.device.key,
      address: expect.stringMatching(/^127\.0\.0\.1:\d+$/u),
      direction: "inbound",
      role: "agent",
    });
    expect(hub.transport.addresses()).toEqual([`${hub.url}/v1/sync`]);
    expect(agent.transport.addresses()).toEqual([]);
  });

  test("a device that is no member is refused, and each side says so", async () => {
    await using hub = await startHub({ isMember: () => false });
    await using agent = await startAgent({ urls: [hub.url] });
    const reason = `not a member: ${agent.device.key}`;
    // The agent tries again and again, but tells once.
    await until("refusals", () => events(hub, "peer.refused").length >= 3);
    expect(events(hub, "peer.refused")[0]).toMatchObject({ code: "AUTH_FAILED", reason });
    await until("the news", () => events(agent, "hub.unavailable").length > 0);
    expect(events(agent, "hub.unavailable")).toEqual([
      { code: "AUTH_FAILED", address: `${hub.url}/v1/sync`, reason: `${reason} (code 4401)` },
    ]);
    expect([...hub.channels, ...agent.channels]).toEqual([]);
  });

  test("a hub that is not known is refused by the agent", async () => {
    await using hub = await startHub();
    await using agent = await startAgent({ urls: [hub.url], hubs: () => false });
    await until("the refusal", () => events(agent, "hub.unavailable").length > 0);
    expect(events(agent, "hub.unavailable")[0]).toMatchObject({
      code: "AUTH_FAILED",
      reason: `not a hub of this space: ${hub.device.key}`,
    });
    expect([...hub.channels, ...agent.channels]).toEqual([]);
  });

  test("a device's newer channel replaces its older one", async () => {
    await using hub = await startHub();
    const device = newDevice();
    await using first = await startAgent({ urls: [hub.url], device });
    await until("a channel", () => hub.open.size === 1 && first.open.size === 1);
    const older = firstChannel(hub);
    await first.transport.stop();
    await using second = await startAgent({ urls: [hub.url, hub.url], device });
    await until("a replacement", () => hub.channels.length >= 3 && hub.open.size === 1);
    expect(hub.open.has(older)).toBe(false);
    await until("the word", () =>
      events(second, "channel.closed").some(({ reason }) => String(reason).includes("replaced")),
    );
  });
});

describe("keeping the channel alive", () => {
  test("an agent comes back to a hub that stops and starts again on its port", async () => {
    const device = newDevice();
    let hub = await startHub({ device });
    const { port } = hub;
    await using agent = await startAgent({ urls: [hub.url] });
    for (const round of [1, 2, 3]) {
      await until("a channel", () => hub.open.size === 1 && agent.open.size === 1);
      await firstChannel(hub).send(bytes(`round ${String(round)}`));
      await until("the message", () => agent.received.length === round);
      await hub[Symbol.asyncDispose]();
      await until("the end of the channel", () => agent.open.size === 0);
      hub = await startHub({ device, port });
    }
    await hub[Symbol.asyncDispose]();
    const [closed] = events(agent, "channel.closed");
    expect(closed).toMatchObject({
      reason: expect.stringMatching(
        /^the hub stops; come back in \d+ ms \(code 1012\)$/u,
      ) as string,
    });
  });

  test("a hub that is not there is told once, by name", async () => {
    const hub = await startHub();
    await hub[Symbol.asyncDispose]();
    await using agent = await startAgent({ urls: [hub.url] });
    await until("the news", () => events(agent, "hub.unavailable").length > 0);
    expect(events(agent, "hub.unavailable")).toEqual([
      {
        code: "UNREACHABLE",
        address: `${hub.url}/v1/sync`,
        reason: expect.stringContaining("ECONNREFUSED"),
      },
    ]);
  });
});

describe("the HTTP server", () => {
  test("upgrades to other paths are turned away, unless someone else may want them", async () => {
    await using hub = await startHub();
    const status = (path: string): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(`${hub.url}${path}`);
        socket.on("unexpected-response", (request, response) => {
          request.destroy();
          resolve(response.statusCode);
        });
        socket.on("error", reject);
      });
    expect(await status("/elsewhere")).toBe(404);
    hub.server.on("upgrade", (request, connection) => {
      if (request.url === "/theirs") connection.end("HTTP/1.1 418 Theirs\r\n\r\n");
    });
    expect(await status("/theirs")).toBe(418);
  });

  test("who is turned away and keeps its end open keeps no connection of the hub", async () => {
    await using hub = await startHub();
    const { port } = new URL(hub.url);
    const socket = connect({ port: Number(port), host: "127.0.0.1", allowHalfOpen: true });
    socket.write(
      "GET /elsewhere HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    await once(socket.resume(), "end");
    const connections = async (): Promise<number> =>
      new Promise((resolve) => hub.server.getConnections((_, count) => resolve(count)));
    await waitFor(async () => (await connections()) === 0, {
      timeoutMs: 5_000,
      what: "the connection to end",
    }).finally(() => socket.destroy());
    expect(await connections()).toBe(0);
  });

  test("after stop, upgrades are no longer taken", async () => {
    await using hub = await startHub();
    await hub.transport.stop();
    await hub.transport.stop();
    expect(hub.server.listenerCount("upgrade")).toBe(0);
    expect(hub.transport.addresses()).toEqual([]);
  });
});

describe("bad input", () => {
  test.each(["", "127.0.0.1:7400", "http://127.0.0.1", "ws://", "ws://hub/#part"])(
    "the URL %j is refused by name",
    async (url) => {
      await expect(startAgent({ urls: [url] })).rejects.toMatchObject({
        code: "CONFIG_INVALID",
        field: "hubs",
        message: expect.stringContaining(`"${url}"`),
        remedy: expect.stringContaining("ws://"),
      });
    },
  );

  test("starting twice is refused", async () => {
    await using hub = await startHub();
    await using agent = await startAgent({ urls: [hub.url] });
    for (const { transport } of [hub, agent]) {
      await expect(transport.start(() => undefined)).rejects.toMatchObject({ code: "INTERNAL" });
    }
  });
});
