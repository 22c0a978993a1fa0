// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { describe, expect, test, vi } from "vitest";
import { addressOf, bytes, newDevice, newDevices, startNode, until } from "./mesh.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const newKey = (): string =>
  `/key/swarm/psk/1.0.0/\n/base16/\n${randomBytes(32).toString("hex")}\n`;

describe("a network key", () => {
  test("connects those who have it, with the same handshake inside", async () => {
    const [lower, higher] = newDevices();
    const networkKey = newKey();
    await using a = await startNode({ device: lower, networkKey });
    await using b = await startNode({ device: higher, networkKey, peers: [addressOf(a)] });
    await until("a channel", () => a.open.size === 1 && b.open.size === 1);
    await b.channels[0]?.send(new Uint8Array(1 << 20));
    await b.channels[0]?.send(bytes("after a large one"));
    await until("the message", () => a.received.includes("after a large one"));
    expect(a.channels[0]?.remote.security?.protocol).toBe("TLS 1.3");
  });

  test.each([
    ["another one", newKey()],
    ["none", undefined],
  ])("keeps out a member who has %s, before it learns whom it dialled", async (_, other) => {
    const [lower, higher] = newDevices();
    await using a = await startNode({ device: lower, networkKey: newKey() });
    await using b = await startNode({
      device: higher,
      ...(other === undefined ? {} : { networkKey: other }),
      peers: [addressOf(a).replace(/\/p2p\/.*$/u, "")],
    });
    await until("a failure", () =>
      b.logger.events.some(({ event }) => event === "peer.unreachable"),
    );
    expect([...a.channels, ...b.channels, ...a.transport.peers()]).toEqual([]);
    const { device } =
      b.logger.events.find(({ event }) => event === "peer.unreachable")?.fields ?? {};
    expect(device).toBeUndefined();
  });

  test.each(["", "00".repeat(32), newKey().toUpperCase(), newKey().slice(0, -3), `${newKey()}\n`])(
    "that is not in its form is refused: %j",
    async (networkKey) => {
      await expect(startNode({ device: newDevice(), networkKey })).rejects.toMatchObject({
        code: "KEY_INVALID",
        field: "mesh.networkKey",
        remedy: expect.stringContaining("\\n/base16/\\n"),
      });
    },
  );
});

test("twelve agents behind one address connect to another one, all at once", async () => {
  await using center = await startNode({ device: newDevice() });
  const peers = [addressOf(center)];
  await using stack = new AsyncDisposableStack();
  const starts = Array.from({ length: 12 }, async () => {
    return stack.use(await startNode({ device: newDevice(), listen: [], peers }));
  });
  const others = await Promise.all(starts);
  await until("all of them", () => center.transport.peers().length === 12);
  const events = others.flatMap(({ logger }) => logger.events.map(({ event }) => event));
  expect(events).not.toContain("peer.unreachable");
});
