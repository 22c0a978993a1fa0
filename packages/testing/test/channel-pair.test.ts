// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "vitest";
import type { Remote } from "@ctxmesh/model";
import { createChannelPair, runChannelTests } from "@ctxmesh/testing";

const remote = (digit: string, direction: Remote["direction"]): Remote => ({
  device: digit.repeat(64),
  address: `memory:${digit}`,
  direction,
  role: "agent",
});

async function all(messages: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const received: Uint8Array[] = [];
  for await (const message of messages) received.push(message);
  return received;
}

const makePair = () => createChannelPair({ a: remote("b", "outbound"), b: remote("a", "inbound") });

runChannelTests("channel in memory", () => {
  const { a, b, cut } = makePair();
  return Promise.resolve({
    a,
    b,
    dispose() {
      cut();
      return Promise.resolve();
    },
  });
});

test("each end shows the remote it was given", () => {
  const { a, b } = makePair();
  expect(a.remote.device).toBe("b".repeat(64));
  expect(b.remote.device).toBe("a".repeat(64));
});

test("a message is copied, so that its sender may use the buffer again", async () => {
  const { a, b } = makePair();
  const buffer = Uint8Array.of(1, 2, 3);
  await a.send(buffer);
  buffer.fill(9);
  await a.close();
  expect(await all(b.receive())).toEqual([Uint8Array.of(1, 2, 3)]);
});

test("a cut loses what was not received, ends both ends and rejects the waiting sends", async () => {
  const { a, b, cut } = makePair();
  const waiting = expect(a.send(new Uint8Array(1_000_000))).rejects.toMatchObject({
    code: "CLOSED",
  });
  cut();
  await waiting;
  expect(await all(a.receive())).toEqual([]);
  expect(await all(b.receive())).toEqual([]);
  await expect(b.send(new Uint8Array(1))).rejects.toMatchObject({ code: "CLOSED" });
});
