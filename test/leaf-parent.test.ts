// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whatever a parent sends, the leaf in C takes nothing that is not signed, whole and in its place, and nothing ends it.
 * Method: a listener of the real link that speaks for itself, and batches of a member that are changed in every way.
 */
import { rmSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { decodeBatch, encodeBatch, encodeCbor } from "@ctxmesh/codec";
import type { Batch } from "@ctxmesh/codec";
import { parseDeviceKey, parseIncarnationId, parseSpaceId, toHex } from "@ctxmesh/model";
import type { Channel, DeviceKey } from "@ctxmesh/model";
import { systemRandom } from "@ctxmesh/service";
import { waitFor } from "@ctxmesh/testing";
import { decodeMessage, encodeAnswer, encodeMessage } from "@ctxmesh/sync";
import type { ChainHead, SyncMessage } from "@ctxmesh/sync";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Leaf, buildLeaf } from "./leaf/program.ts";
import { SPACE, Writer, startParent } from "./leaf/writer.ts";
import type { Parent } from "./leaf/writer.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const build = buildLeaf();
const isMissing = build.missing !== undefined;
if (isMissing) process.stderr.write(`the leaf is not tested: ${build.missing}`);
const ZEROS = new Uint8Array(16);

let leaf: Leaf;
let parent: Parent;
beforeEach(async () => {
  if (isMissing) return;
  leaf = new Leaf(build.binary);
  parent = await startParent(leaf);
});
afterEach(async () => {
  await leaf?.[Symbol.asyncDispose]();
  await parent?.[Symbol.asyncDispose]();
});

/** A writer that the roster lists, and batches of it. */
const writer = (seed = 9): Writer => new Writer(seed);

/** Who is in the roster. */
interface Member {
  readonly device: DeviceKey;
  readonly revoked?: boolean;
}

/** One session as the parent's side: what it says by itself, and how it answers what the leaf asks. */
class Session {
  readonly channel: Channel;
  readonly heard: SyncMessage[] = [];
  isOver = false;
  /** What it says to whatever is no question for the roster. */
  onMessage: ((message: SyncMessage) => Promise<void>) | undefined;

  constructor(channel: Channel, members: readonly Member[]) {
    this.channel = channel;
    void this.#run(members).finally(() => (this.isOver = true));
  }

  async #run(members: readonly Member[]): Promise<void> {
    for await (const bytes of this.channel.receive()) {
      const message = decodeMessage(bytes);
      this.heard.push(message);
      if (message.type !== "ask") {
        await this.onMessage?.(message);
        continue;
      }
      const devices = members
        .toSorted((a, b) => (a.device < b.device ? -1 : 1))
        .map(({ device, revoked = false }) => ({
          device,
          revoked,
          grants: [{ role: "write" as const, notBefore: 0, notAfter: 2 ** 48 }],
        }));
      const answer = encodeAnswer({ kind: "roster", records: ZEROS, devices, limits: [] });
      await this.say({ type: "answer", id: message.id, answer });
    }
  }

  async say(message: SyncMessage): Promise<void> {
    await this.raw(encodeMessage(message));
  }

  /** Sends bytes that may be no message. */
  async raw(bytes: Uint8Array): Promise<void> {
    await this.channel.send(bytes).catch(() => undefined);
  }

  async push(batch: Uint8Array): Promise<void> {
    await this.say({ type: "push", batch });
  }
}

/** The leaf's next session, greeted and with a roster. */
async function meet(...members: readonly Member[]): Promise<Session> {
  const before = parent.channels.length;
  await waitFor(() => parent.channels.length > before || before > 0, {
    timeoutMs: 20_000,
    what: "the leaf",
  });
  const channel = parent.channels.at(-1);
  if (channel === undefined) throw new Error("no channel");
  const session = new Session(channel, members);
  await session.say({ type: "hello", space: SPACE, digest: ZEROS, records: ZEROS });
  await waitFor(() => session.heard.some(({ type }) => type === "digest") || session.isOver, {
    timeoutMs: 20_000,
    what: "the leaf to have its roster",
  });
  return session;
}

