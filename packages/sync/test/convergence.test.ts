// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whatever is written wherever, whatever is cut and lost, nodes that are connected again become equal.
 * Method: seeded random meshes, writes, cuts and losses over real replicas; then all links up and a bounded time.
 */
import { createVirtualClock, createSeededRandom } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import { COMPARE_AT_LEAST_EVERY_MS } from "@ctxmesh/sync";
import { describe, expect, test } from "vitest";
import { TICK_MS, contentOf, converged, createNode, link, pass, settle, spaceOf } from "./mesh.ts";
import type { Link, Node } from "./mesh.ts";

const STEPS = 40;
/** Ticks within which everything must be repaired: two comparisons, and a while for each hop. */
const HEAL_TICKS = (2 * COMPARE_AT_LEAST_EVERY_MS) / TICK_MS;

type Edge = readonly [from: number, to: number];
type Pick = (below: number) => number;

const SHAPES: Readonly<Record<string, (n: number) => Edge[]>> = {
  line: (n) => range(n - 1).map((i) => [i, i + 1]),
  ring: (n) => range(n).map((i) => [i, (i + 1) % n]),
  "star with a hub": (n) => range(n - 1).map((i) => [0, i + 1]),
  "full mesh": (n) => range(n).flatMap((i) => range(i).map((j): Edge => [j, i])),
  "full mesh that gossips": (n) => range(n).flatMap((i) => range(i).map((j): Edge => [j, i])),
};

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

function pickerOf(seed: number): Pick {
  const random = createSeededRandom(seed);
  return (below) => {
    const [a = 0, b = 0] = random.bytes(2);
    return (a * 256 + b) % below;
  };
}

interface World {
  readonly nodes: Node[];
  readonly clock: VirtualClock;
  readonly edges: readonly Edge[];
  readonly links: Map<Edge, Link>;
  writes: number;
}

/** Gossip that loses a third of its messages on the way to each node. */
function lossy(world: World, self: number, pick: Pick) {
  return {
    active: () => true,
    publish: async (batch: Uint8Array) => {
      for (const { n, sync } of world.nodes) {
        if (n !== self && pick(3) > 0) await sync.receiveBroadcast(batch.slice());
      }
    },
  };
}

async function createWorld(shape: string, pick: Pick): Promise<World> {
  const count = 2 + pick(5);
  const clock = createVirtualClock(Date.UTC(2026, 0, 1));
  const edges = SHAPES[shape]?.(count) ?? [];
  const world: World = { nodes: [], clock, edges, links: new Map(), writes: 0 };
  const space = spaceOf(range(count));
  for (const n of range(count)) {
    const role = shape === "star with a hub" && n === 0 ? "hub" : "agent";
    const gossips = shape === "full mesh that gossips";
    const broadcast = gossips ? { broadcast: lossy(world, n, pick) } : {};
    world.nodes.push(await createNode(n, { role, space, clock, ...broadcast }));
  }
  return world;
}

function attach({ nodes, links }: World, edge: Edge): void {
  const [a, b] = edge.map((n) => nodes[n]);
  if (a !== undefined && b !== undefined) links.set(edge, link(a, b));
}

/** One thing happens: a write, a cut, a link, or time passes; then none, some or all of what follows from it. */
async function act(world: World, pick: Pick): Promise<void> {
  const { nodes, edges, links } = world;
  const edge = edges[pick(edges.length)] ?? [0, 1];
  const what = pick(10);
  if (what < 5) {
    const writer = nodes[pick(nodes.length)];
    const key = `key-${String(pick(8))}`;
    void writer?.put(key, `${String(writer.n)}: ${String(world.writes++)}`);
  } else if (what < 8) {
    links.get(edge)?.cut();
    if (!links.delete(edge)) attach(world, edge);
  } else {
    world.clock.advance(pick(2 * TICK_MS));
    for (const { sync } of nodes) sync.tick();
  }
  const turns = pick(60);
  if (turns < 10) await settle();
  for (let i = 10; i < turns; i++) await Promise.resolve();
}

describe.each(Object.keys(SHAPES))("%s", (shape) => {
  test.each(range(12))("converges after faults, seed %i", async (seed) => {
    const pick = pickerOf(seed * 31 + shape.length);
    const world = await createWorld(shape, pick);
    for (const edge of world.edges) if (pick(2) === 0) attach(world, edge);
    for (let i = 0; i < STEPS; i++) await act(world, pick);
    for (const edge of world.edges) if (!world.links.has(edge)) attach(world, edge);
    await settle();
    for (let i = 0; i < HEAL_TICKS && !converged(world.nodes); i++) {
      await pass(world.nodes, world.clock, 1);
    }
    const [first, ...others] = world.nodes.map(contentOf);
    for (const other of others) expect(other).toEqual(first);
    const written = world.nodes.map(({ replica }) =>
      replica.seqOf(replica.device, replica.incarnation),
    );
    expect(written.some((seq) => seq > 0)).toBe(world.writes > 0);
    for (const { log } of world.nodes) {
      expect(log.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
    }
  });
});
