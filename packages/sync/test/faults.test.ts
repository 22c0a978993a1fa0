// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whoever is revoked, granted or forked wherever and whenever, those who stay become equal.
 * Method: seeded random histories of writes, cuts, grants, revocations and forked chains over real replicas; then
 * all links up among those who may stay, and a bounded time.
 */
import { COMPARE_AT_LEAST_EVERY_MS } from "@ctxmesh/sync";
import { createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { fork, grantAt, receiveAll, revokeAt } from "./members.ts";
import {
  START_MS,
  TICK_MS,
  contentOf,
  converged,
  createNode,
  deviceOf,
  link,
  pass,
  settle,
  spaceOf,
} from "./mesh.ts";
import type { Link, Node } from "./mesh.ts";

const STEPS = 40;
const HEAL_TICKS = (3 * COMPARE_AT_LEAST_EVERY_MS) / TICK_MS;
/** Nodes that stay, and those that may be revoked. */
const STAYING = [0, 1, 2];
const LEAVING = [3, 4];
/** Devices of which there are copies. */
const FORKING = [10, 11, 12];
const ALL = [...STAYING, ...LEAVING];

type Pick = (below: number) => number;

function pickerOf(seed: number): Pick {
  const random = createSeededRandom(seed);
  return (below) => {
    const [a = 0, b = 0] = random.bytes(2);
    return (a * 256 + b) % below;
  };
}

interface World {
  readonly nodes: readonly Node[];
  readonly clock: VirtualClock;
  readonly links: Map<string, Link>;
  readonly branches: readonly (readonly (readonly Uint8Array[])[])[];
  writes: number;
}

async function createWorld(pick: Pick): Promise<World> {
  const clock = createVirtualClock(START_MS);
  const space = spaceOf([...ALL, ...FORKING]);
  const nodes: Node[] = [];
  for (const n of ALL) {
    nodes.push(await createNode(n, { role: n === 0 ? "hub" : "agent", space, clock }));
  }
  const branches = await Promise.all(
    FORKING.map(async (n) => fork(n, { space, clock }, [pick(6), 1 + pick(9), 1 + pick(9)])),
  );
  return { nodes, clock, links: new Map(), branches, writes: 0 };
}

const nodeAt = ({ nodes }: World, n: number): Node => nodes[n] as Node;

function toggle(world: World, a: number, b: number): void {
  const name = `${String(Math.min(a, b))}-${String(Math.max(a, b))}`;
  world.links.get(name)?.cut();
  if (!world.links.delete(name)) world.links.set(name, link(nodeAt(world, a), nodeAt(world, b)));
}

/** A copy of a device gives somebody the beginning of its branch. */
async function misbehave({ branches, nodes }: World, pick: Pick): Promise<void> {
  const branch = branches[pick(branches.length)]?.[pick(2)] ?? [];
  await receiveAll(nodes[pick(nodes.length)] as Node, branch.slice(0, 1 + pick(branch.length)));
}

async function act(world: World, pick: Pick): Promise<void> {
  const node = nodeAt(world, pick(ALL.length));
  const what = pick(20);
  if (what < 8) {
    const value = String(world.writes++);
    void node.put(`key-${String(pick(8))}`, value).catch(() => undefined);
  } else if (what < 12) {
    const other = nodeAt(world, (node.n + 1 + pick(ALL.length - 1)) % ALL.length);
    toggle(world, node.n, other.n);
  } else if (what < 15) {
    await misbehave(world, pick);
  } else if (what < 16) {
    const device = [...LEAVING, ...FORKING][pick(5)] ?? 3;
    // Not awaited: a replica may put records off until time passes.
    if (!LEAVING.includes(node.n)) void revokeAt(node, device, world.clock.now());
  } else if (what < 17) {
    void grantAt(node, 100 + pick(50), world.clock.now());
  } else {
    await pass(world.nodes, world.clock, 1 + pick(3));
  }
  const turns = pick(60);
  if (turns < 10) await settle();
  for (let i = 10; i < turns; i++) await Promise.resolve();
}

/** The nodes that nobody has revoked. */
function remaining({ nodes }: World): readonly Node[] {
  const gone = new Set(nodes.flatMap(({ replica }) => [...replica.space.revocations.keys()]));
  return nodes.filter(({ n }) => !gone.has(deviceOf(n).key));
}

describe.each(Array.from({ length: 60 }, (_, seed) => seed))("history %i", (seed) => {
  test("ends with equal nodes", async () => {
    const pick = pickerOf(seed * 97 + 13);
    const world = await createWorld(pick);
    for (let i = 0; i < STEPS; i++) await act(world, pick);
    await settle();
    for (const { cut } of world.links.values()) cut();
    await pass(world.nodes, world.clock, 5, 1_000);
    const nodes = remaining(world);
    for (const [i, a] of nodes.entries()) for (const b of nodes.slice(0, i)) link(a, b);
    await settle();
    for (let i = 0; i < HEAL_TICKS && !converged(nodes); i++) await pass(nodes, world.clock, 1);
    expect(converged(nodes)).toBe(true);
    const [first, ...others] = nodes.map(contentOf);
    for (const other of others) expect(other).toEqual(first);
    await pass(nodes, world.clock, (2 * COMPARE_AT_LEAST_EVERY_MS) / TICK_MS);
    for (const { sync } of nodes) {
      expect(sync.peers().map(({ inSync }) => inSync)).toEqual(nodes.slice(1).map(() => true));
    }
    for (const { log } of nodes) {
      const bad = log.filter(({ level }) => level === "warn" || level === "error");
      expect(bad.filter(({ event }) => !event.startsWith("replica."))).toEqual([]);
    }
  });
});
