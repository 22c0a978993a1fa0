// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import type { Store } from "@ctxmesh/model";
import { createMemoryStore, runStoreTests } from "@ctxmesh/testing";

runStoreTests("memory", () => {
  let current = createMemoryStore();
  return Promise.resolve({
    store: current,
    async reopen() {
      current = await current.reopen();
      return current;
    },
    destroy: () => current.close(),
  });
});

const A = Uint8Array.of(0x61);
const B = Uint8Array.of(0x62);
const ONE = Uint8Array.of(1);

async function has(store: Store, ...keys: Uint8Array[]): Promise<boolean[]> {
  return await Promise.all(keys.map(async (key) => (await store.get(key)) !== undefined));
}

/** A promise and the function that resolves it. */
function holdBack(): { held: Promise<void>; letGo: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { held: promise, letGo: resolve };
}

describe("crash", () => {
  test("keeps every acknowledged write and closes the old store", async () => {
    const store = createMemoryStore();
    await store.write([{ key: A, value: ONE }]);
    const after = store.crash();
    expect(await has(after, A)).toEqual([true]);
    await expect(store.get(A)).rejects.toMatchObject({ code: "CLOSED" });
    await after.write([{ key: B, value: ONE }]);
    expect(await has(after, A, B)).toEqual([true, true]);
  });

  test.each([0, 1, 2])(
    "keeps exactly the first %i writes under way and acknowledges none",
    async (kept) => {
      const store = createMemoryStore();
      const writes = [A, B].map((key) => store.write([{ key, value: ONE }]));
      const refused = writes.map((write) =>
        expect(write).rejects.toMatchObject({ code: "CLOSED" }),
      );
      const after = store.crash(kept);
      await Promise.all(refused);
      expect(await has(after, A, B)).toEqual([kept > 0, kept > 1]);
    },
  );

  test("a write held back by beforeSync is neither durable nor visible until it is let go", async () => {
    const { held, letGo } = holdBack();
    const store = createMemoryStore({ faults: { beforeSync: () => held } });
    const write = store.write([{ key: A, value: ONE }]);
    expect(await has(store, A)).toEqual([false]);
    letGo();
    await write;
    expect(await has(store, A)).toEqual([true]);
  });

  test("a crash while the disk works never acknowledges the write", async () => {
    const { held, letGo } = holdBack();
    const store = createMemoryStore({ faults: { beforeSync: () => held } });
    const write = store.write([{ key: A, value: ONE }]);
    expect(await has(store, A)).toEqual([false]);
    const after = store.crash();
    letGo();
    await expect(write).rejects.toMatchObject({ code: "CLOSED" });
    expect(await has(after, A)).toEqual([false]);
  });
});

describe("failed writes", () => {
  test.each(["lost", "kept"] as const)(
    "a %s write is refused, unseen, and ends all writing until a reopen",
    async (outcome) => {
      const store = createMemoryStore();
      store.failNextWrite(outcome);
      const writes = [A, B].map((key) => store.write([{ key, value: ONE }]));
      for (const write of writes)
        await expect(write).rejects.toMatchObject({ code: "STORE_FAILED" });
      expect(await has(store, A, B)).toEqual([false, false]);
      const after = await store.reopen();
      expect(await has(after, A, B)).toEqual([outcome === "kept", false]);
      await after.write([{ key: B, value: ONE }]);
      expect(await has(after.crash(), A, B)).toEqual([outcome === "kept", true]);
    },
  );

  test("a beforeSync that rejects fails the write, which is lost", async () => {
    const faults = { beforeSync: () => Promise.reject(new Error("no space")) };
    const store = createMemoryStore({ faults });
    await expect(store.write([{ key: A, value: ONE }])).rejects.toMatchObject({
      code: "STORE_FAILED",
    });
    expect(await has(store.crash(), A)).toEqual([false]);
  });
});

describe("damage", () => {
  test("a damaged record is reported by get and by scan, until it is written again", async () => {
    const store = createMemoryStore();
    await store.write([
      { key: A, value: ONE },
      { key: B, value: ONE },
    ]);
    store.corrupt(A);
    await expect(store.get(A)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    const scan = store.scan({ gte: A, lt: Uint8Array.of(0xff) })[Symbol.asyncIterator]();
    await expect(scan.next()).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    expect(await has(store, B)).toEqual([true]);
    await store.write([{ key: A, value: ONE }]);
    expect(await has(store, A)).toEqual([true]);
  });

  test("there is nothing to damage where nothing is stored", () => {
    expect(() => createMemoryStore().corrupt(A)).toThrow("no record under 61");
  });
});
