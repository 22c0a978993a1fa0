// SPDX-License-Identifier: Apache-2.0
/** What goes when the log is pruned, what stays known of it, and what a damaged store keeps of it. */
import { decodeBatch } from "@ctxmesh/codec";
import { hlcToMs } from "@ctxmesh/model";
import type { HeaderHash, Vault } from "@ctxmesh/model";
import { salvageBase, salvageBatches, salvageRecords } from "@ctxmesh/replica";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createVirtualClock, silentLogger, waitFor } from "@ctxmesh/testing";
import type { MemoryStore } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { documentRange, hashRange, isBatchKey, pruningKey } from "../src/layout.ts";
import { FullStore } from "./full-store.ts";
import {
  DOC,
  START_MS,
  forge,
  forgeChain,
  hlcAt,
  incarnationOf,
  open,
  stranger,
  unaccounted,
  us,
  writer,
} from "./mesh.ts";
import { readsOf } from "./upheaval.ts";

const CHAIN = forgeChain(6);
const EVERYTHING = { gte: Uint8Array.of(1), lt: new Uint8Array(64).fill(0xff) };
const ALWAYS = Number.POSITIVE_INFINITY;
const of = (n: number) => CHAIN[n - 1] ?? forge();

/** Six batches of another device at the log positions 1 to 6, a millisecond apart; then two of ours, a second later. */
async function filled(store: MemoryStore | FullStore = createMemoryStore()): Promise<Replica> {
  const clock = createVirtualClock(START_MS);
  const replica = await open({ store, clock });
  for (const { bytes } of CHAIN) await replica.receive(bytes);
  clock.advance(1_000);
  for (const key of ["own", "more"]) await replica.put(DOC, [{ key, value: 1 }]);
  return replica;
}

const upTo =
  (most: number) =>
  ({ replica }: { replica: string }): number =>
    replica === writer.key ? most : 0;

/** The log positions in a store. */
async function positionsIn(store: MemoryStore | FullStore): Promise<readonly number[]> {
  const found: number[] = [];
  for await (const [key] of store.scan(EVERYTHING)) {
    if (isBatchKey(key)) found.push(Number(Buffer.from(key).readBigUInt64BE(1)));
  }
  return found;
}

async function seqsOf(replica: Replica, from: number, to = ALWAYS): Promise<readonly number[]> {
  const span = { replica: writer.key, incarnation: incarnationOf(9), from, to: Math.min(to, 1e6) };
  const found: number[] = [];
  for await (const { seq } of replica.read([span])) found.push(seq);
  return found;
}

const noIdea = (): number => {
  throw new Error("no idea");
};

