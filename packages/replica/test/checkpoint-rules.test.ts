// SPDX-License-Identifier: Apache-2.0
/** When checkpoints are made, what they are good for, and what becomes of those that are not true or not readable. */
import { encodeSignedRecord } from "@ctxmesh/codec";
import { issueGrant, revokeDevice } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, parseDocumentName } from "@ctxmesh/model";
import type { Store } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import {
  createMemoryStore,
  createRecordingLogger,
  createSeededRandom,
  waitFor,
} from "@ctxmesh/testing";
import type { MemoryStore } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { baseKey, documentRange, isBatchKey, latestKey, logKey } from "../src/layout.ts";
import { DOC, START_MS, creator, forgeChain, open, space, stranger, writer } from "./mesh.ts";
import { readsOf } from "./upheaval.ts";

const everywhere = { upTo: () => Number.POSITIVE_INFINITY, beforeMs: Number.POSITIVE_INFINITY };

/** A store that counts the batches that are read from it. */
function counting(store: MemoryStore): { readonly store: Store; readonly read: () => number } {
  let read = 0;
  const scan: Store["scan"] = async function* scan(range) {
    for await (const entry of store.scan(range)) {
      if (isBatchKey(entry[0])) read++;
      yield entry;
    }
  };
  const counted: Store = {
    write: async (changes) => store.write(changes),
    get: async (key) => store.get(key),
    close: async () => store.close(),
    scan,
  };
  return { store: counted, read: () => read };
}

/** Number of batches that opening reads. */
async function readAtOpening(store: MemoryStore, from: Space = space): Promise<number> {
  const counted = counting(await store.reopen());
  const replica = await open({ store: counted.store, space: from });
  await replica.close();
  return counted.read();
}

/** Five batches of another device and five of ours, then a checkpoint, then `more` of ours. */
async function withCheckpoint(more = 0): Promise<{ store: MemoryStore; replica: Replica }> {
  const store = createMemoryStore();
  const replica = await open({ store });
  for (const { bytes } of forgeChain(5)) await replica.receive(bytes);
  for (let i = 0; i < 5; i++) await replica.put(DOC, [{ key: `own-${String(i)}`, value: i }]);
  await replica.checkpoint();
  for (let i = 0; i < more; i++) await replica.put(DOC, [{ key: `own-${String(i)}`, value: -i }]);
  return { store, replica };
}

/** The acts that a change adds to a space. */
const actsOf = (before: Space, after: Space): readonly Uint8Array[] => {
  const known = new Set(before.acts.map(({ id }) => id));
  return after.acts
    .filter(({ id }) => !known.has(id))
    .map(({ record }) => encodeSignedRecord(record));
};

const granted = issueGrant(space, creator.signer, {
  device: stranger.key,
  service: "agent",
  role: "write",
  notBefore: START_MS,
});
const revoked = revokeDevice(space, creator.signer, {
  device: writer.key,
  heads: [],
  reason: "x",
  now: START_MS,
});

describe("opening", () => {
  test("reads of the log what is behind the checkpoint, and no more", async () => {
    const { store, replica } = await withCheckpoint(3);
    const before = readsOf(replica);
    expect(replica.retention()).toMatchObject({ checkpoint: 10, prunedBatches: 0 });
    expect(await readAtOpening(store)).toBe(3);
    const again = await open({ store: await store.reopen() });
    expect(readsOf(again)).toEqual(before);
  });

  test("takes no document apart that nobody asks for", async () => {
    const { store, replica } = await withCheckpoint();
    await replica.close();
    const again = await open({ store: await store.reopen() });
    expect(again.get(DOC, "own-1")?.value).toBe(1);
    expect(again.get(parseDocumentName("none"), "own-1")).toBeUndefined();
    expect(again.count()).toMatchObject({ documents: 1, facts: 6 });
  });

  test("begins at the base when the newest checkpoint is not true any more", async () => {
    const { store, replica } = await withCheckpoint();
    await replica.prune({
      ...everywhere,
      upTo: ({ replica: device }) => (device === writer.key ? 3 : 0),
    });
    expect(replica.retention()).toMatchObject({ checkpoint: 10, prunedBatches: 3 });
    expect(await readAtOpening(store)).toBe(0);
    // A fork or a revocation past what is pruned.
    const head = forgeChain(5)[3];
    const cut = revokeDevice(space, creator.signer, {
      device: writer.key,
      heads: [
        {
          incarnation: head?.header.incarnation ?? ("" as never),
          seq: 4,
          hash: head?.hash ?? ("" as never),
        },
      ],
      reason: "x",
      now: START_MS,
    });
    const again = await open({ store: await store.reopen(), space: cut });
    expect(again.retention()).toMatchObject({ checkpoint: 3, prunedBatches: 3, stale: [] });
    expect(
      again
        .heads()
        .map(({ seq }) => seq)
        .toSorted((a, b) => a - b),
    ).toEqual([4, 5]);
    expect(again.get(DOC, "forged")?.value).toBe(4);
  });
});