const valueOf = async (key: string): Promise<unknown> =>
  (JSON.parse((await leaf.ask(`get a ${key}`))[0] ?? "null") as { readonly value: unknown } | null)
    ?.value;

/** Waits until what was sent before has been looked at: a later push of another writer has arrived. */
async function settle(session: Session, marker: Writer): Promise<void> {
  const seq = marker.seq + 1;
  await session.push(marker.put("marker", String(seq)));
  await waitFor(async () => (await valueOf("marker")) === seq || session.isOver, {
    timeoutMs: 20_000,
    what: "the marker to arrive",
  });
}

test.skipIf(isMissing)(
  "a batch that was changed in any bit is refused, and the state is as it was",
  async () => {
    await leaf.start();
    const [honest, marker] = [writer(), writer(8)];
    let session = await meet(honest, marker);
    const bytes = honest.put("fact", '"true"');
    let refused = 0;
    for (let bit = 0; bit < bytes.length * 8; bit += 97) {
      const changed = new Uint8Array(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      await session.push(changed);
      refused++;
      if (refused % 8 !== 0) continue;
      await settle(session, marker);
      if (!session.isOver) continue;
      // Sixteen of them end a session; the leaf comes again by itself.
      const count = parent.channels.length;
      await waitFor(() => parent.channels.length > count, { timeoutMs: 20_000, what: "the leaf" });
      session = await meet(honest, marker);
    }
    expect(await valueOf("fact")).toBeUndefined();
    await session.push(bytes);
    await waitFor(async () => (await valueOf("fact")) === "true", {
      timeoutMs: 20_000,
      what: "the fact",
    });
    expect(leaf.said).toContain("refused a batch: signature");
  },
);

test.skipIf(isMissing)(
  "nothing comes in that is somebody else's, cut, doubled, out of its place, or of another space",
  async () => {
    await leaf.start();
    const [honest, marker, stranger] = [writer(), writer(8), writer(7)];
    const session = await meet(honest, marker);
    const first = honest.put("k", "1");
    const second = honest.put("k", "2");
    const third = honest.put("k", "3");
    const foreign = new Writer(9, parseSpaceId("6b".repeat(32)));
    const batch = decodeBatch(third);
    await session.push(stranger.put("stranger", "1"));
    await session.push(foreign.put("foreign", "1"));
    await session.push(honest.put("late", "1"));
    await session.push(first);
    await session.push(first.subarray(0, -1));
    await session.push(third);
    await session.push(second);
    await session.push(second);
    await session.push(encodeBatch({ ...batch, bodies: [null] }));
    await session.push(encodeBatch({ ...batch, bodies: [new Uint8Array(200_000)] }));
    await settle(session, marker);
    expect(await valueOf("k")).toBe(2);
    for (const key of ["stranger", "foreign", "late"]) expect(await valueOf(key)).toBeUndefined();
    await session.push(third);
    await waitFor(async () => (await valueOf("k")) === 3, {
      timeoutMs: 20_000,
      what: "the third batch",
    });
    expect(leaf.check().status).toBe(0);
  },
);

test.skipIf(isMissing)(
  "messages that are none end the session and nothing else; the leaf comes again",
  async () => {
    await leaf.start();
    const marker = writer(8);
    const client = await leaf.client();
    await client.ask("put a own 1");
    const big = new Uint8Array(1_048_576);
    const bad: Uint8Array[] = [
      big,
      encodeCbor([99]),
      encodeCbor([4, []]),
      encodeCbor([10, []]),
      encodeCbor([2, [[new Uint8Array(32), new Uint8Array(16), 0, new Uint8Array(16).fill(1)]]]),
      encodeCbor([14, 17, [Uint8Array.of(3), []]]),
      encodeCbor([14, 1, [Uint8Array.of(9), null]]),
      encodeCbor([3, [[new Uint8Array(32), new Uint8Array(16), 5, 4]]]),
      Uint8Array.of(0x82, 0x18, 0x02, 0x80),
      Uint8Array.of(0x9f, 0x02, 0x80, 0xff),
    ];
    for (const bytes of bad) {
      const count = parent.channels.length;
      const session = await meet(marker);
      await session.raw(bytes);
      await waitFor(() => session.isOver, { timeoutMs: 20_000, what: "the end of the session" });
      expect((await leaf.ask("get a own"))[0]).toContain('"value":1');
      // It comes again by itself, each time later; one that is started anew comes at once.
      await leaf.end();
      await leaf.start();
      await waitFor(() => parent.channels.length > count, { timeoutMs: 20_000, what: "the leaf" });
    }
  },
);

test.skipIf(isMissing)("random changes of honest messages never end the leaf", async () => {
  await leaf.start();
  const [honest, marker] = [writer(), writer(8)];
  const seeds = [
    encodeMessage({
      type: "have",
      heads: [
        { replica: honest.device, incarnation: honest.incarnation, seq: 3, hash: "ab".repeat(16) },
      ],
    }),
    encodeMessage({
      type: "ranges",
      round: 1,
      ranges: [
        { upper: "80", mode: "fingerprint", fingerprint: "ab".repeat(16) },
        { upper: "", mode: "list", heads: [] },
      ],
    }),
    encodeMessage({ type: "push", batch: honest.put("k", "1") }),
    encodeMessage({
      type: "pull",
      spans: [{ replica: honest.device, incarnation: honest.incarnation, from: 1, to: 9 }],
    }),
    encodeMessage({ type: "acts", acts: [], proofs: [], more: false, records: ZEROS }),
    encodeMessage({ type: "ask", id: 1, question: new Uint8Array(3) }),
  ];
  let session = await meet(honest, marker);
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...seeds), fc.nat(), fc.nat(255), async (seed, at, byte) => {
      const changed = new Uint8Array(seed);
      changed[at % changed.length] = byte;
      await session.raw(changed);
      if (!session.isOver || parent.channels.length > 3) return;
      const count = parent.channels.length;
      await waitFor(() => parent.channels.length > count, {
        timeoutMs: 20_000,
        what: "the leaf again",
      });
      session = await meet(honest, marker);
    }),
    { numRuns: 200 },
  );
  expect((await leaf.ask("put a k 7", "get a k"))[1]).toContain('"value":7');
});