describe("a pruning", () => {
  test.each([
    ["nothing that may go", 0, ALWAYS, 0],
    ["a seq that must stay", 3, ALWAYS, 3],
    ["a chain that must stay", 99, ALWAYS, 6],
    ["a time", 99, START_MS + 5, 4],
    ["the first time", 99, START_MS, 0],
  ])("ends at %s", async (_, most, beforeMs, gone) => {
    const store = new FullStore();
    const replica = await filled(store);
    const before = readsOf(replica);
    const sizes = CHAIN.slice(0, gone).map(({ bytes }) => bytes.length);
    expect(await replica.prune({ upTo: upTo(most), beforeMs })).toEqual({
      batches: gone,
      bytes: sizes.reduce((sum, size) => sum + size, 0),
    });
    expect(await positionsIn(store)).toEqual([1, 2, 3, 4, 5, 6, 7, 8].slice(gone));
    expect(replica.retention()).toEqual({
      checkpoint: gone,
      prunedBatches: gone,
      stale: [],
      ...(gone === 0 ? {} : { prunedBeforeMs: hlcToMs(of(gone).header.hlc) + 1 }),
    });
    expect(readsOf(replica)).toEqual(before);
    const again = await open({ store: await store.reopen() });
    expect(readsOf(again)).toEqual(before);
    await again.verify();
  });

  test("again goes on where the last one ended, and once more does nothing", async () => {
    const store = createMemoryStore();
    const replica = await filled(store);
    for (const [most, gone] of [
      [2, 2],
      [5, 3],
      [5, 0],
      [1, 0],
    ] as const) {
      expect(await replica.prune({ upTo: upTo(most), beforeMs: ALWAYS })).toMatchObject({
        batches: gone,
      });
    }
    expect(replica.retention().prunedBatches).toBe(5);
  });

  test("of everything leaves a replica that goes on", async () => {
    const store = createMemoryStore();
    const replica = await filled(store);
    await replica.prune({ upTo: () => ALWAYS, beforeMs: ALWAYS });
    expect(await positionsIn(store)).toEqual([]);
    await replica.put(DOC, [{ key: "after", value: 1 }]);
    const before = readsOf(replica);
    await replica.close();
    const again = await open({ store: await store.reopen() });
    expect(readsOf(again)).toEqual(before);
    expect(await positionsIn(store.crash())).toEqual([9]);
  });

  test("that is asked for twice at once is done one after the other", async () => {
    const replica = await filled();
    const reports = await Promise.all([
      replica.prune({ upTo: upTo(2), beforeMs: ALWAYS }),
      replica.checkpoint(),
      replica.prune({ upTo: upTo(6), beforeMs: ALWAYS }),
    ]);
    expect(reports).toMatchObject([{ batches: 2 }, undefined, { batches: 4 }]);
  });

  test("that fails for its caller's sake leaves the replica as it was", async () => {
    const replica = await filled();
    await expect(replica.prune({ upTo: noIdea, beforeMs: ALWAYS })).rejects.toThrow("no idea");
    await replica.put(DOC, [{ key: "k", value: 1 }]);
    expect(await replica.prune({ upTo: upTo(6), beforeMs: ALWAYS })).toMatchObject({ batches: 6 });
  });

  test("that the machine stopped in is ended by the next life", async () => {
    const store = new FullStore();
    const replica = await filled(store);
    // The base is there, the removal of what it stands for is not.
    store.failWrite(3, "lost");
    await expect(replica.prune({ upTo: upTo(6), beforeMs: ALWAYS })).rejects.toMatchObject({
      code: "STORE_FAILED",
    });
    const next = await store.reopen();
    expect(await positionsIn(next)).toHaveLength(8);
    expect(await next.get(pruningKey)).toBeDefined();
    const again = await open({ store: next });
    expect(again.retention().prunedBatches).toBe(6);
    await waitFor(async () => (await positionsIn(next)).length === 2, {
      timeoutMs: 10_000,
      what: "the end of the removal",
    });
    await again.close();
    expect((await next.reopen().then((last) => last.get(pruningKey))) ?? "none").toBe("none");
  });
});

/** A replica with the first four of the chain pruned. */
const pruned = async (): Promise<Replica> => {
  const replica = await filled();
  await replica.prune({ upTo: upTo(4), beforeMs: ALWAYS });
  return replica;
};

describe("of what is pruned", () => {
  test("nothing is served, nor anything behind it to whoever asks for it", async () => {
    const replica = await pruned();
    expect(await seqsOf(replica, 1)).toEqual([]);
    expect(await seqsOf(replica, 4)).toEqual([]);
    expect(await seqsOf(replica, 5)).toEqual([5, 6]);
    const own = replica.heads().find((head) => head.replica === us.key);
    const spans = [
      { replica: writer.key, incarnation: incarnationOf(9), from: 2, to: 6 },
      { replica: us.key, incarnation: own?.incarnation ?? incarnationOf(0), from: 1, to: 2 },
    ];
    const read: string[] = [];
    for await (const batch of replica.read(spans)) read.push(batch.replica);
    expect(read).toEqual([us.key, us.key]);
  });

  test("a reader that was under way gets no more", async () => {
    const replica = await filled();
    const span = { replica: writer.key, incarnation: incarnationOf(9), from: 1, to: 6 };
    const seqs: number[] = [];
    for await (const { seq } of replica.read([span])) {
      seqs.push(seq);
      if (seq === 1) await replica.prune({ upTo: upTo(4), beforeMs: ALWAYS });
    }
    expect(seqs).toEqual([1]);
  });

  test("a batch is a duplicate still, and what names it has all it needs", async () => {
    const replica = await pruned();
    for (const { bytes } of CHAIN)
      expect(await replica.receive(bytes)).toEqual({ kind: "duplicate" });
    const names = forge({ incarnation: incarnationOf(3), hlc: hlcAt(7), deps: [of(2).hash] });
    expect(await replica.receive(names.bytes)).toEqual({ kind: "accepted" });
    expect(unaccounted(replica.counters())).toBe(0);
  });

  test("another header at the same place is a fork, of which there is no proof", async () => {
    const replica = await pruned();
    const prev = (seq: number): HeaderHash | null => decodeBatch(of(seq).bytes).header.prev;
    for (const seq of [1, 3, 4]) {
      const options = {
        seq,
        prev: prev(seq),
        epoch: 0,
        hlc: hlcAt(seq),
        records: [{ key: "x", seq, hlc: hlcAt(seq) }],
      };
      const signed = await replica.receive(forge({ ...options }).bytes);
      expect(signed).toMatchObject({ kind: "refused", reason: "equivocation" });
      const unsigned = await replica.receive(forge({ ...options, signer: stranger.signer }).bytes);
      expect(unsigned).toMatchObject({ kind: "refused", reason: "signature" });
    }
    expect(replica.evidence()).toEqual([]);
    expect(await replica.signedHeaders(of(2).hash)).toEqual([]);
    expect(await replica.signedHeaders(of(5).hash)).toHaveLength(1);
  });

  test("the past can be asked for from then on", async () => {
    const replica = await pruned();
    const since = replica.retention().prunedBeforeMs ?? 0;
    await expect(replica.getAt(DOC, "forged", since - 2)).rejects.toMatchObject({
      code: "HISTORY_PRUNED",
    });
    expect((await replica.getAt(DOC, "forged", since - 1))?.value).toBe(4);
    expect((await replica.getAt(DOC, "forged", since))?.value).toBe(5);
    expect(await replica.history(DOC, "forged")).toMatchObject({
      entries: [{ value: 6 }, { value: 5 }],
      reachesBack: { sinceMs: since },
    });
  });
});

