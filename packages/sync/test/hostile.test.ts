// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a peer that breaks the rules, or does not read, is closed, named once, and costs a bounded amount.
 * Method: the test plays the remote by hand against a real node.
 */
import { decodeBatch, encodeBatch, encodeCbor } from "@ctxmesh/codec";
import { LIMITS, parseSpaceId } from "@ctxmesh/model";
import {
  BAR_MS,
  COMPARE_SOON_MS,
  COMPARE_EVERY_MS,
  decodeMessage,
  encodeMessage,
} from "@ctxmesh/sync";
import type { SyncMessage } from "@ctxmesh/sync";
import { createSeededRandom, createVirtualClock, waitFor } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import {
  DOC,
  START_MS,
  TICK_MS,
  createNode,
  deviceOf,
  face,
  pass,
  settle,
  spaceOf,
} from "./mesh.ts";
import type { Node } from "./mesh.ts";
import { revokeAt } from "./members.ts";
import { HASH, PEER, bytesLeft, createScene, helloOf, warnings, zeros } from "./scene.ts";

/** A value of 60,000 characters, of which 30,000 bytes are left when packed. */
const large = (seed: number): string =>
  Buffer.from(createSeededRandom(seed).bytes(30_000)).toString("hex");

/** The batch with its signature broken. */
const forged = (batch: Uint8Array): Uint8Array => {
  const { headerBytes, signature, bodies } = decodeBatch(batch);
  return encodeBatch({ headerBytes, signature: signature.map((byte) => byte ^ 1), bodies });
};

describe("a peer that breaks the protocol is closed at once and named once", () => {
  const digest = zeros(16);
  const space = spaceOf([0, PEER, 2]).id;
  test.each<[string, boolean, Uint8Array]>([
    ["garbage", true, Uint8Array.of(0xff, 0, 1, 2)],
    ["nothing", true, zeros(0)],
    ["no message of ours", true, encodeCbor({ type: 9 })],
    [
      "something before hello",
      false,
      encodeMessage({ type: "digest", digest, records: digest, asks: true }),
    ],
    [
      "another space",
      false,
      encodeMessage({
        type: "hello",
        space: parseSpaceId("77".repeat(32)),
        digest,
        records: digest,
      }),
    ],
    ["the version before", false, encodeCbor([0, 2, zeros(32), digest, digest])],
    ["hello twice", true, encodeMessage({ type: "hello", space, digest, records: digest })],
    ["headers that nobody wanted", true, encodeMessage({ type: "headers", headers: [] })],
    [
      "more acts than a space has",
      true,
      encodeCbor([7, Array.from({ length: LIMITS.acts + 1 }, () => digest), []]),
    ],
    [
      "more wants than one message has",
      true,
      encodeCbor([9, Array.from({ length: 65 }, () => digest)]),
    ],
    ["an agent's word for what is stored", true, encodeMessage({ type: "stored", heads: [] })],
    ["an agent's word for what is sealed", true, encodeMessage({ type: "sealed", heads: [] })],
    ["batches that nobody pulled", true, encodeMessage({ type: "batches", batches: [zeros(300)] })],
    [
      "more batches than an answer has",
      true,
      encodeCbor([4, Array.from({ length: 1_025 }, () => zeros(0))]),
    ],
  ])("%s", async (_, greet, bytes) => {
    const { node, channel, ended } = await createScene(greet);
    for (let i = 0; i < 50; i++) await channel.send(bytes).catch(() => undefined);
    await ended;
    expect(warnings(node)).toEqual(["peer.violation"]);
    const [left] = node.log.filter(({ event }) => event === "peer.disconnected");
    expect(left?.fields["reason"]).toEqual(expect.any(String));
    expect(node.sync.peers()).toEqual([]);
    expect(node.replica.counters().received).toBe(0);
    await expect(channel.send(zeros(1))).rejects.toMatchObject({ code: "CLOSED" });
  });
});