const until = async (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
  waitFor(condition, { timeoutMs: 20_000, what });
const ownDevice = (): DeviceKey => parseDeviceKey(leaf.device);
/** The leaf's batches that were pushed, or came of pulls. */
const batchesOf = ({ heard }: Session): readonly Batch[] =>
  heard
    .flatMap((message) =>
      message.type === "push" ? [message.batch] : message.type === "batches" ? message.batches : [],
    )
    .map((bytes) => decodeBatch(bytes));

test.skipIf(isMissing)("chains that others name leave room for the leaf's own", async () => {
  await leaf.start();
  const honest = writer();
  const session = await meet(honest);
  const heads = Array.from({ length: 8_192 }, () => ({
    replica: honest.device,
    incarnation: parseIncarnationId(toHex(systemRandom.bytes(16))),
    seq: 3,
    hash: "ab".repeat(16),
  }));
  await session.say({ type: "have", heads });
  await until("the leaf to ask", () => session.heard.some(({ type }) => type === "pull"));
  expect(await leaf.ask("put a k 1", "get a k")).toEqual([
    "ok 1",
    expect.stringContaining('"value":1'),
  ]);
});

test.skipIf(isMissing)("many short questions with long answers take no memory", async () => {
  await leaf.start();
  const session = await meet();
  const client = await leaf.client();
  for (let i = 0; i < 12; i++) {
    await client.ask(`put a k${String(i)} "${toHex(systemRandom.bytes(30_000))}"`);
  }
  const peak = async (): Promise<number> =>
    (JSON.parse((await client.ask("status"))[0] ?? "") as { readonly peakRssKiB: number })
      .peakRssKiB;
  const before = await peak();
  const [{ header }] = batchesOf(session) as [Batch];
  const { replica, incarnation } = header;
  const spans = [{ replica, incarnation, from: 1, to: 12 }];
  await Promise.all(Array.from({ length: 400 }, async () => session.say({ type: "pull", spans })));
  const answers = (): number => session.heard.filter(({ type }) => type === "batches").length;
  await until("some answers", () => answers() > 20);
  // Sanitizers keep what was freed.
  const most = process.env["CTXMESH_LEAF_SANITIZE"] === "1" ? Number.POSITIVE_INFINITY : 8_192;
  expect((await peak()) - before).toBeLessThan(most);
});

test.skipIf(isMissing)("what comes in many parts comes whole, and without waiting", async () => {
  await leaf.start();
  const writers = Array.from({ length: 5 }, (_, i) => writer(20 + i));
  const session = await meet(...writers);
  const chains = writers.map(({ device, incarnation }) => ({ replica: device, incarnation }));
  const batches = writers.map((one, i) => [1, 2].map((n) => one.put(`k${String(i)}`, String(n))));
  session.onMessage = async (message): Promise<void> => {
    if (message.type !== "pull") return;
    // One batch at a time; the third chain has one that is none.
    const [span] = message.spans;
    const i = chains.findIndex(({ incarnation }) => incarnation === span?.incarnation);
    const good = batches[i]?.[(span?.from ?? 0) - 1] ?? new Uint8Array();
    const bytes = i === 2 ? encodeBatch({ ...decodeBatch(good), bodies: [null] }) : good;
    await session.say({ type: "batches", batches: [bytes] });
  };
  await session.say({
    type: "have",
    heads: chains.map((chain) => ({ ...chain, seq: 2, hash: "ab".repeat(16) })),
  });
  for (const i of [0, 1, 3, 4]) {
    await until(`chain ${String(i)}`, async () => (await valueOf(`k${String(i)}`)) === 2);
  }
  expect(session.heard.filter(({ type }) => type === "pull")).toHaveLength(9);
  expect(await valueOf("k2")).toBeUndefined();
});

test.skipIf(isMissing)(
  "a leaf that lost its log, and gets an old chain of its own back, counts its facts on",
  async () => {
    await leaf.start();
    let session = await meet({ device: ownDevice() });
    await leaf.ask("put a old 1");
    await until("the batch", () => batchesOf(session).length === 1);
    const [old] = batchesOf(session) as [Batch];
    await leaf.end("SIGKILL");
    rmSync(join(leaf.dir, "log"));
    await leaf.start();
    await leaf.ask("put a new 1");
    await until("the leaf again", () => parent.channels.length === 2);
    session = await meet({ device: ownDevice() });
    await session.push(encodeBatch(old));
    await until("what was lost", async () => (await valueOf("old")) === 1);
    await leaf.ask("put a new 2");
    const fresh = (): ChainHead | undefined =>
      session.heard
        .flatMap((message) => (message.type === "have" ? message.heads : []))
        .find(({ incarnation, seq }) => incarnation !== old.header.incarnation && seq === 2);
    await until("to be told", () => fresh() !== undefined);
    const { replica, incarnation } = fresh() ?? old.header;
    await session.say({ type: "pull", spans: [{ replica, incarnation, from: 1, to: 2 }] });
    await until("both batches", () => batchesOf(session).length >= 2);
    const intervals = batchesOf(session)
      .map(({ header }) => header.sections[0])
      .map((section) => [section?.from, section?.to]);
    expect(intervals).toEqual([
      [0, 1],
      [1, 2],
    ]);
  },
);

test.skipIf(isMissing)("a leaf that is revoked says so to whoever writes", async () => {
  await leaf.start();
  const marker = writer(8);
  const session = await meet(marker, { device: ownDevice(), revoked: true });
  await settle(session, marker);
  expect(await leaf.ask("put a k 1")).toEqual([
    expect.stringMatching(/^error POLICY_REFUSED: .*revoked/u),
  ]);
});

test.skipIf(isMissing)("a torn end behind a roster is cut off as any other", async () => {
  await leaf.start();
  expect(await leaf.ask("put a before 1")).toEqual(["ok 1"]);
  await meet(writer());
  expect(await leaf.ask("put a after 1")).toEqual(["ok 2"]);
  await leaf.end("SIGKILL");
  const log = join(leaf.dir, "log");
  truncateSync(log, statSync(log).size - 1);
  await leaf.start();
  expect(await leaf.ask("get a before", "get a after")).toEqual([
    expect.stringContaining('"value":1'),
    "null",
  ]);
});
