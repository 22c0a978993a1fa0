// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: agents of which some gossip and some push get everything of each other, large batches as well as small ones.
 * Method: eighteen real nodes on loopback in three processes, every other one with a low bound for gossip.
 */
import { randomBytes } from "node:crypto";
import { LIMITS } from "@ctxmesh/model";
import { expect, test, vi } from "vitest";
import { Crew } from "../../scripts/attacks/crew.ts";
import { agree, numbers, until } from "../../scripts/attacks/scene.ts";

vi.setConfig({ testTimeout: 300_000 });

const COUNT = 18;
const GOSSIP_ABOVE = 2;
const BOUND_MS = 120_000;
/** Each knows so many of those that were started before it. */
const KNOWN = 3;

test("eighteen agents on two carriers get every batch of every other", async () => {
  const nodes = numbers(0, COUNT);
  await using crew = new Crew({ startMs: Date.now(), agents: nodes, hubs: [] });
  crew.houseAll(nodes);
  const addresses: string[] = [];
  for (const n of nodes) {
    const gossipAbove = { gossipAbove: n % 2 === 0 ? GOSSIP_ABOVE : COUNT };
    const [address = ""] = await crew.startNode(n, {
      peers: addresses.slice(-KNOWN),
      ...gossipAbove,
    });
    addresses.push(address);
  }
  await until("each has its peers", BOUND_MS, async () => {
    const all = await Promise.all(nodes.map(async (n) => crew.status(n)));
    return all.every(({ peers }) => peers.length > KNOWN);
  });
  const all = await Promise.all(nodes.map(async (n) => crew.status(n)));
  expect(all.map(({ gossips }) => gossips)).toEqual(nodes.map((n) => n % 2 === 0));
  const large = randomBytes(2 * LIMITS.gossipBytes).toString("base64");
  for (const n of nodes) {
    await crew.put(n, `small-${String(n)}`, "value");
    await crew.put(n, `large-${String(n)}`, large);
  }
  await until("all have everything", BOUND_MS, async () => agree(crew, nodes));
  for (const { accepted } of await Promise.all(nodes.map(async (n) => crew.status(n)))) {
    expect(accepted).toBe(2 * (COUNT - 1));
  }
});