describe("a peer that breaks the protocol", () => {
  const device = deviceOf(PEER).key;
  /** A message as large as they may be, and dear to decode. */
  const bomb = zeros(LIMITS.syncMessageBytes).fill(0xa0);
  bomb.set([0x82, 4, 0x9a, 0, 0x0f, 0xff, 0xf9]);
  const attempt = async (node: Node, greet: boolean): Promise<void> => {
    const { channel, ended } = face(node, PEER);
    if (greet) await channel.send(encodeMessage(helloOf(node)));
    await channel.send(bomb).catch(() => undefined);
    await ended;
  };

  test("is barred after the third closing, as for refused batches", async () => {
    const { node } = await createScene();
    for (let closing = 1; closing <= 3; closing++) {
      expect(node.sync.isBarred(device)).toBe(false);
      await attempt(node, true);
    }
    expect(node.sync.isBarred(device)).toBe(true);
    expect(node.sync.peers()).toEqual([]);
  });

  test("before it has greeted may be of another version, and is not barred", async () => {
    const { node } = await createScene();
    for (let closing = 1; closing <= 9; closing++) await attempt(node, false);
    expect(node.sync.isBarred(device)).toBe(false);
    expect(warnings(node)).toEqual(Array<string>(9).fill("peer.violation"));
  });

  test("pays for the bytes: after some hundred messages it is read no further", async () => {
    const { node } = await createScene();
    let read = 0;
    for (; read < 1_000; read++) {
      let isOver = false;
      attempt(node, false)
        .finally(() => {
          isOver = true;
        })
        .catch(() => undefined);
      for (let i = 0; i < 4; i++) await settle();
      if (!isOver) break;
    }
    expect(read).toBeGreaterThan(16);
    expect(read).toBeLessThanOrEqual(LIMITS.peerBatchBurst / 64 + 1);
    await node.sync.stop();
  });
});

describe("a peer that sends refused batches", () => {
  test("by push is closed after 16, and named once a minute", async () => {
    const { node, clock, writer, batches, send, ended } = await createScene();
    await writer.put("key", "value");
    const batch = forged(batches[0] ?? zeros(0));
    for (let i = 0; i < 15; i++) await send({ type: "push", batch });
    await settle();
    expect(node.sync.peers()).toHaveLength(1);
    for (let i = 0; i < 500; i++) await send({ type: "push", batch }).catch(() => undefined);
    await ended;
    await settle();
    expect(warnings(node)).toEqual(["batch.refused"]);
    expect(node.sync.isBarred(deviceOf(PEER).key)).toBe(false);
    const count = node.replica.counters().refused.signature;
    expect(count).toBeLessThan(16 + 256);
    expect(node.log.at(-1)).toMatchObject({
      event: "peer.disconnected",
      fields: { reason: "too many refused batches" },
    });
    await pass([node], clock, 1, 60_000);
    const lines = node.log.filter(({ event }) => event === "batch.refused");
    expect(lines.map(({ fields }) => fields)).toEqual(
      [1, count - 1].map((since) => ({
        device: deviceOf(PEER).key,
        stage: "signature",
        detail: expect.any(String) as string,
        count: since,
      })),
    );
  });

  test("is barred after the third closing, on all its channels, and for ten minutes", async () => {
    const { node, clock, writer, batches } = await createScene();
    await writer.put("key", "value");
    const wrong = encodeMessage({ type: "push", batch: forged(batches[0] ?? zeros(0)) });
    const device = deviceOf(PEER).key;
    const other = face(node, PEER);
    for (let closing = 1; closing <= 3; closing++) {
      expect(node.sync.isBarred(device)).toBe(false);
      const { channel, ended } = face(node, PEER);
      await channel.send(encodeMessage(helloOf(node)));
      for (let i = 0; i < 16; i++) await channel.send(wrong).catch(() => undefined);
      await ended;
    }
    expect(node.sync.isBarred(device)).toBe(true);
    await other.ended;
    const again = face(node, PEER);
    await again.ended;
    expect(again.sent.messages).toEqual([]);
    expect(node.log.at(-1)).toMatchObject({ event: "peer.turned-away", fields: { device } });
    clock.advance(BAR_MS);
    expect(node.sync.isBarred(device)).toBe(false);
    face(node, PEER);
    await settle();
    expect(node.log.at(-1)).toMatchObject({ event: "peer.connected", fields: { device } });
  });

  test("as an answer to a pull is closed, and is not asked again", async () => {
    const { node, writer, batches, send, sent, ended } = await createScene();
    for (let i = 0; i < 20; i++) await writer.put("key", String(i));
    const { incarnation, device: replica } = writer.replica;
    await send({ type: "have", heads: [{ replica, incarnation, seq: 20, hash: HASH }] });
    await settle();
    await send({ type: "batches", batches: batches.map(forged) });
    await ended;
    expect(sent.messages.map(({ type }) => type)).toEqual(["hello", "pull"]);
    expect(node.replica.seqOf(replica, incarnation)).toBe(0);
    // One closing, however many were on their way.
    expect(node.sync.isBarred(deviceOf(PEER).key)).toBe(false);
  });

  test("of a device without a grant is not blamed for it nor asked for them, and nothing is stored", async () => {
    const { node, send, sent } = await createScene();
    const clock = createVirtualClock(START_MS);
    const wider = spaceOf([0, PEER, 2, 3]);
    const unknown = await createNode(3, { space: wider, clock });
    const batches: Uint8Array[] = [];
    unknown.replica.onApplied(({ bytes }) => batches.push(bytes));
    for (let i = 0; i < 40; i++) await unknown.put("key", String(i));
    for (const batch of batches) await send({ type: "push", batch });
    await settle();
    const { device, incarnation } = unknown.replica;
    await send({ type: "have", heads: [{ replica: device, incarnation, seq: 40, hash: HASH }] });
    await settle();
    expect(sent.messages.map(({ type }) => type)).toEqual(["hello"]);
    expect(node.sync.peers()).toHaveLength(1);
    expect(node.replica.heads()).toEqual([]);
    // Of another space file's genesis it would be a `space` refusal, which is counted.
    expect(Object.values(node.replica.counters().refused).reduce((a, b) => a + b)).toBe(40);
  });
});