describe("records", () => {
  test("that change nothing of what counts leave the checkpoint, which goes on being true for them", async () => {
    const { store, replica } = await withCheckpoint();
    await replica.addRecords({ acts: actsOf(space, granted) });
    expect(await readAtOpening(store)).toBe(0);
  });

  test("that change what counts drop it in the same write", async () => {
    const { store, replica } = await withCheckpoint();
    const taken = replica.addRecords({ acts: actsOf(space, revoked) });
    await taken;
    expect(await store.get(latestKey)).toBeUndefined();
    const before = readsOf(replica);
    expect(replica.get(DOC, "forged")).toBeUndefined();
    expect(await readAtOpening(store)).toBe(10);
    const again = await open({ store: await store.reopen() });
    expect(readsOf(again)).toEqual(before);
    await again.checkpoint();
    expect(await readAtOpening(store)).toBe(10);
  });

  test.each([
    ["grant", granted],
    ["revocation", revoked],
  ])("that come with the space file, a %s, are judged anew", async (_, from) => {
    const { store, replica } = await withCheckpoint();
    await replica.addRecords({ acts: actsOf(space, from) });
    const before = readsOf(replica);
    const { store: other, replica: asleep } = await withCheckpoint();
    await asleep.close();
    const again = await open({ store: await other.reopen(), space: from });
    expect(again.list({}).map(({ value }) => value)).toEqual(
      (before as { list: readonly { value: unknown }[] }).list.map(({ value }) => value),
    );
    await again.checkpoint();
    expect(await readAtOpening(store, from)).toBe(from === granted ? 0 : 10);
  });

  test("that cut what is pruned are told, over restarts; what was said stays readable, and nothing of it grows", async () => {
    const { store, replica } = await withCheckpoint(2);
    await replica.prune({
      ...everywhere,
      upTo: ({ replica: device }) => (device === writer.key ? 3 : 0),
    });
    expect(replica.degraded()).toEqual([]);
    await replica.addRecords({ acts: actsOf(space, revoked) });
    const stale = [{ replica: writer.key, seq: 3, limit: 0 }];
    for (const each of [replica, await open({ store: await store.reopen() })]) {
      expect(each.retention().stale).toMatchObject(stale);
      expect(each.degraded()).toMatchObject(stale.map((chain) => ({ kind: "stale", ...chain })));
      expect(each.get(DOC, "forged")?.value).toBe(3);
      expect(each.chains().find((chain) => chain.replica === writer.key)).toMatchObject({
        seq: 3,
        void: 2,
      });
    }
  });
});

