// SPDX-License-Identifier: Apache-2.0
import { MeshError } from "@ctxmesh/model";
import type { Store, StoreChange } from "@ctxmesh/model";
import {
  createMemoryStore,
  createRecordingLogger,
  createSeededRandom,
  createVirtualClock,
} from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DOC, START_MS, applied, forge, forgeChain, hlcAt, open, stateOf, us } from "./mesh.ts";

const storeFailed = expect.objectContaining({ code: "STORE_FAILED" }) as MeshError;

describe.each(["lost", "kept"] as const)("when a store write fails and was %s", (outcome) => {
  test("all its callers get the error, nothing of it shows, and nothing more is taken", async () => {
    const store = createMemoryStore();
    const replica = await open({ store });
    const announced = applied(replica);
    await replica.put(DOC, [{ key: "before", value: 1 }]);
    const before = stateOf(replica);
    store.failNextWrite(outcome);
    const results = await Promise.allSettled([
      replica.put(DOC, [{ key: "a", value: 1 }]),
      replica.put(DOC, [{ key: "b", value: 2 }]),
      replica.delete(DOC, ["before"]),
      replica.receive(forge().bytes),
    ]);
    for (const result of results) {
      expect(result).toEqual({ status: "rejected", reason: storeFailed });
    }
    expect(replica.failure).toEqual(storeFailed);
    expect(stateOf(replica)).toEqual(before);
    expect(replica.list({})).toMatchObject([{ key: "before", value: 1 }]);
    expect(announced).toHaveLength(1);
    await expect(replica.put(DOC, [{ key: "c", value: 3 }])).rejects.toEqual(storeFailed);
    await expect(replica.receive(forge().bytes)).rejects.toEqual(storeFailed);
    expect(replica.counters()).toMatchObject({ received: 0, accepted: 0 });
    replica.retryTimed();
    await replica.close();
  });

  test("a reopened replica has the whole group or nothing of it, and writes on", async () => {
    const store = createMemoryStore();
    const replica = await open({ store });
    await replica.put(DOC, [{ key: "before", value: 1 }]);
    store.failNextWrite(outcome);
    await Promise.allSettled([
      replica.put(DOC, [{ key: "a", value: 1 }]),
      replica.receive(forge().bytes),
    ]);
    await replica.close();
    const again = await open({ store: await store.reopen() });
    const keys = again.list({}).map(({ key }) => key);
    expect(keys).toEqual(outcome === "kept" ? ["a", "before", "forged"] : ["before"]);
    expect(again.failure).toBeUndefined();
    const redelivered = await again.receive(forge().bytes);
    expect(redelivered.kind).toBe(outcome === "kept" ? "duplicate" : "accepted");
    await again.put(DOC, [{ key: "after", value: 1 }]);
    expect(again.list({})).toHaveLength(4 - (outcome === "kept" ? 0 : 1));
  });
});

/** A store that counts its writes and can hold them back. */
function gated(): { store: Store; writes: number; release: (() => void)[] } {
  const inner = createMemoryStore();
  const state: { store: Store; writes: number; release: (() => void)[] } = {
    store: {
      write: async (changes: readonly StoreChange[]) => {
        state.writes++;
        if (state.writes > 1) {
          const { promise, resolve } = Promise.withResolvers<void>();
          state.release.push(resolve);
          await promise;
          throw new MeshError("STORE_FAILED", "the disk is gone");
        }
        await inner.write(changes);
      },
      get: (key) => inner.get(key),
      scan: (range) => inner.scan(range),
      close: () => inner.close(),
    },
    writes: 0,
    release: [],
  };
  return state;
}

test("what was queued behind a failed write gets its error too, and the store is not written again", async () => {
  const state = gated();
  const replica = await open({ store: state.store });
  const first = replica.put(DOC, [{ key: "a", value: 1 }]);
  const caught = expect(first).rejects.toEqual(storeFailed);
  while (state.release.length === 0) await Promise.resolve();
  const queued = Promise.allSettled([
    replica.put(DOC, [{ key: "b", value: 1 }]),
    replica.receive(forge().bytes),
  ]);
  state.release[0]?.();
  await caught;
  for (const result of await queued) {
    expect(result).toEqual({ status: "rejected", reason: storeFailed });
  }
  // One for the incarnation, one that failed.
  expect(state.writes).toBe(2);
});

test("held batches of a failed replica stay where they are", async () => {
  const store = createMemoryStore();
  const replica = await open({ store });
  const ahead = forge({ hlc: hlcAt(100_000) });
  expect(await replica.receive(ahead.bytes)).toMatchObject({ kind: "held" });
  store.failNextWrite("lost");
  await expect(replica.put(DOC, [{ key: "a", value: 1 }])).rejects.toEqual(storeFailed);
  replica.retryTimed();
  await replica.close();
  expect(replica.counters()).toMatchObject({ received: 1, held: 1 });
});

