// SPDX-License-Identifier: Apache-2.0
/** Goal: members are told the addresses that were configured to be told, and no other ones. */
import { expect, test } from "vitest";
import { addressOf, freePort, newDevice, startNode, until } from "./mesh.ts";
import { startProxy } from "./proxy.ts";

test("a member is dialled where it says, not where it listens", async () => {
  const port = await freePort();
  await using gateway = await startProxy(port);
  await using a = await startNode({
    device: newDevice(),
    listen: [`/ip4/127.0.0.1/tcp/${String(port)}`],
    announce: [gateway.address],
  });
  expect(addressOf(a)).toMatch(new RegExp(`^${gateway.address}(/p2p/|$)`, "u"));
  await using b = await startNode({
    device: newDevice(),
    peers: [`/ip4/127.0.0.1/tcp/${String(port)}`],
  });
  await until("a and b", () => b.transport.peers().length === 1);
  expect(gateway.passed()).toBe(0);
  await using c = await startNode({ device: newDevice(), listen: [], peers: [addressOf(b)] });
  await until("a and c", () => c.transport.peers().length === 2);
  expect(gateway.passed()).toBeGreaterThan(0);
});

test("a member that announces nothing is told of to nobody", async () => {
  await using a = await startNode({ device: newDevice(), announce: [] });
  expect(a.transport.addresses()).toEqual([]);
});

test("a malformed address is refused", async () => {
  await expect(startNode({ device: newDevice(), announce: ["127.0.0.1:80"] })).rejects.toThrow(
    /"127\.0\.0\.1:80" is not an address/u,
  );
});
