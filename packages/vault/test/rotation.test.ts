// SPDX-License-Identifier: Apache-2.0
import type { StoreChange } from "@ctxmesh/model";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import type { MemoryStore } from "@ctxmesh/testing";
import { beforeAll, describe, expect, test } from "vitest";
import {
  START_MS,
  bytes,
  documents,
  entries,
  entryAt,
  failAt,
  openOn,
  place,
  provider,
  scope,
  unreadable,
  writeSealed,
} from "./fixture.ts";

/** One write of data keys and some more. */
const NAMES = documents(LIMITS.rewrapsPerWrite + 7);
const MANY = 100_000;
const SLOW_MS = 240_000;

/** A store with a sealed text for each of {@link NAMES}; `crash()` gives another copy. */
let template: MemoryStore;
beforeAll(async () => {
  template = createMemoryStore();
  await writeSealed(template, await openOn(template), NAMES);
  await template.close();
});

/** What store keys wrap the data keys. */
const storeKeyNumbers = async (store: MemoryStore): Promise<Set<number>> =>
  new Set((await entries(store, 0x30)).map(([, value]) => Buffer.from(value).readUInt32BE(41)));

describe("another provider's key", () => {
  test("replaces the old one in one write that leaves data keys and payloads as they are", async () => {
    const store = template.crash();
    const before = await entries(store, 0x01, 0x30);
    const counted = failAt(store, -1, "lost");
    const vault = await openOn(counted);
    await vault.rotate(provider(8));
    expect(counted.writes()).toBe(1);
    expect(await entries(store, 0x01, 0x30)).toEqual(before);
    await expect(openOn(store)).rejects.toMatchObject({
      code: "KEY_INVALID",
      message: expect.stringMatching(/wrapped by test:8/u),
    });
    const again = await openOn(store, { key: provider(8) });
    expect(await unreadable(store, again, NAMES)).toEqual([]);
    expect(vault.stats().provider).toBe("test:8");
    await vault.rotateStoreKey();
    expect(await unreadable(store, await openOn(store, { key: provider(8) }), NAMES)).toEqual([]);
  });

  test.for([
    ["lost", 7, 8],
    ["kept", 8, 7],
  ] as const)(
    "of a write that was %s, exactly one opens the store",
    async ([outcome, right, wrong]) => {
      const store = template.crash();
      const vault = await openOn(failAt(store, 0, outcome));
      await expect(vault.rotate(provider(8))).rejects.toMatchObject({ code: "STORE_FAILED" });
      const again = await store.reopen();
      await expect(openOn(again, { key: provider(wrong) })).rejects.toMatchObject({
        code: "KEY_INVALID",
      });
      const opened = await openOn(again, { key: provider(right) });
      expect(await unreadable(again, opened, NAMES)).toEqual([]);
    },
  );

  test("that the provider won't wrap changes nothing", async () => {
    const store = template.crash();
    const vault = await openOn(store);
    const away = {
      ...provider(8),
      wrap: () => Promise.reject(new MeshError("UNREACHABLE", "no token")),
    };
    await expect(vault.rotate(away)).rejects.toMatchObject({ code: "UNREACHABLE" });
    expect(await vault.rotateStoreKey()).toEqual({ rewrapped: NAMES.length, unreadable: 0 });
    expect(await unreadable(store, await openOn(store), NAMES)).toEqual([]);
  });
});

