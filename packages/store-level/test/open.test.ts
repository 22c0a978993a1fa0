// SPDX-License-Identifier: Apache-2.0
import { chmod, cp, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Level } from "level";
import { expect, test } from "vitest";
import { openLevelStore } from "@ctxmesh/store-level";
import { createRecordingLogger, tempDir } from "@ctxmesh/testing";
import { encodeRecord } from "../src/record.ts";

const FORMAT_KEY = new TextEncoder().encode("\0ctxmesh");
/** No process has this number: it is above the largest one of Linux (2^22). */
const GONE_PID = 2 ** 22 + 1;

/** Makes a LevelDB database, and puts `record` under the key of the format record. */
async function makeDatabase(path: string, record?: Uint8Array): Promise<void> {
  const raw = new Level<Uint8Array, Uint8Array>(path, {
    keyEncoding: "view",
    valueEncoding: "view",
  });
  await raw.put(Uint8Array.of(1), Uint8Array.of(1));
  if (record !== undefined) await raw.put(FORMAT_KEY, record);
  await raw.close();
}

const formatRecord = (payload: string): Uint8Array =>
  encodeRecord(FORMAT_KEY, new TextEncoder().encode(payload));

test("a store is created where nothing or an empty folder is, and nothing is left beside it", async () => {
  await using dir = await tempDir();
  await mkdir(join(dir.path, "empty"));
  for (const name of ["absent", "empty"]) {
    const store = await openLevelStore({ path: join(dir.path, name) });
    await store.write([{ key: Uint8Array.of(1), value: Uint8Array.of(2) }]);
    await store.close();
    const again = await openLevelStore({ path: join(dir.path, name) });
    expect(await again.get(Uint8Array.of(1))).toEqual(Uint8Array.of(2));
    await again.close();
  }
  expect((await readdir(dir.path)).toSorted()).toEqual(["absent", "empty"]);
});

test("a store that is open elsewhere is refused, naming the path and the remedy", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "store");
  const store = await openLevelStore({ path });
  await expect(openLevelStore({ path })).rejects.toMatchObject({
    code: "STORE_LOCKED",
    message: `the store ${path} is open in another process`,
    remedy: expect.stringContaining("stop that process") as unknown,
  });
  await store.close();
  await (await openLevelStore({ path })).close();
});

test("of two that create one store at the same time, one gets it and the other is told", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "store");
  const outcomes = await Promise.allSettled([openLevelStore({ path }), openLevelStore({ path })]);
  const refused = outcomes.filter((outcome) => outcome.status === "rejected");
  expect(refused).toMatchObject([{ reason: { code: "STORE_LOCKED" } }]);
  for (const outcome of outcomes) {
    if (outcome.status === "fulfilled") await outcome.value.close();
  }
  expect(await readdir(dir.path)).toEqual(["store"]);
});

test("a folder with other files is refused and left as it is", async () => {
  await using dir = await tempDir();
  await writeFile(join(dir.path, "notes.txt"), "mine");
  await expect(openLevelStore({ path: dir.path })).rejects.toMatchObject({ code: "STORE_FORMAT" });
  expect(await readdir(dir.path)).toEqual(["notes.txt"]);
});

test("another program's database is refused and stays openable", async () => {
  await using dir = await tempDir();
  await makeDatabase(dir.path);
  await expect(openLevelStore({ path: dir.path })).rejects.toMatchObject({ code: "STORE_FORMAT" });
  await makeDatabase(dir.path);
});

const ID = "0123456789abcdef0123456789abcdef";

test.each([
  ["of the next major number", `{"major":3,"minor":0,"minReader":3,"id":"${ID}"}`],
  ["of the next major number for any reader", `{"major":3,"minor":0,"minReader":2,"id":"${ID}"}`],
  ["two minor numbers ahead", `{"major":2,"minor":2,"minReader":"2.1","id":"${ID}"}`],
  ["that needs a newer reader", `{"major":2,"minor":1,"minReader":3,"id":"${ID}"}`],
  ["whose reader is no version", `{"major":2,"minor":1,"minReader":"two","id":"${ID}"}`],
  ["of an older, unreleased format", `{"major":1,"minor":9,"minReader":1,"id":"${ID}"}`],
  ["that is not JSON", "ctxmesh"],
  ["without its numbers", `{"major":2,"minor":"0","id":"${ID}"}`],
  ["without an id", '{"major":2,"minor":0,"minReader":2}'],
  ["that is no object", "null"],
])("a format record %s is refused with STORE_FORMAT and a remedy", async (_, payload) => {
  await using dir = await tempDir();
  await makeDatabase(dir.path, formatRecord(payload));
  await expect(openLevelStore({ path: dir.path })).rejects.toMatchObject({
    code: "STORE_FORMAT",
    remedy: expect.any(String) as unknown,
  });
});