describe("a peer that promises what it does not have", () => {
  test.each([
    ["an empty answer", []],
    ["the same batches again", "old"],
  ] as const)(
    "%s ends the pull: it is not asked again before it tells heads again",
    async (_, answer) => {
      const { node, clock, writer, batches, send, sent } = await createScene();
      await writer.put("key", "value");
      const { incarnation, device: replica } = writer.replica;
      await send({ type: "push", batch: batches[0] ?? zeros(0) });
      await settle();
      await send({ type: "have", heads: [{ replica, incarnation, seq: 1_000, hash: HASH }] });
      await settle();
      const pulls = (): number => sent.messages.filter(({ type }) => type === "pull").length;
      expect(pulls()).toBe(1);
      await send({ type: "batches", batches: answer === "old" ? batches : [] });
      await settle();
      if (sent.messages.at(-1)?.type === "base-pull") {
        await send({ type: "base-part", base: undefined, part: 0, bytes: zeros(0) });
      }
      await settle();
      await pass([node], clock, 2, COMPARE_EVERY_MS);
      expect(pulls()).toBe(1);
      await send({ type: "have", heads: [{ replica, incarnation, seq: 1_001, hash: HASH }] });
      await settle();
      expect(pulls()).toBe(2);
    },
  );

  test("pulls of what nobody has are answered with nothing", async () => {
    const { node, send, sent } = await createScene();
    const { key: replica } = deviceOf(77);
    const spans = Array.from({ length: 1_024 }, (_, i) => ({
      replica,
      incarnation: node.replica.incarnation,
      from: i + 1,
      to: Number.MAX_SAFE_INTEGER,
    }));
    await send({ type: "pull", spans });
    await settle();
    expect(sent.messages.at(-1)).toEqual({ type: "batches", batches: [] });
    expect(node.sync.peers()).toHaveLength(1);
  });
});

