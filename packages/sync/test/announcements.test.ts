// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a batch too large for a broadcast reaches everybody by its header, pulled from whoever passed that on, and nothing
 * is passed on that is not here.
 * Method: real replicas over in-memory channels, with a broadcast that the test carries from node to node.
 */
import { LIMITS } from "@ctxmesh/model";
import { ANNOUNCED_MS, encodeMessage } from "@ctxmesh/sync";
import type { BroadcastVerdict } from "@ctxmesh/sync";
import { createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import {
  START_MS,
  converged,
  createNode,
  deviceOf,
  face,
  link,
  pass,
  settle,
  spaceOf,
} from "./mesh.ts";
import type { Node } from "./mesh.ts";

const noise = (bytes: number): string =>
  Buffer.from(createSeededRandom(bytes).bytes(bytes / 2)).toString("hex");
const LARGE = noise(40_000);

interface Scene {
  readonly clock: ReturnType<typeof createVirtualClock>;
  /** The first broadcasts; all others only listen. */
  readonly nodes: readonly [Node, Node, Node];
  /** What was published. */
  readonly published: Uint8Array[];
}

async function createScene(): Promise<Scene> {
  const clock = createVirtualClock(START_MS);
  const space = spaceOf([0, 1, 2]);
  const published: Uint8Array[] = [];
  const broadcast = {
    active: () => true,
    publish: (message: Uint8Array) => Promise.resolve(published.push(message)),
  };
  const writer = await createNode(0, { space, clock, broadcast });
  const [second, third] = [
    await createNode(1, { space, clock }),
    await createNode(2, { space, clock }),
  ];
  return { clock, nodes: [writer, second, third], published };
}

/** Writes a large batch and returns what was published of it. */
async function announce({ nodes, published }: Scene): Promise<Uint8Array> {
  await nodes[0].put("key", LARGE);
  return published.at(-1) ?? new Uint8Array();
}

/** A verdict once it is there. */
function track(verdict: Promise<BroadcastVerdict>): { value?: BroadcastVerdict } {
  const tracked: { value?: BroadcastVerdict } = {};
  const follow = async (): Promise<void> => {
    tracked.value = await verdict;
  };
  void follow();
  return tracked;
}

const keyOf = (n: number): string => deviceOf(n).key;

describe("a batch over the limit of a broadcast", () => {
  test("is announced by its header, and one at the limit goes whole", async () => {
    const scene = await createScene();
    const announcement = await announce(scene);
    expect(announcement.length).toBeLessThan(1_000);
    await scene.nodes[0].put("key", "small");
    const whole = scene.published.at(-1) ?? new Uint8Array();
    expect(whole[0]).toBe(0x83);
    expect(Math.max(...scene.published.map(({ length }) => length))).toBeLessThan(
      LIMITS.gossipBytes,
    );
  });

  test("is pulled from whoever passed the announcement on, which is passed on when the batch is here, and all of it at once", async () => {
    const scene = await createScene();
    const [writer, second, third] = scene.nodes;
    const [near, far] = [link(writer, second), link(second, third)];
    await settle();
    const announcement = await announce(scene);
    const atSecond = track(second.sync.receiveBroadcast(announcement, keyOf(0)));
    expect(atSecond.value).toBeUndefined();
    await settle();
    expect(atSecond.value).toBe("accept");
    const atThird = track(third.sync.receiveBroadcast(announcement, keyOf(1)));
    await settle();
    expect(atThird.value).toBe("accept");
    expect(converged(scene.nodes)).toBe(true);
    expect([near, far].map(({ sent }) => sent[1].messages.map(({ type }) => type))).toEqual([
      ["hello", "pull"],
      ["hello", "pull"],
    ]);
  });

  test("comes by news where its announcement did not", async () => {
    const scene = await createScene();
    const [writer, second] = scene.nodes;
    link(writer, second);
    await announce(scene);
    await pass(scene.nodes, scene.clock, 15);
    expect(converged([writer, second])).toBe(true);
  });
});

describe("an announcement", () => {
  test("is ignored from somebody without a session, of a batch that is here, and of a device without a grant", async () => {
    const scene = await createScene();
    const [writer, second] = scene.nodes;
    const announcement = await announce(scene);
    expect(await second.sync.receiveBroadcast(announcement, keyOf(0))).toBe("ignore");
    expect(await second.sync.receiveBroadcast(announcement)).toBe("ignore");
    link(writer, second);
    await pass(scene.nodes, scene.clock, 15);
    expect(converged([writer, second])).toBe(true);
    expect(await second.sync.receiveBroadcast(announcement, keyOf(0))).toBe("ignore");

    const narrow = await createNode(1, { space: spaceOf([1, 2]), clock: scene.clock });
    const { sent } = face(narrow, 2);
    expect(await narrow.sync.receiveBroadcast(announcement, keyOf(2))).toBe("ignore");
    expect(sent.messages.map(({ type }) => type)).toEqual(["hello"]);
  });

  test("with another signature than its batch is rejected, and held against who passed it on", async () => {
    const scene = await createScene();
    const [writer, second] = scene.nodes;
    link(writer, second);
    await settle();
    const forged = (await announce(scene)).slice();
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    const verdict = track(second.sync.receiveBroadcast(forged, keyOf(0)));
    await settle();
    expect(verdict.value).toBe("reject");
    expect(second.log).toContainEqual(
      expect.objectContaining({ event: "batch.refused", level: "warn" }),
    );
  });

  test.each([
    ["nothing", new Uint8Array()],
    ["an empty pair", Uint8Array.of(0x82)],
    ["a pair of numbers", Uint8Array.of(0x82, 1, 2)],
    ["a header that is none", Uint8Array.of(0x82, 0x41, 1, 0x58, 64, ...new Uint8Array(64))],
  ])("that is %s is rejected, and sixteen of them end the session", async (_, garbage) => {
    const scene = await createScene();
    const [writer, second] = scene.nodes;
    const { ended } = link(writer, second);
    await settle();
    for (let i = 0; i < 16; i++) {
      expect(await second.sync.receiveBroadcast(garbage.slice(), keyOf(0))).toBe("reject");
    }
    await ended;
    expect(second.sync.peers()).toEqual([]);
  });

  test("whose batch does not come is ignored after a while; of one peer, and of all, so many wait and no more", async () => {
    const scene = await createScene();
    const [writer, second] = scene.nodes;
    const remote = face(second, 0);
    await settle();
    const announcement = await announce(scene);
    // The remote greets with what it has, and then answers nothing.
    await remote.channel.send(
      encodeMessage({
        type: "hello",
        space: writer.replica.space.id,
        digest: second.replica.frontierDigest().subarray(0, 16),
        records: second.replica.recordsDigest().subarray(0, 16),
      }),
    );
    await settle();
    const waiting = Array.from({ length: LIMITS.gossipPendingPerPeer }, () =>
      track(second.sync.receiveBroadcast(announcement.slice(), keyOf(0))),
    );
    expect(await second.sync.receiveBroadcast(announcement, keyOf(0))).toBe("ignore");
    await settle();
    expect(new Set(waiting.map(({ value }) => value))).toEqual(new Set([undefined]));
    expect(remote.sent.messages.filter(({ type }) => type === "pull")).toHaveLength(1);
    scene.clock.advance(ANNOUNCED_MS);
    second.sync.tick();
    await settle();
    expect(new Set(waiting.map(({ value }) => value))).toEqual(new Set(["ignore"]));
  });
});
