// SPDX-License-Identifier: Apache-2.0
import { copyFile, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Level } from "level";
import { describe, expect, test } from "vitest";
import type { Store, StoreRange } from "@ctxmesh/model";
import { openDamaged, openLevelStore } from "@ctxmesh/store-level";
import { createRecordingLogger, createSeededRandom, tempDir, waitFor } from "@ctxmesh/testing";
import { readAnchor } from "../src/anchor.ts";
import { Markers, checkMarkers, markerKey } from "../src/markers.ts";

const ALL: StoreRange = { gte: new Uint8Array(0), lt: new Uint8Array(64).fill(0xff) };
const CORRUPT = { code: "STORE_CORRUPT" };
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const put = (i: number): { key: Uint8Array; value: Uint8Array } => ({
  key: bytes(`key-${String(i).padStart(6, "0")}`),
  value: createSeededRandom(i).bytes(200),
});

async function fill(path: string, from: number, to: number): Promise<void> {
  const store = await openLevelStore({ path });
  for (let i = from; i < to; i++) await store.write([put(i)]);
  await store.close();
}

const openRaw = async (path: string): Promise<Level<Uint8Array, Uint8Array>> => {
  const raw = new Level<Uint8Array, Uint8Array>(path, {
    keyEncoding: "view",
    valueEncoding: "view",
  });
  await raw.open();
  return raw;
};

async function keysIn(store: Pick<Store, "scan">, range: StoreRange = ALL): Promise<string[]> {
  const keys: string[] = [];
  for await (const [key] of store.scan(range)) keys.push(Buffer.from(key).toString());
  return keys;
}

describe("write numbers", () => {
  test("without any one of the markers that the newest says are kept, the store is refused", async () => {
    await using dir = await tempDir();
    const path = join(dir.path, "store");
    await fill(path, 0, 6);
    for (let gone = 1; gone <= 6; gone++) {
      const raw = await openRaw(path);
      const value = await raw.get(markerKey(gone));
      await raw.del(markerKey(gone));
      await raw.close();
      const message = expect.stringMatching(/has lost its write|are missing/u) as unknown;
      await expect(openLevelStore({ path })).rejects.toMatchObject({ ...CORRUPT, message });
      const again = await openRaw(path);
      await again.put(markerKey(gone), value ?? new Uint8Array(0));
      await again.close();
    }
    await (await openLevelStore({ path })).close();
  });

  test("markers go two at a time once the store was opened anew, up to its newest write then", () => {
    const markers = new Markers({ oldest: 3, newest: { number: 7, tag: "" } });
    const deleted = (): unknown[] =>
      markers.next(100).flatMap((operation) => (operation.type === "del" ? [operation.key] : []));
    expect(deleted()).toEqual([markerKey(3), markerKey(4)]);
    expect(deleted()).toEqual([markerKey(5), markerKey(6)]);
    expect(deleted()).toEqual([]);
  });

  test.each([
    ["more than 8 MiB and two of the largest writes", 1_000, 8 * 1_048_576 + 2_000],
    ["65,535 writes, however small", 1, 65_535],
  ])("of one session those are kept that hold %s", (_, size, total) => {
    const markers = new Markers({ oldest: 1, newest: { number: 0, tag: "" } });
    let kept = 0;
    for (let i = 0; i < 140_000; i++) {
      kept += markers.next(size).reduce((sum, { type }) => sum + (type === "put" ? 1 : -1), 0);
      expect(kept * size).toBeLessThanOrEqual(total);
    }
    expect((kept + 1) * size).toBeGreaterThan(total);
  });

  test("an empty store has no marker, and a full one exactly those from the oldest kept", async () => {
    await using dir = await tempDir();
    const path = join(dir.path, "store");
    for (const [from, to] of [
      [0, 0],
      [0, 5],
      [5, 8],
    ] as const) {
      await fill(path, from, to);
      const raw = await openRaw(path);
      const { oldest, newest } = await checkMarkers(path, raw);
      expect(newest.number).toBe(to);
      const count = (await raw.keys({ gte: markerKey(0), lt: markerKey(1e9) }).all()).length;
      expect(count).toBe(newest.number - oldest + 1);
      await raw.close();
    }
  });
});

