// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: membership acts and proofs of equivocation reach everybody, and then everybody has the same content.
 * Method: real replicas; partitions, revocations and forked chains; properties over where a chain forks.
 */
import { DEFAULT_GRANT_MS, revokeDevice } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, parseDeviceKey, parseHeaderHash, parseIncarnationId, toHex } from "@ctxmesh/model";
import { COMPARE_AT_LEAST_EVERY_MS } from "@ctxmesh/sync";
import type { SyncMessage } from "@ctxmesh/sync";
import { createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { adopt, batchesOf, createCopy, fork, grantAt, receiveAll, revokeAt } from "./members.ts";
import {
  DOC,
  START_MS,
  TICK_MS,
  contentOf,
  converged,
  createNode,
  createNodes,
  creator,
  deviceOf,
  link,
  pass,
  settle,
  spaceOf,
} from "./mesh.ts";
import type { Link, Node } from "./mesh.ts";

const typesOf = (messages: readonly SyncMessage[]): string[] => messages.map(({ type }) => type);
const sentBy = ({ sent }: Link): SyncMessage[] => sent.flatMap(({ messages }) => messages);
const HEAL_TICKS = (2 * COMPARE_AT_LEAST_EVERY_MS) / TICK_MS;

/** Ticks until the nodes are equal; fails if they never are. */
async function heal(
  nodes: readonly Node[],
  clock: ReturnType<typeof createVirtualClock>,
): Promise<number> {
  await settle();
  let ticks = 0;
  for (; ticks < HEAL_TICKS && !converged(nodes); ticks++) await pass(nodes, clock, 1);
  expect(converged(nodes)).toBe(true);
  const [first, ...others] = nodes.map(contentOf);
  for (const other of others) expect(other).toEqual(first);
  return ticks;
}

describe("membership acts", () => {
  test("a new grant is pushed at once, through nodes in between, and what its device wrote follows", async () => {
    const clock = createVirtualClock(START_MS);
    const space = spaceOf([0, 1, 2]);
    const nodes = await Promise.all([0, 1, 2].map((n) => createNode(n, { space, clock })));
    const [a, b, c] = nodes as [Node, Node, Node];
    const [near, far] = [link(a, b), link(b, c)];
    await settle();
    await grantAt(a, 3, START_MS);
    await settle();
    expect(c.replica.recordsDigest()).toEqual(a.replica.recordsDigest());
    expect(typesOf(sentBy(near))).toEqual(["hello", "acts", "hello"]);
    expect(typesOf(sentBy(far))).toEqual(["hello", "acts", "hello"]);
    const d = await createNode(3, { space: a.replica.space, clock });
    await d.put("key", "new");
    link(c, d);
    await heal([...nodes, d], clock);
    expect(a.replica.get(DOC, "key")?.value).toBe("new");
  });

  test("are pushed once each, alone", async () => {
    const { nodes } = await createNodes(2);
    const [a, b] = nodes as [Node, Node];
    const { sent } = link(a, b);
    await settle();
    for (let n = 0; n < 3; n++) {
      await grantAt(a, 3 + n, START_MS);
      await settle();
    }
    const pushed = sent[0].messages.flatMap((of) => (of.type === "acts" ? [of.acts.length] : []));
    expect(pushed).toEqual([1, 1, 1]);
  });

  test("two that learned different acts while parted tell each other once connected, before they pull", async () => {
    const { nodes, clock } = await createNodes(2);
    const [a, b] = nodes as [Node, Node];
    await grantAt(a, 2, START_MS);
    await grantAt(b, 3, START_MS);
    const [c, d] = [
      await createNode(2, { space: a.replica.space, clock }),
      await createNode(3, { space: b.replica.space, clock }),
    ];
    const [ofC, ofD] = [batchesOf(c), batchesOf(d)];
    await c.put("key", "c");
    await d.put("key", "d");
    expect(await receiveAll(a, ofC)).toEqual(["accepted"]);
    expect(await receiveAll(b, ofD)).toEqual(["accepted"]);
    expect(await receiveAll(b, ofC)).toEqual(["refused"]);
    const connection = link(a, b);
    expect(await heal(nodes, clock)).toBe(0);
    for (const { messages } of connection.sent) {
      const types = typesOf(messages);
      expect(types.slice(0, 2)).toEqual(["hello", "records"]);
      expect(types.indexOf("pull")).toBeGreaterThan(types.indexOf("acts"));
    }
    await pass(nodes, clock, 2 * (COMPARE_AT_LEAST_EVERY_MS / TICK_MS));
    expect(nodes.flatMap(({ sync }) => sync.peers().map(({ inSync }) => inSync))).toEqual([
      true,
      true,
    ]);
  });

  test.each(["before", "after"])(
    "more of them than a message holds arrive in pages, if they were there %s connecting",
    async (when) => {
      const clock = createVirtualClock(START_MS);
      const space = spaceOf([0, 1]);
      const large = withLargeActs(space, 45);
      const a = await createNode(0, { space: when === "before" ? large : space, clock });
      const b = await createNode(1, { space, clock });
      const { sent } = link(a, b);
      await settle();
      if (when === "after") await adopt(a, large);
      await heal([a, b], clock);
      expect(b.replica.recordIds().acts).toHaveLength(space.acts.length + 45);
      const pages = sent[0].messages.filter(({ type }) => type === "acts");
      expect(pages.map((page) => page.type === "acts" && page.more)).toEqual([true, false]);
    },
  );
});

/** The space with revocations of devices that nobody knows, of 30,000 bytes each. */
function withLargeActs(space: Space, count: number): Space {
  const random = createSeededRandom(5);
  const id = (length: number): string => toHex(random.bytes(length));
  const heads = Array.from({ length: LIMITS.headsPerRevocation }, () => ({
    incarnation: parseIncarnationId(id(16)),
    seq: 1,
    hash: parseHeaderHash(id(32)),
  }));
  return Array.from({ length: count }, () => parseDeviceKey(id(32))).reduce(
    (acts, device) => revokeDevice(acts, creator, { device, heads, reason: "", now: START_MS }),
    space,
  );
}

test("a session is closed when the device's grant has ended and the grace is over, though nothing was said", async () => {
  const { nodes, clock } = await createNodes(2);
  const [a, b] = nodes as [Node, Node];
  const { ended } = link(a, b);
  await settle();
  await pass(nodes, clock, 1, DEFAULT_GRANT_MS + LIMITS.grantGraceMs - 60_000);
  expect(a.sync.peers()).toHaveLength(1);
  await pass(nodes, clock, 1, 60_000);
  await ended;
  expect(a.sync.peers()).toEqual([]);
});

describe("a revocation", () => {
  test("reaches the other side of a partition, which lets go of what does not stand", async () => {
    const { nodes, clock } = await createNodes(3);
    const [a, b, c] = nodes as [Node, Node, Node];
    const links = [link(a, b), link(b, c)];
    await c.put("kept", "1");
    await pass(nodes, clock, 2);
    links[0]?.cut();
    await settle();
    await revokeAt(a, 2, clock.now());
    await c.put("void", "2");
    await b.put("beside", "3");
    await pass(nodes, clock, 2);
    expect(b.replica.get(DOC, "void")?.value).toBe("2");
    link(a, b);
    await heal([a, b], clock);
    expect(b.replica.get(DOC, "void")).toBeUndefined();
    expect(b.replica.get(DOC, "kept")?.value).toBe("1");
    expect(b.replica.get(DOC, "beside")?.value).toBe("3");
    expect(a.replica.get(DOC, "beside")?.value).toBe("3");
  });

  test("closes the sessions of the device after telling it why", async () => {
    const { nodes, clock } = await createNodes(2);
    const [a, b] = nodes as [Node, Node];
    const { ended } = link(a, b);
    await settle();
    await revokeAt(a, 1, clock.now());
    await ended;
    expect(a.sync.peers()).toEqual([]);
    expect(b.replica.space.revocations.has(b.replica.device)).toBe(true);
    expect(a.log.at(-1)).toMatchObject({
      event: "peer.disconnected",
      fields: { reason: "the device is not welcome in this space" },
    });
    await link(a, b).ended;
    expect(a.log.at(-1)).toMatchObject({ event: "peer.turned-away" });
  });

  test("does not stop what others wrote after what is void now: its header is fetched", async () => {
    const { nodes, clock } = await createNodes(4);
    const [a, b, c, d] = nodes as [Node, Node, Node, Node];
    const bd = link(b, d);
    const bc = link(b, c);
    await pass(nodes, clock, 2);
    // d writes, c has seen it, and goes on from there; a, who revokes d, never hears of d's batch.
    await d.put("void", "1");
    await pass(nodes, clock, 2);
    await c.put("after", "2");
    await pass(nodes, clock, 2);
    bd.cut();
    bc.cut();
    await revokeAt(a, 3, clock.now());
    const { sent } = link(a, b);
    await heal([a, b], clock);
    expect(a.replica.get(DOC, "after")?.value).toBe("2");
    expect(a.replica.get(DOC, "void")).toBeUndefined();
    expect(typesOf(sent[0].messages)).toContain("want");
    expect(typesOf(sent[1].messages)).toContain("headers");
    expect(a.replica.counters().held).toBe(0);
  });
});

/** Two nodes that took different branches of device 9's chain, connected. */
async function createForked(shape: readonly [common: number, left: number, right: number]) {
  const clock = createVirtualClock(START_MS);
  const space = spaceOf([0, 1, 2, 9]);
  const nodes = await Promise.all([0, 1].map((n) => createNode(n, { space, clock })));
  const [a, b] = nodes as [Node, Node];
  const branches = await fork(9, { space, clock }, shape);
  expect(new Set(await receiveAll(a, branches[0])).size).toBeLessThanOrEqual(1);
  expect(new Set(await receiveAll(b, branches[1])).size).toBeLessThanOrEqual(1);
  const connection = link(a, b);
  const ticks = await heal([a, b], clock);
  return { a, b, branches, connection, clock, ticks };
}

const pulled = (connection: Link): number =>
  sentBy(connection).reduce(
    (sum, message) => sum + (message.type === "batches" ? message.batches.length : 0),
    0,
  );

describe("a forked chain", () => {
  test("wherever it forks and however long the branches are, both ends keep just what is before", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(fc.nat(12), fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20 })),
        async (shape) => {
          const [common] = shape;
          const { a, b } = await createForked(shape);
          for (const { replica } of [a, b]) {
            const [evidence] = replica.evidence();
            expect(evidence).toMatchObject({ replica: deviceOf(9).key, seq: common + 1 });
            const of9 = replica.heads().filter((head) => head.replica === deviceOf(9).key);
            expect(of9.map(({ seq }) => seq)).toEqual(common === 0 ? [] : [common]);
          }
        },
      ),
      { numRuns: 60 },
    );
  }, 60_000);

  test("a thousand batches deep is found with a few dozen of them, and nobody is blamed", async () => {
    const { a, b, connection, clock } = await createForked([300, 1_000, 1_000]);
    expect(a.replica.evidence()).toMatchObject([{ seq: 301 }]);
    expect(pulled(connection)).toBeLessThan(100);
    await pass([a, b], clock, 20, COMPARE_AT_LEAST_EVERY_MS);
    expect([a, b].map(({ sync }) => sync.peers().map(({ inSync }) => inSync))).toEqual([
      [true],
      [true],
    ]);
    for (const { log } of [a, b]) expect(log.filter(({ level }) => level === "warn")).toEqual([]);
  });

  test("is pushed as a proof to those who never saw the other branch", async () => {
    const { a, branches, clock } = await createForked([3, 4, 5]);
    const c = await createNode(2, { space: a.replica.space, clock });
    await receiveAll(c, branches[0]);
    link(a, c);
    await heal([a, c], clock);
    expect(c.replica.evidence()).toMatchObject([{ seq: 4 }]);
  });

  test("of an agent that runs twice ends with everything that both have written, in new incarnations", async () => {
    const clock = createVirtualClock(START_MS);
    const space = spaceOf([0, 9]);
    const hub = await createNode(0, { role: "hub", space, clock });
    const copies = [
      await createCopy(9, 1, { space, clock }),
      await createCopy(9, 2, { space, clock }),
    ] as const;
    const before = copies.map(({ replica }) => replica.incarnation);
    expect(before[0]).toBe(before[1]);
    for (const [i, copy] of copies.entries()) {
      for (let k = 0; k < 3; k++) await copy.put(`key-${String(i)}-${String(k)}`, "value");
      link(copy, hub);
      await pass([hub, ...copies], clock, 1);
    }
    await pass([hub, ...copies], clock, 3, 1_000);
    for (const copy of copies) await copy.put("later", "value");
    await heal([hub, ...copies], clock);
    const keys = hub.replica.list({ doc: DOC }).map(({ key }) => key);
    expect(keys).toHaveLength(7);
    expect(copies.some(({ replica }) => replica.incarnation === before[0])).toBe(false);
  });
});