test("a signer that throws stops the replica with INTERNAL and its cause, and nothing is written", async () => {
  const store = createMemoryStore();
  const replica = await open({ store });
  const defect = new Error("no entropy");
  const broken = await open({
    store,
    device: {
      key: replica.device,
      signer: {
        publicKey: us.signer.publicKey,
        sign: () => {
          throw defect;
        },
      },
    },
  });
  await expect(broken.put(DOC, [{ key: "a", value: 1 }])).rejects.toMatchObject({
    code: "INTERNAL",
    cause: defect,
  });
  await expect(broken.put(DOC, [{ key: "a", value: 1 }])).rejects.toThrow(MeshError);
  expect((await open({ store: await store.reopen() })).list({})).toEqual([]);
});

test("a listener that throws is logged, and neither the others nor the group suffer", async () => {
  const logger = createRecordingLogger();
  const replica = await open({ logger });
  replica.onApplied(() => {
    throw new Error("listener");
  });
  const announced = applied(replica);
  const chain = forgeChain(3);
  const outcomes = await Promise.all([
    replica.put(DOC, [{ key: "a", value: 1 }]),
    ...chain.map(({ bytes }) => replica.receive(bytes)),
  ]);
  await replica.close();
  expect(outcomes[0]).toMatchObject({ acknowledged: "local" });
  expect(announced).toHaveLength(replica.heads().reduce((sum, { seq }) => sum + seq, 0));
  expect(replica.failure).toBeUndefined();
  expect(logger.entries.map(({ event }) => event)).toContain("replica.listener-failed");
});

describe("a closed replica", () => {
  test("settles what was queued, then takes nothing more", async () => {
    const replica = await open();
    const writes = Array.from({ length: 20 }, (_, i) => replica.put(DOC, [{ key: "k", value: i }]));
    const closing = replica.close();
    await expect(replica.put(DOC, [{ key: "late", value: 1 }])).rejects.toMatchObject({
      code: "CLOSED",
    });
    await expect(replica.receive(forge().bytes)).rejects.toMatchObject({ code: "CLOSED" });
    await closing;
    expect(await Promise.all(writes)).toHaveLength(20);
    expect(replica.get(DOC, "k")?.value).toBe(19);
    await replica.close();
  });
});

async function turns(n: number): Promise<void> {
  for (let i = 0; i < n; i++) await Promise.resolve();
}

const crashPlan = fc.record({
  writes: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 30 }),
  pauses: fc.array(fc.nat(12), { minLength: 30, maxLength: 30 }),
  syncTurns: fc.nat(6),
  kept: fc.nat(2),
});

test("no acknowledged write is lost when the machine stops, and each write is there whole or not at all", async () => {
  await fc.assert(
    fc.asyncProperty(crashPlan, async ({ writes, pauses, syncTurns, kept }) => {
      const store = createMemoryStore({ faults: { beforeSync: () => turns(syncTurns) } });
      const replica = await open({ store, random: createSeededRandom(1) });
      const acknowledged = new Set<number>();
      const made: Promise<unknown>[] = [];
      for (const [n, facts] of writes.entries()) {
        const keys = Array.from({ length: facts }, (_, i) => ({
          key: `${String(n)}/${String(i)}`,
          value: n,
        }));
        const done = replica.put(DOC, keys).then(() => acknowledged.add(n));
        made.push(done.catch(() => undefined));
        await turns(pauses[n] ?? 0);
      }
      const safe = [...acknowledged];
      const survivor = store.crash(kept);
      await Promise.all(made);
      expect(acknowledged.size === writes.length || replica.failure !== undefined).toBe(true);
      const again = await open({ store: survivor, random: createSeededRandom(2) });
      const found = new Map<number, number>();
      for (const { value } of again.list({ limit: 10_000 })) {
        found.set(Number(value), (found.get(Number(value)) ?? 0) + 1);
      }
      for (const n of safe) expect(found.has(n)).toBe(true);
      for (const [n, count] of found) expect(count).toBe(writes[n]);
      await again.put(DOC, [{ key: "after", value: -1 }]);
    }),
    { numRuns: 150 },
  );
});

test("a clock that went back over a restart does not take the replica's own clock back", async () => {
  const store = createMemoryStore();
  const replica = await open({ store, clock: createVirtualClock(START_MS + 5000) });
  const first = await replica.put(DOC, [{ key: "k", value: "old" }]);
  await replica.close();
  const again = await open({ store: await store.reopen(), clock: createVirtualClock(START_MS) });
  const second = await again.put(DOC, [{ key: "k", value: "new" }]);
  expect(second.hlc).toBeGreaterThan(first.hlc);
  expect(again.get(DOC, "k")?.value).toBe("new");
});