describe("the anchor", () => {
  test("names the newest write after a close, and within seconds while the store is open", async () => {
    await using dir = await tempDir();
    const path = join(dir.path, "store");
    const store = await openLevelStore({ path });
    expect((await readAnchor(path))?.number).toBe(0);
    for (let i = 0; i < 5; i++) await store.write([put(i)]);
    const isNewest = async (): Promise<boolean> => (await readAnchor(path))?.number === 5;
    await waitFor(isNewest, { timeoutMs: 20_000, what: "the anchor" });
    await store.write([put(5)]);
    await store.close();
    expect((await readAnchor(path))?.number).toBe(6);
    expect(await readdir(path)).not.toContain("ANCHOR.new");
  });

  test("is not touched by a close without writes, and survives what LevelDB deletes on opening", async () => {
    await using dir = await tempDir();
    const path = join(dir.path, "store");
    await fill(path, 0, 3);
    const { mtimeMs } = await stat(join(path, "ANCHOR"));
    await fill(path, 0, 0);
    expect((await stat(join(path, "ANCHOR"))).mtimeMs).toBe(mtimeMs);
  });

  test("any flipped bit or cut of it is refused; without it the store opens with a warning and makes one", async () => {
    await using dir = await tempDir();
    const path = join(dir.path, "store");
    await fill(path, 0, 3);
    const file = join(path, "ANCHOR");
    const sound = await readFile(file);
    for (let at = 0; at < sound.length; at += 3) {
      const flipped = Buffer.from(sound);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      await writeFile(file, flipped);
      await expect(readAnchor(path)).rejects.toMatchObject(CORRUPT);
    }
    await writeFile(file, sound.subarray(0, -1));
    await expect(openLevelStore({ path })).rejects.toMatchObject(CORRUPT);
    await rm(file);
    const logger = createRecordingLogger();
    const store = await openLevelStore({ path, logger });
    expect(logger.entries).toContainEqual(
      expect.objectContaining({ level: "warn", event: "store.anchor-missing" }),
    );
    await store.close();
    expect((await readAnchor(path))?.number).toBe(3);
  });

  test("that names a write the store does not have, or another one of that number, is refused", async () => {
    await using dir = await tempDir();
    const [path, other] = [join(dir.path, "store"), join(dir.path, "other")];
    await fill(path, 0, 3);
    await copyFile(join(path, "ANCHOR"), join(dir.path, "three"));
    const raw = await openRaw(path);
    const value = Buffer.from((await raw.get(markerKey(3))) ?? []);
    value[15] = (value[15] ?? 0) ^ 1;
    await raw.put(markerKey(3), value);
    await raw.close();
    await expect(openLevelStore({ path })).rejects.toThrow("write 3 is not the one");
    await fill(other, 0, 9);
    await copyFile(join(other, "ANCHOR"), join(path, "ANCHOR"));
    await expect(openLevelStore({ path })).rejects.toThrow("it is that of another store");
  });
});