const noVault = async (): Promise<Vault | undefined> => Promise.resolve(undefined);

/** A new store of what is left of an old one, and a replica on it. */
async function heal(damaged: MemoryStore): Promise<{ replica: Replica; hasBase: boolean }> {
  const store = createMemoryStore();
  await salvageRecords(damaged.scan(EVERYTHING), store);
  const hasBase = await salvageBase(damaged, store, noVault);
  const replica = await open({ store });
  await salvageBatches(
    damaged.scan(EVERYTHING),
    undefined,
    (b) => replica.receive(b),
    silentLogger,
  );
  return { replica, hasBase };
}

describe("of a damaged store", () => {
  test("that was pruned the base is kept, and what is behind it follows", async () => {
    const store = createMemoryStore();
    const replica = await filled(store);
    await replica.prune({ upTo: upTo(4), beforeMs: ALWAYS });
    await replica.checkpoint();
    const before = readsOf(replica);
    await replica.close();
    const healed = await heal(await store.reopen());
    expect(healed.hasBase).toBe(true);
    expect(readsOf(healed.replica)).toEqual(before);
    expect(healed.replica.degraded()).toEqual([]);
    expect(healed.replica.retention()).toMatchObject({ prunedBatches: 4 });
    expect(await healed.replica.receive(of(2).bytes)).toEqual({ kind: "duplicate" });
    await healed.replica.verify();
  });

  test.each([
    ["a document", documentRange],
    ["a hash", hashRange],
  ])("that lacks %s of the pruned part, all of it is expected from peers", async (_, range) => {
    const store = createMemoryStore();
    const replica = await filled(store);
    await replica.prune({ upTo: upTo(4), beforeMs: ALWAYS });
    const before = readsOf(replica);
    await replica.close();
    const damaged = await store.reopen();
    for await (const [key, value] of damaged.scan(range)) {
      if (range === hashRange && Buffer.from(value).readBigUInt64BE() > 4n) continue;
      await damaged.write([{ key }]);
      break;
    }
    const healed = await heal(damaged);
    expect(healed.hasBase).toBe(false);
    // Ours name what is not there.
    expect(healed.replica.degraded()).toMatchObject([
      { kind: "behind", replica: writer.key, seq: 0, expected: 6 },
      { kind: "behind", replica: us.key, seq: 0, expected: 2 },
    ]);
    for (const { bytes } of CHAIN) await healed.replica.receive(bytes);
    await waitFor(() => healed.replica.degraded().length === 0, {
      timeoutMs: 10_000,
      what: "what was held",
    });
    expect(readsOf(healed.replica)).toEqual(before);
  });

  test("that was not pruned there is none, and its checkpoint is made anew", async () => {
    const store = createMemoryStore();
    const replica = await filled(store);
    await replica.checkpoint();
    const before = readsOf(replica);
    await replica.close();
    const healed = await heal(await store.reopen());
    expect(healed.hasBase).toBe(false);
    expect(readsOf(healed.replica)).toEqual(before);
    expect(healed.replica.retention()).toMatchObject({ checkpoint: 0, prunedBatches: 0 });
  });
});
