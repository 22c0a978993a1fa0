// SPDX-License-Identifier: Apache-2.0
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Level } from "level";
import { expect, onTestFinished, test, vi } from "vitest";
import type { Store } from "@ctxmesh/model";
import { openLevelStore } from "@ctxmesh/store-level";
import { createRecordingLogger, runStoreTests, tempDir } from "@ctxmesh/testing";

runStoreTests("LevelDB", async () => {
  const dir = await tempDir();
  const path = join(dir.path, "store");
  const store = await openLevelStore({ path });
  let current = store;
  return {
    store,
    async reopen() {
      await current.close();
      current = await openLevelStore({ path });
      return current;
    },
    async destroy() {
      await current.close();
      await dir.remove();
    },
  };
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const KEY = bytes("fact/line-2/press-7/temperature");
const VALUE = bytes("value");

/** Opens the store in `path`, lets `act` use it and closes it. */
async function withStore<T>(path: string, act: (store: Store) => Promise<T>): Promise<T> {
  const store = await openLevelStore({ path });
  try {
    return await act(store);
  } finally {
    await store.close();
  }
}

/** Changes the record of KEY behind the store's back. */
async function tamper(path: string, change: (record: Uint8Array) => Uint8Array): Promise<void> {
  const raw = new Level<Uint8Array, Uint8Array>(path, {
    keyEncoding: "view",
    valueEncoding: "view",
  });
  await raw.put(KEY, change(await raw.get(KEY)));
  await raw.close();
}

test("each write is one batch with a sync and a marker, and a write of nothing is none", async () => {
  await using dir = await tempDir();
  const store = await openLevelStore({ path: join(dir.path, "store") });
  const batch = vi.spyOn(Level.prototype, "batch");
  onTestFinished(() => {
    batch.mockRestore();
  });
  await store.write([{ key: KEY, value: VALUE }, { key: bytes("gone") }]);
  await store.write([]);
  await store.write([{ key: KEY }]);
  const calls = batch.mock.calls as unknown as [operations: unknown[], options: unknown][];
  expect(calls.map(([operations, options]) => [operations.length, options])).toEqual([
    [3, { sync: true }],
    [2, { sync: true }],
  ]);
  await store.close();
});

test("any flipped bit and any cut of a record is reported by get and scan, with the key in hex", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "store");
  await withStore(path, (store) => store.write([{ key: KEY, value: VALUE }]));
  const recordBytes = 16 + VALUE.length;
  const damages = [
    ...Array.from({ length: recordBytes }, (_, i) => (record: Uint8Array) => {
      record[i] = (record[i] ?? 0) ^ (1 << (i % 8));
      return record;
    }),
    ...[0, 1, 15, 16, recordBytes - 1].map(
      (length) => (record: Uint8Array) => record.slice(0, length),
    ),
    (record: Uint8Array) => Uint8Array.of(...record, 0),
  ];
  const expected = {
    code: "STORE_CORRUPT",
    message: `the record under key ${Buffer.from(KEY).toString("hex", 0, 16)}... (hex) does not match its hash`,
  };
  for (const damage of damages) {
    await tamper(path, damage);
    await withStore(path, async (store) => {
      await expect(store.get(KEY)).rejects.toMatchObject(expected);
      const scan = store.scan({ gte: KEY, lt: bytes("g") })[Symbol.asyncIterator]();
      await expect(scan.next()).rejects.toMatchObject(expected);
      await store.write([{ key: KEY, value: VALUE }]);
      expect(await store.get(KEY)).toEqual(VALUE);
    });
  }
});

test("a record that turns up under another key is reported", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "store");
  const other = bytes("fact/line-2/press-8/temperature");
  await withStore(path, (store) => store.write([{ key: other, value: VALUE }]));
  const raw = new Level<Uint8Array, Uint8Array>(path, {
    keyEncoding: "view",
    valueEncoding: "view",
  });
  await raw.put(KEY, await raw.get(other));
  await raw.close();
  await withStore(path, async (store) => {
    await expect(store.get(KEY)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    expect(await store.get(other)).toEqual(VALUE);
  });
});

test("after a failed write all writes are refused until a reopen, and reads go on", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "store");
  const logger = createRecordingLogger();
  const store = await openLevelStore({ path, logger });
  await store.write([{ key: KEY, value: VALUE }]);
  // Without its folder the database can't start its next log file, which 4 MiB of writes make it do.
  await rm(path, { recursive: true });
  const outcomes = await Promise.allSettled(
    Array.from({ length: 10 }, (_, i) =>
      store.write([{ key: bytes(`big-${String(i)}`), value: new Uint8Array(1_048_576) }]),
    ),
  );
  const failed = outcomes.findIndex(({ status }) => status === "rejected");
  expect(failed).toBeGreaterThan(0);
  for (const outcome of outcomes.slice(failed)) {
    expect(outcome).toMatchObject({ status: "rejected", reason: { code: "STORE_FAILED" } });
  }
  await expect(store.write([])).rejects.toMatchObject({ code: "STORE_FAILED" });
  expect(await store.get(KEY)).toEqual(VALUE);
  expect(logger.entries.map(({ event }) => event)).toEqual([
    "store.created",
    "store.opened",
    "store.write-failed",
  ]);
  await store.close();
  expect(logger.entries.at(-1)).toMatchObject({ level: "warn", event: "store.anchor-failed" });
});