describe("a peer that does not read", () => {
  test("is cut at LIMITS.channelBufferBytes when it asks for more and more, and then holds no memory", async () => {
    const { node, send, ended, channel } = await createScene();
    for (let i = 0; i < 10; i++) await node.put(`key-${String(i)}`, large(i));
    const { device: replica, incarnation } = node.replica;
    const spans = [{ replica, incarnation, from: 1, to: 10 }];
    let asked = 0;
    while (asked < 200) {
      try {
        await send({ type: "pull", spans });
      } catch {
        break;
      }
      asked++;
      await settle();
    }
    await ended;
    expect(asked).toBeGreaterThan((LIMITS.channelBufferBytes - 600_000) / LIMITS.syncChunkBytes);
    expect(asked).toBeLessThanOrEqual(LIMITS.channelBufferBytes / 200_000 + 2);
    expect(node.sync.peers()).toEqual([]);
    expect(node.log.at(-1)?.fields["reason"]).toMatch(/reads too slowly|closed/u);
    expect(await bytesLeft(channel)).toBeLessThan(2 * LIMITS.syncChunkBytes);
  });

  test("is told of writes instead of being sent them once half of that waits, and gets them when it reads", async () => {
    const { node, clock, channel, sent } = await createScene();
    for (let i = 0; i < 160; i++) {
      await node.put(`key-${String(i % 10)}`, large(i));
      await pass([node], clock, 1);
    }
    const queued = sent.messages.filter(({ type }) => type === "push").length;
    expect(node.sync.peers()).toHaveLength(1);
    expect(queued).toBeLessThan(160);
    const heard: SyncMessage[] = [];
    const reading = (async () => {
      for await (const bytes of channel.receive()) heard.push(decodeMessage(bytes));
    })();
    await waitFor(() => heard.some(({ type }) => type === "have"), {
      timeoutMs: 10_000,
      what: "the news",
    });
    const pushed = heard.filter(({ type }) => type === "push").length;
    expect(pushed).toBeGreaterThan(10);
    expect(pushed * 30_000).toBeLessThan(LIMITS.channelBufferBytes / 2 + 60_000);
    await channel.close();
    await reading;
  });

  test("is closed all the same once it may not stay", async () => {
    const { node, clock, ended } = await createScene();
    for (let i = 0; i < 20; i++) await node.put(`key-${String(i)}`, large(i));
    await settle();
    await revokeAt(node, PEER, clock.now());
    await settle();
    expect(node.sync.peers()).toEqual([]);
    expect(node.log.some(({ event }) => event === "peer.disconnected")).toBe(false);
    await pass([node], clock, 1, 1_000);
    await ended;
    expect(node.log.at(-1)).toMatchObject({ event: "peer.disconnected" });
  });

  test("does not keep a node from stopping once its channel is closed", async () => {
    const { node, channel, ended } = await createScene();
    for (let i = 0; i < 20; i++) await node.put(`key-${String(i)}`, large(i));
    await settle();
    const stopping = node.sync.stop();
    await settle();
    await channel.close();
    await stopping;
    await ended;
    expect(node.sync.peers()).toEqual([]);
  });
});

test("a push over a gap is held, and what is missing is asked for at once instead of in ten seconds", async () => {
  const { node, clock, writer, batches, send, sent } = await createScene();
  await pass([node], clock, 1);
  for (let i = 0; i < 3; i++) await writer.put("key", String(i));
  await send({ type: "push", batch: batches[2] ?? zeros(0) });
  await settle();
  expect(node.replica.counters()).toMatchObject({ held: 1 });
  await pass([node], clock, COMPARE_SOON_MS / TICK_MS);
  expect(sent.messages.map(({ type }) => type)).toEqual(["hello", "digest"]);
});

test("a flood of pushes waits for the store in bounded numbers, and all arrive", async () => {
  const { node, writer, batches, send } = await createScene();
  for (let i = 0; i < 2_000; i++) await writer.put("key", String(i));
  const { device: replica, incarnation } = writer.replica;
  for (const batch of batches) void send({ type: "push", batch });
  await waitFor(() => node.replica.seqOf(replica, incarnation) === 2_000, {
    timeoutMs: 10_000,
    what: "the flood to be stored",
  });
  expect(node.replica.counters()).toMatchObject({ accepted: 2_000, dropped: 0 });
  expect(node.replica.get(DOC, "key")?.value).toBe("1999");
});

test("a replica that has failed ends its sessions instead of leaving them silent", async () => {
  const { node, writer, batches, send, ended } = await createScene();
  await writer.put("key", "value");
  await node.replica.close();
  await send({ type: "push", batch: batches[0] ?? zeros(0) });
  await ended;
  expect(node.log.at(-1)).toMatchObject({ event: "peer.disconnected" });
});
