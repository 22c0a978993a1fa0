// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what is cheap to send and dear to answer costs a bounded amount, and so does what can't be shown.
 * Method: the test plays the remote by hand against a real node, without passing more time than it says.
 */
import { LIMITS, parseHeaderHash, parseIncarnationId } from "@ctxmesh/model";
import {
  MAX_HEADS,
  MAX_PROBES,
  RECORDS_EVERY_MS,
  RangeIndex,
  initialState,
  step,
} from "@ctxmesh/sync";
import type { ChainHead, LocalView, SessionEvent, SyncMessage } from "@ctxmesh/sync";
import { describe, expect, test } from "vitest";
import { entriesOf } from "../src/chain-map.ts";
import { MAX_SAID } from "../src/session-heads.ts";
import { TICK_MS, deviceOf, pass, settle, spaceOf } from "./mesh.ts";
import { HASH, bytesLeft, createScene, warnings, zeros } from "./scene.ts";

const count = (messages: readonly SyncMessage[], type: SyncMessage["type"]): number =>
  messages.filter((message) => message.type === type).length;

describe("a peer that floods with what is cheap to send", () => {
  const ids = Array.from({ length: 50 }, (_, n) => n.toString(16).padStart(64, "0"));
  test.each<[string, SyncMessage, SyncMessage["type"], number]>([
    ["records", { type: "records", acts: [], forks: [] }, "acts", 512],
    ["records with ids that nobody knows", { type: "records", acts: ids, forks: [] }, "acts", 512],
    ["wants", { type: "want", hashes: ids.map(parseHeaderHash) }, "headers", 128],
    ["pulls of nothing", { type: "pull", spans: [] }, "batches", 16],
    [
      "digests",
      { type: "digest", digest: zeros(16), records: zeros(16), asks: true },
      "ranges",
      16,
    ],
  ])("%s gets a bounded number of answers", async (_, message, answer, cost) => {
    const { node, send, sent, channel } = await createScene();
    const reading = bytesLeft(channel);
    const flooding = (async () => {
      for (let i = 0; i < 20_000; i++) await send(message);
    })().catch(() => undefined);
    for (let i = 0; i < 200; i++) await settle();
    const most = LIMITS.peerBatchBurst / cost + 1;
    expect(count(sent.messages, answer)).toBeGreaterThan(1);
    expect(count(sent.messages, answer)).toBeLessThanOrEqual(most);
    expect(count(sent.messages, "records")).toBeLessThanOrEqual(2);
    expect(node.sync.peers()).toHaveLength(1);
    await node.sync.stop();
    await Promise.all([reading, flooding]);
  });

  test("records that can't be had are asked for every two seconds at most", async () => {
    const { node, clock, send, sent } = await createScene();
    for (let i = 0; i < 100; i++) {
      await send({ type: "digest", digest: zeros(16), records: zeros(16).fill(i), asks: true });
      await send({ type: "acts", acts: [], proofs: [], more: true, records: zeros(16).fill(i) });
      await pass([node], clock, 2);
    }
    const asked = count(sent.messages, "records");
    expect(asked).toBeGreaterThan(1);
    expect(asked).toBeLessThanOrEqual(2 + (100 * 2 * TICK_MS) / RECORDS_EVERY_MS);
  });

  test("acts and proofs that are none are counted, logged once, and end in closing", async () => {
    const { node, send, ended } = await createScene();
    const acts = Array.from({ length: 10 }, () => zeros(9));
    for (let i = 0; i < 2; i++) {
      await send({ type: "acts", acts, proofs: acts, more: false, records: zeros(16) });
    }
    await ended;
    expect(warnings(node)).toEqual(["record.refused"]);
    expect(node.replica.recordIds().forks).toEqual([]);
  });
});

describe("a peer that claims a fork that it can't show", () => {
  test.each(["nothing", "our own batches", "something else"])(
    "by answering with %s costs a bounded number of batches",
    async (what) => {
      const { node, writer, batches, send, sent } = await createScene();
      for (let i = 0; i < 300; i++) await writer.put("key", String(i));
      const { incarnation, device: replica } = writer.replica;
      for (const batch of batches.slice(0, 200)) await send({ type: "push", batch });
      await settle();
      let pulls = 0;
      for (let i = 0; i < 500; i++) {
        const hash = i.toString(16).padStart(32, "f");
        await send({ type: "have", heads: [{ replica, incarnation, seq: 200, hash }] });
        await settle();
        const asked = count(sent.messages, "pull");
        if (asked === pulls) continue;
        pulls = asked;
        const last = sent.messages.findLast(({ type }) => type === "pull");
        const seq = last?.type === "pull" ? (last.spans[0]?.from ?? 0) : 0;
        const own = batches.slice(seq - 1, seq);
        const answer = { nothing: [], "our own batches": own }[what] ?? batches.slice(250, 251);
        await send({ type: "batches", batches: answer });
        await settle();
      }
      expect(pulls).toBeGreaterThan(10);
      expect(pulls).toBeLessThanOrEqual(MAX_PROBES);
      expect(node.replica.seqOf(replica, incarnation)).toBe(200);
      expect(node.replica.evidence()).toEqual([]);
    },
  );
});

const message = (of: SyncMessage): SessionEvent => ({ type: "message", message: of });

test("a peer that names chains without end is remembered up to a bound, and what it named first still is", () => {
  const { key: replica } = deviceOf(0);
  const names = (from: number): ChainHead[] =>
    Array.from({ length: MAX_HEADS }, (_, i) => ({
      replica,
      incarnation: parseIncarnationId((from + i).toString(16).padStart(32, "0")),
      seq: 1,
      hash: HASH,
    }));
  const digest = zeros(16);
  const view: LocalView = {
    space: spaceOf([]).id,
    digest: () => digest,
    heads: () => [],
    ranges: () => new RangeIndex([]),
    own: () => [],
    isHeld: () => false,
    isClaimed: () => false,
    headOf: () => undefined,
    headsByChain: () => new Map(),
    limitOf: () => Number.POSITIVE_INFINITY,
    recordsDigest: () => digest,
    vouches: false,
    sealed: () => [],
    recordIds: () => ({ acts: [], forks: [] }),
  };
  const hello = message({ type: "hello", space: view.space, digest, records: digest });
  let { state } = step(initialState, hello, view);
  for (let n = 0; n < 20; n++) {
    state = step(state, message({ type: "have", heads: names(n * MAX_HEADS) }), view).state;
  }
  expect(state.said.size).toBeLessThanOrEqual(MAX_SAID);
  const [first] = names(0);
  const next = step(
    state,
    message({ type: "have", heads: [{ ...(first as ChainHead), seq: 9 }] }),
    view,
  );
  expect([...entriesOf(next.state.said)].some(([, { seq }]) => seq === 9)).toBe(true);
});
