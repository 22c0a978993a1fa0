// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a peer gets no more of our time than its share, nothing it sends is lost for being fast, and an honest mesh
 * does not notice.
 * Method: the budgets by themselves, then a real node on a virtual clock against peers that the test plays.
 */
import { LIMITS, parseHeaderHash } from "@ctxmesh/model";
import type { Channel } from "@ctxmesh/model";
import { encodeMessage } from "@ctxmesh/sync";
import type { SyncMessage } from "@ctxmesh/sync";
import { createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Quotas, TokenBucket, costOf, costOfBytes, costOfOpening } from "../src/quota.ts";
import { batchesOf } from "./members.ts";
import { START_MS, TICK_MS, createNode, face, pass, settle, spaceOf } from "./mesh.ts";
import type { Node, Sent } from "./mesh.ts";

const work = (checks: number): { checks: number; work: number; bytes: number } => ({
  checks,
  work: checks,
  bytes: 0,
});

describe("a budget", () => {
  test("lets through its burst and its rate, and one message more, whatever the messages and the ticks", () => {
    const step = fc.record({ waitMs: fc.nat(2_000), cost: fc.integer({ min: 1, max: 50 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const bucket = new TokenBucket(100, 200);
        let [passed, elapsedMs] = [0, 0];
        for (const { waitMs, cost } of steps) {
          bucket.refill(waitMs);
          elapsedMs += waitMs;
          if (bucket.isEmpty) continue;
          bucket.take(cost);
          passed += cost;
        }
        expect(passed).toBeLessThanOrEqual(200 + elapsedMs / 10 + 50);
      }),
    );
  });

  test("is never more than full, and full again after as long as it takes", () => {
    const bucket = new TokenBucket(100, 200);
    bucket.refill(3_600_000);
    bucket.take(200);
    expect(bucket.isEmpty).toBe(true);
    bucket.refill(1_999);
    expect(bucket.isFull).toBe(false);
    bucket.refill(1);
    expect(bucket.isFull).toBe(true);
  });

  test("of a device is one over all its channels, and does not touch another's", () => {
    const quotas = new Quotas(START_MS);
    quotas.charge("a", work(LIMITS.peerBatchBurst));
    expect([quotas.isOpen("a"), quotas.isOpen("b")]).toEqual([false, true]);
    quotas.refill(START_MS + 1);
    expect(quotas.isOpen("a")).toBe(true);
  });

  test("that is full again takes no memory", () => {
    const quotas = new Quotas(START_MS);
    for (let n = 0; n < 1_000; n++) quotas.charge(String(n), work(n < 10 ? 20_000 : 1));
    expect(quotas.size).toBe(1_000);
    quotas.refill(START_MS + 1);
    expect(quotas.size).toBe(10);
    quotas.refill(START_MS + 4_000);
    expect(quotas.size).toBe(0);
  });

  test("of bytes counts as well as the one of work", () => {
    const quotas = new Quotas(START_MS);
    quotas.charge("a", { checks: 0, work: 0, bytes: LIMITS.peerBytesBurst });
    expect([quotas.isOpen("a"), quotas.isOpen("b")]).toEqual([false, true]);
  });

  test("of the node is used up by all together, and by checks alone", () => {
    const quotas = new Quotas(START_MS);
    quotas.charge("a", { checks: 0, work: 1_000_000, bytes: 0 });
    expect(quotas.nodeIsOpen).toBe(true);
    for (let i = 0; i < 10; i++) quotas.charge(String(i), work(LIMITS.nodeBatchBurst / 10));
    expect([quotas.nodeIsOpen, quotas.isOpen("z")]).toEqual([false, false]);
  });

  test("is not filled by a clock that jumps back and forth", () => {
    const quotas = new Quotas(START_MS);
    quotas.charge("a", work(LIMITS.peerBatchBurst + LIMITS.peerBatchesPerSecond));
    for (const ms of [START_MS - 60_000, START_MS - 60_000, START_MS - 59_500]) quotas.refill(ms);
    expect(quotas.isOpen("a")).toBe(false);
    quotas.refill(START_MS - 58_999);
    expect(quotas.isOpen("a")).toBe(true);
  });
});

describe("what a message costs", () => {
  const bytes = new Uint8Array(1);
  const hash = parseHeaderHash("0".repeat(64));
  test.each<[SyncMessage, number]>([
    [{ type: "push", batch: bytes }, 1],
    [{ type: "batches", batches: [bytes, bytes, bytes] }, 3],
    [{ type: "acts", acts: [bytes], proofs: [bytes], more: false, records: bytes }, 3],
    [{ type: "headers", headers: [bytes, bytes] }, 2],
    [{ type: "want", hashes: [hash] }, 0],
    [{ type: "records", acts: [], forks: [] }, 0],
    [{ type: "digest", digest: bytes, records: bytes, asks: true }, 0],
    [{ type: "stored", heads: [] }, 0],
    [{ type: "sealed", heads: [] }, 0],
  ])("is a check for each signature: $type", (message, checks) => {
    const cost = costOf(message, 0, 0);
    expect(cost).toMatchObject({ checks, bytes: 0 });
    expect(cost.work).toBeGreaterThanOrEqual(Math.max(1, checks));
  });

  test("is most for what is cheap to send and dear to answer", () => {
    const cheap = costOf({ type: "push", batch: bytes }, 0, 0).work;
    for (const message of [
      { type: "pull", spans: [] },
      { type: "want", hashes: [] },
      { type: "records", acts: [], forks: [] },
      { type: "have", heads: [] },
    ] as const) {
      expect(costOf(message, 0, 0).work).toBeGreaterThanOrEqual(16 * cheap);
    }
  });

  test("is more, the more chains a remote has told of, where they are gone over", () => {
    const have: SyncMessage = { type: "have", heads: [] };
    const few = costOf(have, 0, 0).work;
    expect(costOf(have, 65_536, 0).work - few).toBeGreaterThanOrEqual(64);
    for (const message of [
      { type: "ranges", round: 1, ranges: [] },
      { type: "batches", batches: [] },
      { type: "acts", acts: [], proofs: [], more: false, records: bytes },
      { type: "digest", digest: bytes, records: bytes, asks: true },
    ] as const) {
      expect(costOf(message, 65_536, 0).work - costOf(message, 0, 0).work).toBe(64);
    }
    expect(costOf({ type: "push", batch: bytes }, 65_536, 0).work).toBe(1);
  });

  test("is, for its bytes, known before they are parsed", () => {
    const cost = costOfBytes(LIMITS.syncMessageBytes);
    expect(cost).toMatchObject({ checks: 0, bytes: LIMITS.syncMessageBytes });
    expect(cost.work).toBeGreaterThanOrEqual(64);
  });

  test("is, for a batch, what its bodies unpack to and what is in them; a small one costs its check alone", () => {
    const cost = costOfOpening({ bytes: LIMITS.bodyBytes, items: 10_000 });
    expect(cost.checks).toBe(cost.work);
    expect(cost.work).toBeGreaterThanOrEqual(256 + 156);
    expect(costOfOpening({ bytes: 1_000, items: 10 }).work).toBe(0);
  });
});

interface Scene {
  readonly node: Node;
  readonly clock: VirtualClock;
  /** A batch that the node has, which costs the sender nothing to repeat. */
  readonly batch: Uint8Array;
  /** A greeted remote, played as device `n`. */
  connect(n: number): Promise<{ readonly channel: Channel; readonly sent: Sent }>;
}

async function createScene(): Promise<Scene> {
  const clock = createVirtualClock(START_MS);
  const space = spaceOf([0, 1, 2, 3]);
  const node = await createNode(0, { space, clock });
  const own = batchesOf(node);
  await node.put("key", "value");
  const connect = async (n: number) => {
    const { channel, sent } = face(node, n);
    await channel.send(
      encodeMessage({
        type: "hello",
        space: space.id,
        digest: node.replica.frontierDigest().subarray(0, 16),
        records: node.replica.recordsDigest().subarray(0, 16),
      }),
    );
    await settle();
    return { channel, sent };
  };
  return { node, clock, batch: own[0] as Uint8Array, connect };
}

const NO_BATCH = new Uint8Array(1);

const received = ({ replica }: Node): number => replica.counters().received;

/** Sends a message over and over until stopped; `count` is how often the channel has taken it. */
function flood(
  channel: Channel,
  message: SyncMessage,
): { readonly state: { on: boolean; count: number } } {
  const bytes = encodeMessage(message);
  const state = { on: true, count: 0 };
  const sending = async (): Promise<void> => {
    for (; state.on; state.count++) await channel.send(bytes);
  };
  sending().catch(() => undefined);
  return { state };
}

/** Lets everything happen that can without time passing. */
async function exhaust(node: Node): Promise<void> {
  for (let before = -1; before !== received(node);) {
    before = received(node);
    for (let i = 0; i < 20; i++) await settle();
  }
}

describe("a flood of pushes", () => {
  test("is read up to the burst, then at the rate, and the channel stays open with nothing lost", async () => {
    const { node, clock, batch, connect } = await createScene();
    const { channel } = await connect(1);
    const { state } = flood(channel, { type: "push", batch });
    await exhaust(node);
    const burst = received(node);
    for (let i = 0; i < 100; i++) await pass([node], clock, 1, 0);
    expect(received(node)).toBe(burst);
    expect(burst).toBeGreaterThanOrEqual(LIMITS.peerBatchBurst - 64);
    expect(burst).toBeLessThanOrEqual(LIMITS.peerBatchBurst + 64);
    clock.advance(1_000);
    node.sync.tick();
    await exhaust(node);
    expect(received(node) - burst).toBeGreaterThanOrEqual(LIMITS.peerBatchesPerSecond - 64);
    expect(received(node) - burst).toBeLessThanOrEqual(LIMITS.peerBatchesPerSecond + 64);
    state.on = false;
    await pass([node], clock, 5, 1_000);
    await exhaust(node);
    expect(node.sync.peers()).toHaveLength(1);
    expect(node.replica.counters()).toMatchObject({ dropped: 0 });
    expect(node.log.filter(({ level }) => level === "warn")).toEqual([]);
  }, 60_000);

  test("does not keep another peer waiting", async () => {
    const { node, clock, batch, connect } = await createScene();
    const { channel } = await connect(1);
    const quiet = await connect(2);
    flood(channel, { type: "push", batch });
    await exhaust(node);
    const before = received(node);
    await quiet.channel.send(encodeMessage({ type: "push", batch }));
    await settle();
    expect(received(node) - before).toBe(1);
    await node.sync.stop();
    expect(clock.now()).toBe(START_MS);
  }, 60_000);

  test("over a second channel of the device meets the same budget", async () => {
    const { node, batch, connect } = await createScene();
    flood((await connect(1)).channel, { type: "push", batch });
    await exhaust(node);
    const before = received(node);
    flood((await connect(1)).channel, { type: "push", batch });
    await exhaust(node);
    expect(received(node)).toBe(before);
    await node.sync.stop();
  }, 60_000);
});

const exhausted = async (): Promise<Scene & { readonly channel: Channel }> => {
  const scene = await createScene();
  const { channel } = await scene.connect(1);
  flood(channel, { type: "push", batch: scene.batch });
  await exhaust(scene.node);
  return { ...scene, channel };
};

describe("a channel that waits for its budget", () => {
  test("does not keep the node from stopping", async () => {
    const { node } = await exhausted();
    await node.sync.stop();
    await settle();
    expect(node.sync.peers()).toEqual([]);
    expect(node.log.at(-1)).toMatchObject({ event: "peer.disconnected" });
  }, 60_000);

  test("ends when the remote has gone, once it would be read again", async () => {
    const { node, clock, channel } = await exhausted();
    await channel.close();
    await pass([node], clock, 2 + 10_000 / TICK_MS);
    expect(node.sync.peers()).toEqual([]);
  }, 60_000);
});

test("a catch-up of 10,000 batches and an agent's 1,000 writes a second go through untouched", async () => {
  const { node, clock, batch, connect } = await createScene();
  const { channel } = await connect(1);
  const push = encodeMessage({ type: "push", batch });
  for (let i = 0; i < 10_000; i++) await channel.send(push);
  await exhaust(node);
  expect(received(node)).toBe(10_000);
  for (let second = 1; second <= 20; second++) {
    for (let tick = 0; tick < 20; tick++) {
      for (let i = 0; i < 50; i++) await channel.send(push);
      await pass([node], clock, 1);
    }
    expect(received(node)).toBe(10_000 + second * 1_000);
  }
}, 60_000);

test("ten agents that write 1,000 batches a second each are within the node's budget, in any order", () => {
  const quotas = new Quotas(START_MS);
  const push = costOf({ type: "push", batch: new Uint8Array(400) }, 0, 0);
  const word = costOf({ type: "have", heads: [] }, 200, 200);
  for (let ms = 0; ms < 30_000; ms += TICK_MS) {
    for (let agent = 0; agent < 10; agent++) {
      for (let i = 0; i < 50; i++) {
        for (const cost of [costOfBytes(420), push, costOfOpening({ bytes: 600, items: 10 })]) {
          quotas.charge(`agent-${String(agent)}`, cost);
        }
      }
      quotas.charge(`agent-${String(agent)}`, word);
      expect(quotas.isOpen(`agent-${String(agent)}`)).toBe(true);
    }
    quotas.refill(START_MS + ms + TICK_MS);
  }
});

describe("the node's budget", () => {
  test("is shared in turns by those who wait for it, and broadcasts are ignored meanwhile", async () => {
    const { node, clock, batch, connect } = await createScene();
    const sessions = await Promise.all([1, 2, 3].map(async (n) => connect(n)));
    // What nobody can be charged for uses it up.
    for (let i = 0; i < LIMITS.nodeBatchBurst; i++) await node.sync.receiveBroadcast(NO_BATCH);
    const before = received(node);
    expect(await node.sync.receiveBroadcast(batch)).toBe("ignore");
    expect(received(node)).toBe(before);
    const floods = sessions.map(({ channel }) => flood(channel, { type: "push", batch }));
    await exhaust(node);
    expect(received(node)).toBe(before);
    const waiting = floods.map(({ state }) => state.count);
    clock.advance(TICK_MS);
    node.sync.tick();
    await exhaust(node);
    const share = (LIMITS.nodeBatchesPerSecond * TICK_MS) / 1_000;
    expect(received(node) - before).toBeGreaterThanOrEqual(share);
    expect(received(node) - before).toBeLessThanOrEqual(share + sessions.length);
    const shares = floods.map(({ state }, i) => state.count - (waiting[i] ?? 0));
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(2);
    await node.sync.stop();
  }, 60_000);
});
