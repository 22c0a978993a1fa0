// SPDX-License-Identifier: Apache-2.0
/** The virtual disk keeps the promises of the `Store` port, and loses exactly what a real one may lose. */
import type { Store } from "@ctxmesh/model";
import { Dice, VirtualDisk } from "@ctxmesh/simulator";
import type { Tail } from "@ctxmesh/simulator";
import { runStoreTests } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";

/** Syncs in no time: a reader that only waits for promises must not keep it from that. */
const eager = {
  after: (_: number, run: () => void) => {
    queueMicrotask(run);
  },
  nowMs: () => 0,
};

runStoreTests("virtual disk", () => {
  const disk = new VirtualDisk(eager, new Dice("suite"));
  let store = disk.open();
  return Promise.resolve({
    store,
    async reopen() {
      await store.close();
      store = disk.open();
      return store;
    },
    destroy: () => store.close(),
  });
});

const KEY = Uint8Array.of(1);
const bytes = (n: number): Uint8Array => Uint8Array.of(n);

/** A disk whose syncs happen when they are told to. */
function byHand(): { readonly disk: VirtualDisk; sync(count?: number): Promise<void> } {
  const due: (() => void)[] = [];
  const disk = new VirtualDisk(
    {
      after: (_, run) => {
        due.push(run);
      },
      nowMs: () => 0,
    },
    new Dice("by hand"),
  );
  return {
    disk,
    async sync(count = 1) {
      for (let i = 0; i < count; i++) {
        due.shift()?.();
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
      }
    },
  };
}

const values = async (store: Store): Promise<number[]> => {
  const found: number[] = [];
  for await (const [key] of store.scan({ gte: bytes(1), lt: bytes(255) })) found.push(key[0] ?? 0);
  return found;
};

describe("a crash", () => {
  test.for<readonly [Tail, (kept: readonly number[]) => boolean]>([
    ["lost", (kept) => kept.length === 1],
    ["kept", (kept) => kept.length === 4],
    ["part", (kept) => kept.length >= 1 && kept.length <= 4],
  ])(
    "with its tail %s keeps what was acknowledged, and of the rest a beginning",
    async ([tail, fits]) => {
      const { disk, sync } = byHand();
      const store = disk.open();
      const first = store.write([{ key: bytes(1), value: bytes(1) }]);
      await sync();
      await first;
      let heard = 0;
      for (const n of [2, 3, 4]) {
        void store.write([{ key: bytes(n), value: bytes(n) }]).finally(() => (heard += 1));
      }
      const { kept, lost } = disk.crash(tail);
      expect(kept + lost).toBe(3);
      const found = await values(disk.open());
      expect(found).toEqual([1, 2, 3, 4].slice(0, 1 + kept));
      expect(fits(found)).toBe(true);
      await sync(3);
      // Whoever waited on the dead machine never hears of it again.
      expect(heard).toBe(0);
    },
  );

  test("strikes while the next write is under way when it is told to", async () => {
    const { disk, sync } = byHand();
    const store = disk.open();
    let lost = -1;
    disk.atNextWrite(() => ({ lost } = disk.crash("lost")));
    void store.write([{ key: KEY, value: KEY }]);
    await sync();
    expect(lost).toBe(1);
    expect(await values(disk.open())).toEqual([]);
  });
});

describe("a disk that fails", () => {
  test.for(["lost", "kept"] as const)(
    "refuses every write after a failed sync, which is %s when it is opened again",
    async (outcome) => {
      const { disk, sync } = byHand();
      const store = disk.open();
      disk.failNextSync(outcome);
      const writes = [2, 3].map((n) => store.write([{ key: bytes(n), value: KEY }]));
      const refused = Promise.allSettled(writes);
      await sync(2);
      for (const { status } of await refused) expect(status).toBe("rejected");
      expect(await values(disk.open())).toEqual(outcome === "kept" ? [2] : []);
    },
  );

  test("refuses writes while it is full, and takes them once it was freed and opened again", async () => {
    const { disk, sync } = byHand();
    disk.setFull(true);
    const refused = expect(disk.open().write([{ key: KEY, value: KEY }])).rejects.toMatchObject({
      code: "STORE_FAILED",
    });
    await sync();
    await refused;
    disk.setFull(false);
    const written = disk.open().write([{ key: KEY, value: KEY }]);
    await sync();
    await written;
    expect(await values(disk.open())).toEqual([1]);
  });
});

test("a record that rots is found by whoever reads it, and by opening the store", async () => {
  const { disk, sync } = byHand();
  const store = disk.open();
  const written = store.write([{ key: KEY, value: KEY }]);
  await sync();
  await written;
  expect(disk.flipBit(new Dice("rot"), new Set(["\u0001"]))).toBeUndefined();
  expect(disk.flipBit(new Dice("rot"))).toEqual(KEY);
  await expect(store.get(KEY)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  await expect(values(store)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  expect(() => disk.open()).toThrow("1 records are damaged");
});

test("an image is a copy: what is written later is not in it, and another disk can take it", async () => {
  const { disk, sync } = byHand();
  const store = disk.open();
  const written = store.write([{ key: bytes(1), value: KEY }]);
  await sync();
  await written;
  const image = disk.image.copy();
  const later = store.write([{ key: bytes(2), value: KEY }]);
  await sync();
  await later;
  const other = new VirtualDisk(eager, new Dice("other"));
  other.replace(image);
  const copied = other.open();
  expect(await values(copied)).toEqual([1]);
  await copied.write([{ key: bytes(3), value: KEY }]);
  expect(await values(store)).toEqual([1, 2]);
  expect(image.keys).toHaveLength(1);
});