describe("a new store key", () => {
  test("wraps every data key, in bounded writes, and leaves payloads as they are", async () => {
    const store = template.crash();
    const payloads = await entries(store, 0x02);
    const sizes: number[] = [];
    const counting = {
      ...failAt(store, -1, "lost"),
      write: (changes: readonly StoreChange[]) => {
        sizes.push(changes.length);
        return store.write(changes);
      },
    };
    const vault = await openOn(counting);
    expect(await vault.rotateStoreKey()).toEqual({ rewrapped: NAMES.length, unreadable: 0 });
    expect(sizes).toEqual([1, LIMITS.rewrapsPerWrite, 7 + 1]);
    expect(await storeKeyNumbers(store)).toEqual(new Set([2]));
    expect(await entries(store, 0x02)).toEqual(payloads);
    expect(vault.stats()).toMatchObject({ storeKey: 2, rotating: false, dataKeys: NAMES.length });
    expect(await unreadable(store, vault, NAMES)).toEqual([]);
    expect(await unreadable(store, await openOn(store), NAMES)).toEqual([]);
    expect(await vault.rotateStoreKey()).toEqual({ rewrapped: NAMES.length, unreadable: 0 });
    expect(await storeKeyNumbers(store)).toEqual(new Set([3]));
  });

  /** First the write that failed in the rotation, then the one in the opening that went on with it. */
  const failures = [0, 1, 2].flatMap((first) =>
    (["lost", "kept"] as const).flatMap((outcome) =>
      [-1, 0, 1, 2].map((second) => [first, outcome, second] as const),
    ),
  );
  test.for(failures)(
    "leaves a store that opens when write %i failed and was %s, and then write %i of the next opening",
    async ([first, outcome, second]) => {
      let store = template.crash();
      const vault = await openOn(failAt(store, first, outcome));
      await expect(vault.rotateStoreKey()).rejects.toMatchObject({ code: "STORE_FAILED" });
      store = await store.reopen();
      const resumed = await openOn(failAt(store, second, outcome));
      expect(await unreadable(store, resumed, NAMES)).toEqual([]);
      store = await store.reopen();
      const last = await openOn(store);
      expect(await unreadable(store, last, NAMES)).toEqual([]);
      expect(last.stats().rotating).toBe(false);
      const numbers = await storeKeyNumbers(store);
      expect(numbers).toEqual(new Set([last.stats().storeKey]));
      await writeSealed(store, last, [...NAMES, "new"]);
      expect(await unreadable(store, await openOn(store), [...NAMES, "new"])).toEqual([]);
    },
  );

  test("while it is made, seals and opens go on, and new data keys last", async () => {
    const store = template.crash();
    const late: { doc: string; sealed: Uint8Array; where: Uint8Array }[] = [];
    let failedReads: string[] = [];
    let writes = 0;
    const live = {
      ...failAt(store, -1, "lost"),
      write: async (changes: readonly StoreChange[]) => {
        const rotating = store.write(changes);
        writes += 1;
        const where = place(900_000 + writes);
        for (const doc of [
          `late-${String(writes)}`,
          NAMES[writes] ?? "",
          NAMES.at(-writes) ?? "",
        ]) {
          const sealed = vault.seal(scope(doc), where, bytes(doc));
          late.push({ doc, sealed, where });
        }
        await Promise.all([rotating, store.write(vault.takeChanges())]);
        failedReads = [...failedReads, ...(await unreadable(store, vault, NAMES))];
      },
    };
    const vault = await openOn(live);
    const [report] = await Promise.all([vault.rotateStoreKey(), vault.rotate(provider(8))]);
    expect(report.unreadable).toBe(0);
    expect(writes).toBe(4);
    expect(failedReads).toEqual([]);
    const again = await openOn(store, { key: provider(8) });
    expect(await unreadable(store, again, NAMES)).toEqual([]);
    for (const { doc, sealed, where } of late) {
      expect(again.open(scope(doc), where, sealed)).toEqual(bytes(doc));
    }
    expect(await storeKeyNumbers(store)).toEqual(new Set([2]));
  });

  test("is made also when records are damaged: they are counted, the others go on", async () => {
    const store = template.crash();
    const [key, value] = await entryAt(store, 0x30, 0);
    const damaged = value.map((byte, at) => (at === value.length - 1 ? byte ^ 1 : byte));
    await store.write([{ key, value: damaged }]);
    const vault = await openOn(store);
    expect(await vault.rotateStoreKey()).toEqual({ rewrapped: NAMES.length - 1, unreadable: 1 });
    expect(await unreadable(store, await openOn(store), NAMES)).toHaveLength(1);
  });

  test("wraps 100,000 data keys", { timeout: SLOW_MS }, async () => {
    const store = createMemoryStore();
    const vault = await openOn(store);
    const names = documents(MANY);
    const sealed = names.map((doc) => vault.seal(scope(doc), place(0), bytes(doc)));
    await store.write(vault.takeChanges());
    expect(await vault.rotateStoreKey()).toEqual({ rewrapped: MANY, unreadable: 0 });
    const again = await openOn(store);
    expect(again.stats()).toMatchObject({ storeKey: 2, dataKeys: MANY });
    for (let n = 0; n < MANY; n += 999) {
      const doc = names[n] ?? "";
      expect(again.open(scope(doc), place(0), sealed[n] ?? place(0))).toEqual(bytes(doc));
    }
  });
});

/** The key id that bytes were sealed with. */
const keyIdOf = (sealed: Uint8Array): string => Buffer.from(sealed.subarray(1, 17)).toString("hex");

