// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whatever a parent sends, the leaf in C takes nothing that is not signed, whole and in its place, and nothing ends it.
 * Method: a listener of the real link that speaks for itself, and batches of a member that are changed in every way.
 */
import process from "node:process";
import { decodeBatch, encodeBatch, encodeCbor } from "@ctxmesh/codec";
import { parseSpaceId } from "@ctxmesh/model";
import type { Channel } from "@ctxmesh/model";
import { waitFor } from "@ctxmesh/testing";
import { decodeMessage, encodeAnswer, encodeMessage } from "@ctxmesh/sync";
import type { SyncMessage } from "@ctxmesh/sync";
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

/** One session as the parent's side: what it says by itself, and how it answers what the leaf asks. */
class Session {
  readonly channel: Channel;
  readonly heard: SyncMessage[] = [];
  isOver = false;

  constructor(channel: Channel, members: readonly Writer[]) {
    this.channel = channel;
    void this.#run(members).finally(() => (this.isOver = true));
  }

  async #run(members: readonly Writer[]): Promise<void> {
    for await (const bytes of this.channel.receive()) {
      const message = decodeMessage(bytes);
      this.heard.push(message);
      if (message.type !== "ask") continue;
      const devices = members
        .map(({ device }) => device)
        .toSorted()
        .map((device) => ({
          device,
          revoked: false,
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
async function meet(...members: readonly Writer[]): Promise<Session> {
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