describe("a checkpoint", () => {
  test("that can't be read is passed over with a warning", async () => {
    const { store, replica } = await withCheckpoint(1);
    const before = readsOf(replica);
    await replica.close();
    for (const value of [Uint8Array.of(), Uint8Array.of(0xa0), Uint8Array.of(1, 2, 3)]) {
      const damaged = await store.reopen();
      await damaged.write([{ key: latestKey, value }]);
      const logger = createRecordingLogger();
      const again = await open({ store: damaged, logger });
      expect(readsOf(again)).toEqual(before);
      expect(logger.entries.map(({ event }) => event)).toContain("replica.checkpoint-unusable");
      await again.checkpoint();
      expect(await readAtOpening(damaged)).toBe(0);
    }
  });

  test.each(["removed", "changed"])("with a document that was %s is passed over", async (how) => {
    const { store, replica } = await withCheckpoint(1);
    const before = readsOf(replica);
    await replica.close();
    const damaged = await store.reopen();
    for await (const [key] of damaged.scan(documentRange)) {
      await damaged.write([how === "removed" ? { key } : { key, value: Uint8Array.of(9) }]);
    }
    const again = await open({ store: damaged });
    expect(readsOf(again)).toEqual(before);
    await again.verify();
  });

  test("that stands for what is pruned, and can't be read, makes the store corrupt", async () => {
    const { store, replica } = await withCheckpoint();
    await replica.prune(everywhere);
    await replica.close();
    for (const damage of [{ key: baseKey, value: Uint8Array.of(1) }, { key: baseKey }]) {
      const damaged = await store.reopen();
      await damaged.write([damage, { key: latestKey }]);
      await expect(open({ store: damaged })).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    }
  });

  test("hides no damage of the log before it from a look at all of it", async () => {
    const { store, replica } = await withCheckpoint(2);
    await replica.verify();
    await replica.close();
    const damaged = await store.reopen();
    await damaged.write([{ key: logKey(4) }]);
    const again = await open({ store: damaged });
    await expect(again.verify()).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  });

  test("leaves nothing behind in the store that no other needs", async () => {
    const { store, replica } = await withCheckpoint();
    for (let i = 0; i < 5; i++) {
      await replica.put(DOC, [{ key: "again", value: i }]);
      await replica.checkpoint();
    }
    let states = 0;
    for await (const _ of store.scan(documentRange)) states++;
    expect(states).toBe(1);
  });

  test("of nothing is none", async () => {
    const store = createMemoryStore();
    const replica = await open({ store });
    await replica.checkpoint();
    expect(replica.retention()).toEqual({ checkpoint: 0, prunedBatches: 0, stale: [] });
    expect(await store.get(latestKey)).toBeUndefined();
  });

  test("is made when much lies behind the last one", async () => {
    const replica = await open();
    const random = createSeededRandom(1);
    const value = (): string =>
      Buffer.from(random.bytes(LIMITS.valueBytes * 0.7)).toString("base64");
    const most = (2 * LIMITS.checkpointEveryBytes) / LIMITS.valueBytes;
    for (let i = 0; i < most; i++)
      await replica.put(DOC, [{ key: String(i % 30), value: value() }]);
    await waitFor(() => replica.retention().checkpoint > 0, {
      timeoutMs: 10_000,
      what: "a checkpoint",
    });
    expect(replica.retention().prunedBatches).toBe(0);
  });

  test("is made on closing when few batches hold much", async () => {
    const random = createSeededRandom(4);
    const text = (): string =>
      Buffer.from(random.bytes(LIMITS.valueBytes * 0.7)).toString("base64");
    const store = createMemoryStore();
    const replica = await open({ store });
    for (let i = 0; i * LIMITS.valueBytes < 2 * LIMITS.checkpointBytesAtClose; i++) {
      await replica.put(DOC, [{ key: String(i), value: text() }]);
    }
    await replica.close();
    expect(await readAtOpening(store)).toBe(0);
  });

  test("is made on closing when that spares the next opening much", async () => {
    const chain = forgeChain(LIMITS.checkpointBatchesAtClose);
    for (const [length, read] of [
      [chain.length - 1, chain.length - 1],
      [chain.length, 0],
    ] as const) {
      const store = createMemoryStore();
      const replica = await open({ store });
      await Promise.all(chain.slice(0, length).map(async ({ bytes }) => replica.receive(bytes)));
      await replica.close();
      expect(await readAtOpening(store)).toBe(read);
    }
  });
});

describe("a checkpoint or a pruning", () => {
  test("of a closed replica, or one whose store failed, is refused", async () => {
    const { store, replica } = await withCheckpoint(1);
    store.failNextWrite("lost");
    await expect(replica.checkpoint()).rejects.toMatchObject({ code: "STORE_FAILED" });
    await expect(replica.put(DOC, [{ key: "k", value: 1 }])).rejects.toMatchObject({
      code: "STORE_FAILED",
    });
    await expect(replica.checkpoint()).rejects.toMatchObject({ code: "STORE_FAILED" });
    await replica.close();
    await expect(replica.checkpoint()).rejects.toMatchObject({ code: "CLOSED" });
    await expect(replica.prune(everywhere)).rejects.toMatchObject({ code: "CLOSED" });
  });

  test("that waits when the replica fails is refused, and none waits for ever", async () => {
    const { store, replica } = await withCheckpoint(1);
    store.failNextWrite("lost");
    const ended = await Promise.allSettled([
      replica.put(DOC, [{ key: "k", value: 1 }]),
      replica.checkpoint(),
      replica.checkpoint(),
      replica.prune(everywhere),
    ]);
    expect(ended.map(({ status }) => status)).toEqual(Array.from({ length: 4 }, () => "rejected"));
  });
});