describe("new data keys", () => {
  test("seal whatever comes next, in this life and in later ones; what is there stays as it is and opens", async () => {
    const store = template.crash();
    const payloads = await entries(store, 0x02);
    const counted = failAt(store, -1, "lost");
    const vault = await openOn(counted);
    const before = NAMES.map((doc) => keyIdOf(vault.seal(scope(doc), place(0), bytes("x"))));
    expect(await vault.rotateDataKeys()).toBe(NAMES.length);
    expect(counted.writes()).toBe(2);
    expect(await entries(store, 0x02)).toEqual(payloads);
    const now = keyIdOf(vault.seal(scope("doc-1"), place(0), bytes("x")));
    await store.write(vault.takeChanges());
    const again = await openOn(store);
    const later = NAMES.map((doc) => keyIdOf(again.seal(scope(doc), place(0), bytes("x"))));
    expect(later[1]).toBe(now);
    expect(later.filter((id) => before.includes(id))).toEqual([]);
    expect(await unreadable(store, again, NAMES)).toEqual([]);
    expect(again.stats()).toMatchObject({
      dataKeys: 2 * NAMES.length,
      documents: NAMES.length,
      epochs: 2,
    });
  });

  test("asked for again before anything was sealed, there is nothing to end", async () => {
    const store = template.crash();
    const vault = await openOn(store);
    await vault.rotateDataKeys();
    expect(await vault.rotateDataKeys()).toBe(0);
    const again = await openOn(store);
    again.seal(scope("doc-0"), place(0), bytes("x"));
    expect(await again.rotateDataKeys()).toBe(1);
  });

  test.for([
    [0, "lost"],
    [0, "kept"],
    [1, "lost"],
    [1, "kept"],
  ] as const)(
    "after write %i of it failed and was %s, everything opens, and it can be asked for again",
    async ([n, outcome]) => {
      const store = template.crash();
      const vault = await openOn(failAt(store, n, outcome));
      await expect(vault.rotateDataKeys()).rejects.toMatchObject({ code: "STORE_FAILED" });
      const reopened = await store.reopen();
      const again = await openOn(reopened);
      expect(await unreadable(reopened, again, NAMES)).toEqual([]);
      await again.rotateDataKeys();
      await writeSealed(reopened, again, NAMES);
      expect(again.stats().dataKeys).toBe(2 * NAMES.length);
      expect(await unreadable(reopened, await openOn(reopened), NAMES)).toEqual([]);
    },
  );
});

describe("figures", () => {
  test("tell when the keys were made, over a restart", async () => {
    const clock = createVirtualClock(START_MS);
    const store = createMemoryStore();
    const vault = await openOn(store, { clock });
    expect(vault.stats()).toEqual({
      provider: "test:7",
      storeKey: 1,
      storeKeyMadeMs: START_MS,
      rotating: false,
      acceptsPlain: false,
      dataKeys: 0,
      documents: 0,
      epochs: 0,
    });
    clock.advance(1_000);
    await writeSealed(store, vault, ["a"]);
    clock.advance(1_000);
    await writeSealed(store, vault, ["b"]);
    clock.advance(1_000);
    await vault.rotateStoreKey();
    const again = await openOn(store, { clock });
    expect(again.stats()).toEqual({
      ...vault.stats(),
      storeKey: 2,
      storeKeyMadeMs: START_MS + 3_000,
      dataKeys: 2,
      documents: 2,
      epochs: 1,
      oldestMs: START_MS + 1_000,
      newestMs: START_MS + 2_000,
    });
  });
});

describe("destroying the keys of a document and generation", () => {
  test("makes unreadable what every epoch of it sealed, for good, and nothing else", async () => {
    const store = template.crash();
    const vault = await openOn(store);
    const old = (await store.get(place(3))) ?? new Uint8Array(0);
    const other = vault.seal(scope("doc-3", 1), place(3), bytes("other generation"));
    await store.write(vault.takeChanges());
    expect(vault.open(scope("doc-3"), place(3), old)).toEqual(bytes("text of doc-3"));
    await vault.destroy(scope("doc-3"));
    for (const opened of [vault, await openOn(store)]) {
      expect(() => opened.open(scope("doc-3"), place(3), old)).toThrow(
        expect.objectContaining({ code: "KEY_INVALID" }),
      );
      expect(opened.open(scope("doc-3", 1), place(3), other)).toEqual(bytes("other generation"));
      expect(await unreadable(store, opened, NAMES)).toEqual(["doc-3"]);
    }
    expect(await entries(store, 0x30)).toHaveLength(NAMES.length);
    await vault.destroy(scope("never seen"));
  });

  test("forgets keys that are not written yet; a later seal makes another", async () => {
    const store = createMemoryStore();
    const vault = await openOn(store);
    const sealed = vault.seal(scope(), place(0), bytes("42"));
    await vault.destroy(scope());
    expect(vault.takeChanges()).toEqual([]);
    const later = vault.seal(scope(), place(0), bytes("43"));
    await store.write(vault.takeChanges());
    const again = await openOn(store);
    expect(again.open(scope(), place(0), later)).toEqual(bytes("43"));
    expect(() => again.open(scope(), place(0), sealed)).toThrow(
      expect.objectContaining({ code: "KEY_INVALID" }),
    );
  });
});
