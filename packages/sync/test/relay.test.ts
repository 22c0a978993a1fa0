// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a batch reaches every node by one push each, over as many links as it takes; what changes in between is repaired.
 * Method: random connected graphs of real replicas on a virtual clock, and a count of what is sent over each link.
 */
import { LATE_MS } from "@ctxmesh/sync";
import type { SyncMessage } from "@ctxmesh/sync";
import { createSeededRandom } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { TICK_MS, contentOf, converged, createNodes, link, pass, settle } from "./mesh.ts";
import type { Link, Node } from "./mesh.ts";

/** Ticks in which news has gone everywhere and everybody has said what it wants of whom. */
const LEARNING = 100;

type Pick = (below: number) => number;

function pickerOf(seed: number): Pick {
  const random = createSeededRandom(seed);
  return (below) => {
    const [a = 0, b = 0] = random.bytes(2);
    return (a * 256 + b) % below;
  };
}

/** The edges of a random tree over all nodes, and some more. */
function randomGraph(count: number, pick: Pick): (readonly [number, number])[] {
  const edges = new Map<string, readonly [number, number]>();
  const add = (a: number, b: number): void => {
    if (a !== b) edges.set(`${String(Math.min(a, b))}-${String(Math.max(a, b))}`, [a, b]);
  };
  for (let n = 1; n < count; n++) add(n, pick(n));
  for (let more = pick(2 * count); more > 0; more--) add(pick(count), pick(count));
  return [...edges.values()];
}

interface Mesh {
  readonly nodes: readonly Node[];
  readonly clock: Awaited<ReturnType<typeof createNodes>>["clock"];
  readonly links: Map<string, { readonly ends: readonly [number, number]; readonly link: Link }>;
}

async function createMesh(
  count: number,
  edges: readonly (readonly [number, number])[],
): Promise<Mesh> {
  const { nodes, clock } = await createNodes(count);
  const mesh: Mesh = { nodes, clock, links: new Map() };
  for (const edge of edges) connect(mesh, edge);
  await settle();
  return mesh;
}

function connect({ nodes, links }: Mesh, ends: readonly [number, number]): void {
  const [a, b] = ends.map((n) => nodes[n]);
  if (a !== undefined && b !== undefined) links.set(ends.join("-"), { ends, link: link(a, b) });
}

/** What was sent to each node since the last call. */
function received({ nodes, links }: Mesh): readonly SyncMessage[][] {
  const all = nodes.map((): SyncMessage[] => []);
  for (const { ends, link: between } of links.values()) {
    for (const [i, end] of ends.toReversed().entries()) {
      all[end]?.push(...(between.sent[i]?.messages.splice(0) ?? []));
    }
  }
  return all;
}

const countOf = (messages: readonly SyncMessage[], type: SyncMessage["type"]): number =>
  messages.filter((message) => message.type === type).length;

async function writeAll({ nodes }: Mesh, round: number): Promise<void> {
  for (const node of nodes) await node.put(`key-${String(node.n)}`, String(round));
}