describe("a damaged store", () => {
  test("is refused again and again, with the remedy, and its files stay as they are", async () => {
    await using dir = await tempDir();
    const path = join(dir.path, "store");
    await fill(path, 0, 300);
    await fill(path, 300, 301);
    // The first table has the creation alone.
    const table = (await readdir(path)).toSorted().findLast((name) => name.endsWith(".ldb")) ?? "";
    const damaged = await readFile(join(path, table));
    const middle = damaged.length >> 1;
    damaged.fill(0, middle, middle + 50);
    await writeFile(join(path, table), damaged);
    const before = (await readdir(path)).filter((name) => !name.startsWith("LOG"));
    for (let i = 0; i < 3; i++) {
      await expect(openLevelStore({ path })).rejects.toMatchObject({
        ...CORRUPT,
        message: expect.stringMatching(
          new RegExp(`${table}: the block at \\d+ does not`, "u"),
        ) as unknown,
        remedy: expect.stringContaining("fill from peers") as unknown,
      });
    }
    expect((await readdir(path)).filter((name) => !name.startsWith("LOG"))).toEqual(before);
    const rest = await openDamaged(path);
    const keys = await keysIn(rest);
    expect(rest.unreadable).toBe(1);
    expect(keys.length).toBeLessThan(301);
    expect(keys.length).toBeGreaterThan(200);
    await rest.close();
    await expect(keysIn(rest)).rejects.toMatchObject({ code: "CLOSED" });
  });

  test("that another has open is STORE_LOCKED, for both ways to open it", async () => {
    await using dir = await tempDir();
    const path = join(dir.path, "store");
    const store = await openLevelStore({ path });
    await store.write([put(1)]);
    await expect(openDamaged(path)).rejects.toMatchObject({ code: "STORE_LOCKED" });
    await writeFile(join(path, "CURRENT"), "");
    await expect(openLevelStore({ path })).rejects.toMatchObject({ code: "STORE_LOCKED" });
    expect(await keysIn(store)).toHaveLength(1);
    await store.write([put(2)]);
    await store.close();
  });

  test("gives what a sound one does, in any range and direction, its deletions included", async () => {
    await using dir = await tempDir();
    const path = join(dir.path, "store");
    await fill(path, 0, 200);
    let store = await openLevelStore({ path });
    for (let i = 0; i < 200; i += 3) await store.write([{ key: put(i).key }, put(i + 500)]);
    const ranges = [
      ALL,
      { ...ALL, reverse: true, limit: 7 },
      { gte: put(20).key, lt: put(510).key, limit: 50 },
      { gte: put(510).key, lt: put(20).key },
    ];
    const expected = [];
    for (const range of ranges) expected.push(await keysIn(store, range));
    await store.close();
    const rest = await openDamaged(path);
    for (const [i, range] of ranges.entries()) {
      expect(await keysIn(rest, range)).toEqual(expected[i]);
    }
    expect(rest.unreadable).toBe(0);
    await rest.close();
    store = await openLevelStore({ path });
    expect(await keysIn(store)).toEqual(expected[0]);
    await store.close();
  });

  test("without a readable file has no entries and says so", async () => {
    await using dir = await tempDir();
    const rest = await openDamaged(join(dir.path, "absent"));
    expect(await keysIn(rest)).toEqual([]);
    expect(rest.unreadable).toBe(1);
    await rest.close();
  });
});

describe("scrub", () => {
  test("finds nothing in a sound store, and reads all of it", async () => {
    await using dir = await tempDir();
    const path = join(dir.path, "store");
    await fill(path, 0, 700);
    const store = await openLevelStore({ path });
    const report = await store.scrub();
    expect(report).toMatchObject({ records: 700, damaged: 0, findings: [], complete: true });
    expect(report.tables).toBeGreaterThan(0);
    await store.close();
    await expect(store.scrub()).rejects.toMatchObject({ code: "CLOSED" });
  });

  test("names each damaged record and table of a store that is open", async () => {
    await using dir = await tempDir();
    const path = join(dir.path, "store");
    await fill(path, 0, 300);
    const raw = await openRaw(path);
    for (const i of [3, 200]) await raw.put(put(i).key, new Uint8Array(40));
    await raw.close();
    const store = await openLevelStore({ path });
    const [table = ""] = (await readdir(path)).filter((name) => name.endsWith(".ldb"));
    const report = await store.scrub();
    expect(report).toMatchObject({ records: 300, damaged: 2, complete: true });
    const sound = await readFile(join(path, table));
    await writeFile(join(path, table), Buffer.concat([sound, Buffer.alloc(1)]));
    expect((await store.scrub()).findings).toEqual([
      expect.stringContaining(table),
      expect.stringContaining(Buffer.from(put(3).key).toString("hex")),
      expect.stringContaining(Buffer.from(put(200).key).toString("hex")),
    ]);
    await store.close();
  });

  test("ends with the store, saying that it is not complete", async () => {
    await using dir = await tempDir();
    const path = join(dir.path, "store");
    await fill(path, 0, 2_000);
    const store = await openLevelStore({ path });
    const scrubbing = store.scrub();
    await store.close();
    expect(await scrubbing).toMatchObject({ complete: false });
  });
});
