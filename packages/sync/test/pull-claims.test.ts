// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what several peers have for us is brought once, by whoever was asked first; and by another one, when that does not.
 * Method: the claims by themselves; then real replicas, one of which comes to a mesh that has written for long.
 */
import { decodeBatch } from "@ctxmesh/codec";
import { createVirtualClock } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { encodeMessage } from "../src/messages.ts";
import type { SyncMessage } from "../src/messages.ts";
import { CLAIM_MS, PullClaims } from "../src/pull-claims.ts";
import { head } from "./kit.ts";
import {
  START_MS,
  contentOf,
  converged,
  createNode,
  createNodes,
  face,
  frontierOf,
  link,
  pass,
  settle,
  spaceOf,
} from "./mesh.ts";
import type { Link, Node } from "./mesh.ts";

test("a chain is the first one's who asks, until it asks for something else", () => {
  const claims = new PullClaims();
  expect(claims.set(1, [head(1, 5), head(2, 5)], 0)).toBe(false);
  expect(claims.set(2, [head(2, 5), head(3, 5)], 0)).toBe(false);
  expect([1, 2, 3].map((n) => claims.has(head(n, 1), 1))).toEqual([false, false, true]);
  expect([1, 2, 3].map((n) => claims.has(head(n, 1), 2))).toEqual([true, true, false]);
  // It goes on with the one, and is done with the other.
  expect(claims.set(1, [head(1, 6)], 0)).toBe(true);
  expect([1, 2].map((n) => claims.has(head(n, 1), 2))).toEqual([true, false]);
  // Nobody else may ask for anything that could not be asked for before.
  expect(claims.set(1, [head(1, 7)], 0)).toBe(false);
  expect(claims.set(1, [], 0)).toBe(true);
  expect(claims.set(1, [], 0)).toBe(false);
});

test("a claim ends with its time, also when the clock is set back", () => {
  const claims = new PullClaims();
  claims.set(1, [head(1, 5)], 1_000);
  expect(claims.expire(1_000 + CLAIM_MS - 1)).toBe(false);
  expect(claims.has(head(1, 1), 2)).toBe(true);
  expect(claims.expire(1_000 + CLAIM_MS)).toBe(true);
  expect(claims.has(head(1, 1), 2)).toBe(false);
  claims.set(1, [head(1, 5)], 1_000);
  expect(claims.expire(999)).toBe(true);
});

/** How often each batch was sent, of those that `links` brought, by hash of its bytes. */
function timesSent(links: readonly Link[]): number[] {
  const times = new Map<string, number>();
  const batches = links.flatMap(({ sent }) =>
    sent.flatMap(({ messages }) =>
      messages.flatMap((message: SyncMessage) =>
        message.type === "batches" ? message.batches : [],
      ),
    ),
  );
  for (const batch of batches) {
    const { replica, incarnation, seq } = decodeBatch(batch).header;
    const name = `${replica} ${incarnation} ${String(seq)}`;
    times.set(name, (times.get(name) ?? 0) + 1);
  }
  return [...times.values()];
}

test("five peers with the same bring each batch once between them", async () => {
  const { nodes, clock } = await createNodes(6);
  const [newcomer, ...others] = nodes as [Node, ...Node[]];
  for (const [i, a] of others.entries()) for (const b of others.slice(i + 1)) link(a, b);
  for (let round = 0; round < 40; round++) {
    for (const node of others) await node.put(`key-${String(round)}`, String(node.n));
  }
  await pass(others, clock, 40);
  expect(converged(others)).toBe(true);
  const links = others.map((other) => link(newcomer, other));
  await pass(nodes, clock, 60);
  expect(converged(nodes)).toBe(true);
  expect(contentOf(newcomer)).toEqual(contentOf(others[0] as Node));
  const times = timesSent(links);
  expect(times).toHaveLength(200);
  expect(Math.max(...times)).toBe(1);
});

test("a peer that was asked first and says nothing keeps the others back for moments only", async () => {
  const clock = createVirtualClock(START_MS);
  const space = spaceOf([0, 1, 2]);
  const [newcomer, honest] = (await Promise.all(
    [0, 1].map(async (n) => createNode(n, { space, clock })),
  )) as [Node, Node];
  for (let i = 0; i < 5; i++) await honest.put(`key-${String(i)}`, "value");
  const silent = face(newcomer, 2);
  const [hello] = silent.sent.messages;
  if (hello?.type !== "hello") throw new Error("no hello");
  const heads = honest.replica.heads().map(({ replica, incarnation, seq, hash }) => ({
    replica,
    incarnation,
    seq,
    hash: hash.slice(0, 32),
  }));
  await silent.channel.send(encodeMessage({ ...hello, digest: new Uint8Array(16) }));
  await silent.channel.send(encodeMessage({ type: "have", heads }));
  await settle();
  expect(silent.sent.messages.map(({ type }) => type)).toContain("pull");
  link(newcomer, honest);
  await pass([newcomer, honest], clock, 10);
  expect(frontierOf(newcomer)).not.toBe(frontierOf(honest));
  await pass([newcomer, honest], clock, 60);
  expect(frontierOf(newcomer)).toBe(frontierOf(honest));
});