describe("a graph that stays as it is", () => {
  test.each([3, 5, 8, 13, 21, 30])(
    "of %i nodes: once each has heard of each, a write is everywhere after one push to each node and before any time has passed",
    async (count) => {
      const pick = pickerOf(count);
      const mesh = await createMesh(count, randomGraph(count, pick));
      await writeAll(mesh, 0);
      await pass(mesh.nodes, mesh.clock, LEARNING);
      expect(converged(mesh.nodes)).toBe(true);
      for (const writer of mesh.nodes) {
        received(mesh);
        await writer.put("key", "again");
        await settle();
        expect(converged(mesh.nodes)).toBe(true);
        const got = received(mesh).map((messages) => messages.map(({ type }) => type));
        expect(got).toEqual(mesh.nodes.map((node) => (node === writer ? [] : ["push"])));
      }
    },
    60_000,
  );

  test.each([
    ["a line", 7, (n: number) => [n, n + 1] as const, 6],
    ["a ring", 7, (n: number) => [n, (n + 1) % 7] as const, 7],
  ])("%s passes a write on to its far end before any time has passed", async (...given) => {
    const [, count, edgeOf, edges] = given;
    const mesh = await createMesh(
      count,
      Array.from({ length: edges }, (_, n) => edgeOf(n)),
    );
    await writeAll(mesh, 0);
    await pass(mesh.nodes, mesh.clock, LEARNING);
    await mesh.nodes[0]?.put("key", "value");
    await settle();
    expect(converged(mesh.nodes)).toBe(true);
  });

  test("peers that hear a writer by themselves name its batches to each other late, and only once", async () => {
    const count = 6;
    const edges = randomPairs(count);
    const mesh = await createMesh(count, edges);
    await writeAll(mesh, 0);
    await pass(mesh.nodes, mesh.clock, LEARNING);
    received(mesh);
    const rounds = 2 * (LATE_MS / TICK_MS);
    for (let round = 0; round < rounds; round++) {
      await writeAll(mesh, round);
      await pass(mesh.nodes, mesh.clock, 1);
    }
    const got = received(mesh);
    for (const messages of got) {
      expect(countOf(messages, "push")).toBe(rounds * (count - 1));
      // One from each peer each time that news are due, and not on each tick.
      expect(countOf(messages, "have")).toBeLessThanOrEqual(3 * (count - 1));
      expect(countOf(messages, "pull")).toBe(0);
    }
  });
});

const randomPairs = (count: number): (readonly [number, number])[] =>
  Array.from({ length: count }, (_, b) =>
    Array.from({ length: b }, (_unused, a) => [a, b] as const),
  ).flat();

describe("a graph that changes", () => {
  test.each([1, 2, 3, 4, 5, 6])("delivers everything all the same, seed %i", async (seed) => {
    const pick = pickerOf(seed);
    const count = 4 + pick(9);
    const edges = randomGraph(count, pick);
    const mesh = await createMesh(count, edges);
    for (let step = 0; step < 60; step++) {
      const writer = mesh.nodes[pick(count)];
      await writer?.put("key", String(step));
      const edge = edges[pick(edges.length)];
      const name = edge?.join("-") ?? "";
      const between = mesh.links.get(name);
      if (edge !== undefined && pick(3) === 0) {
        between?.link.cut();
        if (!mesh.links.delete(name)) connect(mesh, edge);
      }
      await pass(mesh.nodes, mesh.clock, pick(12));
    }
    for (const edge of edges) if (!mesh.links.has(edge.join("-"))) connect(mesh, edge);
    await settle();
    for (let i = 0; i < 400 && !converged(mesh.nodes); i++) await pass(mesh.nodes, mesh.clock, 1);
    const [first, ...others] = mesh.nodes.map(contentOf);
    for (const other of others) expect(other).toEqual(first);
    for (const { replica } of mesh.nodes) {
      const { received: all, accepted, duplicate } = replica.counters();
      expect(accepted + duplicate).toBe(all);
    }
  });

  test("who passes batches on and goes is replaced by whoever has them, within two batches", async () => {
    // Two ways from the writer, 0, to the reader, 3.
    const mesh = await createMesh(4, [
      [0, 1],
      [0, 2],
      [1, 3],
      [2, 3],
    ]);
    const [writer, , , reader] = mesh.nodes as [Node, Node, Node, Node];
    await writer.put("key", "first");
    await pass(mesh.nodes, mesh.clock, LEARNING);
    received(mesh);
    await writer.put("key", "second");
    await settle();
    const used = mesh.links.get("1-3")?.link.sent[0].messages.length === 1 ? "1-3" : "2-3";
    mesh.links.get(used)?.link.cut();
    mesh.links.delete(used);
    await settle();
    for (const value of ["third", "fourth"]) {
      await writer.put("key", value);
      await pass(mesh.nodes, mesh.clock, 2 * (LATE_MS / TICK_MS));
      expect(contentOf(reader)).toEqual(contentOf(writer));
    }
    await writer.put("key", "fifth");
    await settle();
    expect(contentOf(reader)).toEqual(contentOf(writer));
  });
});
