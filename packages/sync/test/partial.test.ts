// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a node with a subscription has every header and the bodies that it wants, costs its peers only those, takes nothing from nodes that
 * want everything, and gets the rest when it asks.
 */
import { decodeBatch, encodeBatch } from "@ctxmesh/codec";
import { parseDocumentName, parseHeaderHash } from "@ctxmesh/model";
import type { Subscription } from "@ctxmesh/model";
import type { OmittedSection } from "@ctxmesh/replica";
import { encodeMessage } from "@ctxmesh/sync";
import type { SyncMessage } from "@ctxmesh/sync";
import { createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import {
  START_MS,
  contentOf,
  createNode,
  face,
  frontierOf,
  link,
  pass,
  settle,
  spaceOf,
} from "./mesh.ts";
import type { Link, Node } from "./mesh.ts";

const [A, B] = [parseDocumentName("a/1"), parseDocumentName("b/1")];
const ONLY_A: Subscription = { docs: ["a/"] };

/** A hub, two full agents and one that wants documents under `a/`, not connected yet. */
async function scene(
  subscription: Subscription = ONLY_A,
): Promise<{ clock: VirtualClock; hub: Node; one: Node; two: Node; partial: Node }> {
  const clock = createVirtualClock(START_MS);
  const common = { space: spaceOf([0, 1, 2, 3]), clock };
  return {
    clock,
    hub: await createNode(0, { ...common, role: "hub" }),
    one: await createNode(1, common),
    two: await createNode(2, common),
    partial: await createNode(3, { ...common, subscription }),
  };
}

const write = async ({ replica }: Node, count: number): Promise<void> => {
  for (let n = 0; n < count; n++) {
    await replica.put(A, [{ key: `k${String(n)}`, value: n }]);
    await replica.put(B, [{ key: `k${String(n)}`, value: "x".repeat(500) + String(n) }]);
  }
};

const factsIn = ({ replica }: Node, doc: string): unknown =>
  replica.list({ doc }).map(({ key, value }) => [key, value]);

const bodiesIn = (sent: Link["sent"][number]): readonly (Uint8Array | null)[] =>
  sent.messages.flatMap((message) => {
    if (message.type === "push") return decodeBatch(message.batch).bodies;
    return message.type === "batches"
      ? message.batches.flatMap((batch) => decodeBatch(batch).bodies)
      : [];
  });

async function omittedAt({ replica }: Node): Promise<readonly OmittedSection[]> {
  const found: OmittedSection[] = [];
  for await (const section of replica.omitted.sections()) found.push(section);
  return found;
}

const blamed = ({ log }: Node): readonly unknown[] =>
  log.filter(({ event, fields }) => event === "peer.violation" || fields?.["blamed"] === true);

describe("a node with a subscription", () => {
  test("gets every header, the bodies that it wants, and no others; pushed and pulled", async () => {
    const { clock, one, partial } = await scene();
    await write(one, 5);
    const { sent } = link(one, partial);
    await pass([one, partial], clock, 20);
    await write(one, 5);
    await pass([one, partial], clock, 20);
    expect(frontierOf(partial)).toBe(frontierOf(one));
    expect(factsIn(partial, A)).toEqual(factsIn(one, A));
    expect(factsIn(partial, B)).toEqual([]);
    const bodies = bodiesIn(sent[0]);
    expect(bodies.filter((body) => body === null)).toHaveLength(10);
    expect(bodies.filter((body) => body !== null)).toHaveLength(10);
    expect(one.sync.peers()).toMatchObject([{ inSync: true }]);
    expect(partial.sync.peers()).toMatchObject([{ inSync: true }]);
    expect(partial.replica.omitted.summary()).toMatchObject({ documents: 1, sections: 10 });
    expect(
      partial.replica.list({ doc: A }).every(({ incomplete }) => incomplete === undefined),
    ).toBe(true);
  });

  test("gives what it wrote itself to all, and gets it back whole", async () => {
    const { clock, hub, one, partial } = await scene();
    link(partial, hub);
    await write(partial, 3);
    await pass([partial, hub], clock, 20);
    expect(contentOf(hub)).toEqual(contentOf(partial));
    const again = await createNode(3, { space: hub.replica.space, clock, subscription: ONLY_A });
    link(hub, again);
    link(hub, one);
    await pass([hub, one, again], clock, 40);
    expect(contentOf(again)).toEqual(contentOf(hub));
    expect(contentOf(one)).toEqual(contentOf(hub));
  });

  test("costs a full node nothing: what it lacks is had from others, and nobody is blamed", async () => {
    const { clock, hub, one, two, partial } = await scene();
    await write(one, 5);
    const first = link(one, partial);
    await pass([one, partial], clock, 20);
    first.cut();
    await write(partial, 2);
    link(partial, two);
    link(partial, hub);
    await pass([partial, two, hub], clock, 1_000);
    // Its own batches don't wait for what nobody else has.
    for (const node of [two, hub]) {
      expect(node.replica.seqOf(one.replica.device, one.replica.incarnation)).toBe(1);
      expect(node.replica.seqOf(partial.replica.device, partial.replica.incarnation)).toBe(4);
      expect(blamed(node)).toEqual([]);
      expect(node.sync.peers()[0]).toMatchObject({ inSync: false });
      // One header of a chain is sent now and then, since it may show a fork, and nothing else that would have to be refused.
      expect(node.replica.counters().refused.omitted).toBeLessThan(10);
      expect(node.replica.counters().held).toBe(0);
    }
    link(one, hub);
    await pass([one, partial, two, hub], clock, 1_000);
    for (const node of [hub, partial]) expect(frontierOf(node)).toBe(frontierOf(one));
    expect(contentOf(hub)).toEqual(contentOf(one));
    // Only the hub has all: what the partial one could not give, it does not relay either.
    link(hub, two);
    await pass([one, partial, two, hub], clock, 1_000);
    expect(contentOf(two)).toEqual(contentOf(one));
    expect([hub, two, one, partial].flatMap(blamed)).toEqual([]);
  });

  test("that wants keys gets the sections with one of them, as a whole", async () => {
    const { clock, one, partial } = await scene({ keys: ["k1", "z/**"] });
    link(one, partial);
    await pass([one, partial], clock, 5);
    await write(one, 3);
    await one.replica.put(A, [
      { key: "z/y/x", value: 1 },
      { key: "other", value: 2 },
    ]);
    await one.replica.delete(A, ["k1"]);
    await pass([one, partial], clock, 20);
    expect(frontierOf(partial)).toBe(frontierOf(one));
    expect(factsIn(partial, A)).toEqual([
      ["other", 2],
      ["z/y/x", 1],
    ]);
    expect(factsIn(partial, B)).toHaveLength(1);
    // What else the documents hold is not known here.
    expect(partial.replica.get(B, "k1")).toMatchObject({ incomplete: true });
  });
});

describe("fetching", () => {
  test("brings what was left out from whoever has it, and then all is equal", async () => {
    const { clock, hub, one, partial } = await scene();
    link(one, hub);
    link(hub, partial);
    await write(one, 40);
    await pass([one, hub, partial], clock, 40);
    const wanted = await omittedAt(partial);
    expect(wanted).toHaveLength(40);
    const changed: string[] = [];
    partial.replica.omitted.onAdded((change) =>
      changed.push(...change.changed.map(({ key }) => key)),
    );
    const outcome = await partial.sync.fetch(wanted, undefined);
    expect(outcome).toMatchObject({ filled: 40, unavailable: [], asked: [hub.replica.device] });
    expect(new Set(changed).size).toBe(40);
    expect(contentOf(partial)).toEqual(contentOf(one));
    expect(partial.replica.omitted.summary()).toMatchObject({ documents: 0, sections: 0 });
  });

  test("brings only sections with a key that is asked for, and says what nobody has", async () => {
    const { clock, one, two, partial } = await scene();
    link(one, partial);
    await write(one, 5);
    await pass([one, partial], clock, 20);
    const wanted = await omittedAt(partial);
    expect(await partial.sync.fetch(wanted, { keys: ["k3"] })).toMatchObject({
      filled: 1,
      unwanted: 4,
      unavailable: [],
    });
    expect(factsIn(partial, B)).toHaveLength(1);
    const other = await createNode(3, {
      space: one.replica.space,
      clock,
      subscription: ONLY_A,
    });
    link(two, other);
    await pass([two, other], clock, 10);
    const lost = [{ hash: parseHeaderHash("cd".repeat(32)), section: 0 }];
    expect(await other.sync.fetch(lost, undefined)).toMatchObject({
      filled: 0,
      unavailable: lost,
      asked: [two.replica.device],
    });
  });

  test("waits for nobody: without an answer, or a peer, it ends", async () => {
    const { clock, one, partial } = await scene();
    const lost = [{ hash: parseHeaderHash("cd".repeat(32)), section: 0 }];
    expect(await partial.sync.fetch(lost, undefined)).toMatchObject({ asked: [] });
    const { send } = await faced(partial, one);
    const pending = partial.sync.fetch(lost, undefined);
    await settle();
    await send();
    await pass([partial], clock, 1, 31_000);
    expect(await pending).toMatchObject({ filled: 0, asked: [], unavailable: lost });
  });
});

/** Faces a node with a peer that the test plays, which has greeted. */
async function faced(
  node: Node,
  as: Node,
): Promise<{
  send: (...messages: readonly SyncMessage[]) => Promise<void>;
  /** Sends a message again and again, without waiting for the node to read it. */
  flood: (message: SyncMessage, count: number) => Promise<void>;
  ended: Promise<void>;
  sent: Link["sent"][number];
}> {
  const { channel, ended, sent } = face(node, as.n);
  const { replica } = as;
  const send = async (...messages: readonly SyncMessage[]): Promise<void> => {
    for (const message of messages) await channel.send(encodeMessage(message));
    await settle();
  };
  await send({
    type: "hello",
    space: replica.space.id,
    digest: replica.frontierDigest().subarray(0, 16),
    records: replica.recordsDigest().subarray(0, 16),
  });
  const flood = async (message: SyncMessage, count: number): Promise<void> => {
    const bytes = encodeMessage(message);
    for (let i = 0; i < count; i++) channel.send(bytes).catch(() => undefined);
    for (let i = 0; i < 50; i++) await settle();
  };
  return { send, flood, ended, sent };
}

describe("a hostile peer", () => {
  test("that sends another body than the signed one is cut, and nothing is taken", async () => {
    const { clock, one, partial } = await scene();
    const first = link(one, partial);
    await write(one, 2);
    await pass([one, partial], clock, 20);
    first.cut();
    await settle();
    const [wanted] = await omittedAt(partial);
    if (wanted === undefined) throw new Error("nothing is left out");
    const { send, ended } = await faced(partial, one);
    const before = contentOf(partial);
    const pending = partial.sync.fetch([wanted], undefined);
    await settle();
    await send({ type: "bodies", bodies: [{ ...wanted, body: Uint8Array.of(0, 1, 2) }] });
    await ended;
    expect(await pending).toMatchObject({ filled: 0, unavailable: [wanted] });
    expect(contentOf(partial)).toEqual(before);
    expect(blamed(partial)).toHaveLength(1);
  });

  test.each([
    [
      "bodies that nobody wanted",
      [{ hash: parseHeaderHash("cd".repeat(32)), section: 0, body: null }],
    ],
    ["an answer to nothing", []],
  ])("that sends %s is cut", async (_, bodies) => {
    const { one, partial } = await scene();
    const { send, ended } = await faced(partial, one);
    await send({ type: "bodies", bodies });
    await ended;
    expect(blamed(partial)).toHaveLength(1);
  });

  test("that wishes without end is read no further once its budget is used up", async () => {
    const { one, two } = await scene();
    await write(one, 3);
    const { flood, sent } = await faced(one, two);
    const wanted = Array.from({ length: 256 }, (_, n) => ({
      hash: parseHeaderHash(n.toString(16).padStart(64, "0")),
      section: 0,
    }));
    await flood({ type: "wanted", wanted, only: undefined }, 2_000);
    const answers = sent.messages.filter(({ type }) => type === "bodies").length;
    expect(answers).toBeGreaterThan(10);
    expect(answers).toBeLessThan(400);
  });

  test("that leaves out what is wanted is asked elsewhere, and not blamed", async () => {
    const { clock, one, two, partial } = await scene();
    const kept = link(one, two);
    await pass([one, two], clock, 5);
    kept.cut();
    await settle();
    await write(one, 1);
    const bytes: Uint8Array[] = [];
    for (const { replica, incarnation, seq } of one.replica.heads()) {
      const span = { replica, incarnation, from: 1, to: seq };
      for await (const stored of one.replica.read([span])) bytes.push(stored.bytes);
    }
    const bare = bytes.map((batch) => encodeBatch({ ...decodeBatch(batch), bodies: [null] }));
    const { send } = await faced(two, partial);
    for (const batch of bare) await send({ type: "push", batch });
    expect(two.replica.heads()).toEqual([]);
    expect(two.replica.counters().refused.omitted).toBe(2);
    expect(blamed(two)).toEqual([]);
    link(one, two);
    await pass([one, two], clock, 20);
    expect(contentOf(two)).toEqual(contentOf(one));
  });
});