test.each([
  `{"major":2,"minor":1,"minReader":2,"id":"${ID}","more":true}`,
  `{"major":2,"minor":1,"minReader":"2.0","id":"${ID}"}`,
])("the format one minor number ahead is opened, written and opened again: %s", async (payload) => {
  await using dir = await tempDir();
  await makeDatabase(dir.path, formatRecord(payload));
  const store = await openLevelStore({ path: dir.path });
  await store.write([{ key: Uint8Array.of(2), value: Uint8Array.of(3) }]);
  await store.close();
  const raw = new Level<Uint8Array, Uint8Array>(dir.path, {
    keyEncoding: "view",
    valueEncoding: "view",
  });
  // The newer program finds what it wrote.
  expect(new Uint8Array((await raw.get(FORMAT_KEY)) ?? [])).toEqual(formatRecord(payload));
  await raw.close();
  const again = await openLevelStore({ path: dir.path });
  expect(await again.get(Uint8Array.of(2))).toEqual(Uint8Array.of(3));
  await again.close();
});

test("a format record that does not match its hash is refused with STORE_CORRUPT", async () => {
  await using dir = await tempDir();
  const record = formatRecord('{"major":2,"minor":0,"minReader":2}');
  record[20] = (record[20] ?? 0) ^ 1;
  await makeDatabase(dir.path, record);
  await expect(openLevelStore({ path: dir.path })).rejects.toMatchObject({ code: "STORE_CORRUPT" });
});

test("a database whose CURRENT file is empty is refused with STORE_CORRUPT, not repaired", async () => {
  await using dir = await tempDir();
  await (await openLevelStore({ path: join(dir.path, "store") })).close();
  await writeFile(join(dir.path, "store", "CURRENT"), "");
  await expect(openLevelStore({ path: join(dir.path, "store") })).rejects.toMatchObject({
    code: "STORE_CORRUPT",
  });
});

test("a missing parent, and a file in the way, are FILE_UNAVAILABLE and change nothing", async () => {
  await using dir = await tempDir();
  const unavailable = { code: "FILE_UNAVAILABLE" };
  const missing = join(dir.path, "missing", "store");
  await expect(openLevelStore({ path: missing })).rejects.toMatchObject(unavailable);
  await writeFile(join(dir.path, "file"), "");
  for (const path of [join(dir.path, "file"), join(dir.path, "file", "store")]) {
    await expect(openLevelStore({ path })).rejects.toMatchObject(unavailable);
  }
  expect(await readdir(dir.path)).toEqual(["file"]);
});

test("a folder that can't be made is FILE_UNAVAILABLE and leaves nothing", async () => {
  await using dir = await tempDir();
  // The name itself is allowed; the longer one of the folder aside is not.
  const path = join(dir.path, "x".repeat(252));
  await expect(openLevelStore({ path })).rejects.toMatchObject({ code: "FILE_UNAVAILABLE" });
  expect(await readdir(dir.path)).toEqual([]);
});

test.skipIf(process.getuid?.() === 0)(
  "a folder that may not be read or written is FILE_UNAVAILABLE (skipped for root, whom no mode stops)",
  async () => {
    await using dir = await tempDir();
    const path = join(dir.path, "store");
    await (await openLevelStore({ path })).close();
    for (const mode of [0o500, 0o000]) {
      await chmod(path, mode);
      await expect(openLevelStore({ path })).rejects.toMatchObject({ code: "FILE_UNAVAILABLE" });
    }
    await chmod(path, 0o700);
    await chmod(dir.path, 0o500);
    await expect(openLevelStore({ path: join(dir.path, "new") })).rejects.toMatchObject({
      code: "FILE_UNAVAILABLE",
    });
    await chmod(dir.path, 0o700);
  },
);

test("what earlier creations left is removed, but not what a running process makes or other names", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "store");
  const kept = [`store.new-${String(process.ppid)}`, "store.new-", "store.new-x1", "shop.new-9"];
  const gone = [`store.new-${String(GONE_PID)}`, `store.new-${String(process.pid)}`];
  for (const name of [...kept, ...gone]) {
    await mkdir(join(dir.path, name));
    await writeFile(join(dir.path, name, "000003.log"), "half");
  }
  const logger = createRecordingLogger();
  await (await openLevelStore({ path, logger })).close();
  expect((await readdir(dir.path)).toSorted()).toEqual([...kept, "store"].toSorted());
  expect(logger.entries.filter(({ event }) => event === "store.leftover-removed")).toHaveLength(2);
});

test("a creation stopped before its rename leaves nothing that opens as the store", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "store");
  const aside = `${path}.new-${String(GONE_PID)}`;
  await (await openLevelStore({ path: join(dir.path, "model") })).close();
  await cp(join(dir.path, "model"), aside, { recursive: true });
  const store = await openLevelStore({ path });
  await store.close();
  expect((await readdir(dir.path)).toSorted()).toEqual(["model", "store"]);
});
