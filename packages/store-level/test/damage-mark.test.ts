// SPDX-License-Identifier: Apache-2.0
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { openDamaged, openLevelStore } from "@ctxmesh/store-level";
import { tempDir } from "@ctxmesh/testing";
import { Level } from "level";
import { expect, test } from "vitest";

const key = (n: number): Uint8Array => Uint8Array.of(1, n);
const value = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The names of the files of a folder that have a text in them. */
async function filesWith(path: string, text: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir(path)) {
    if ((await readFile(join(path, name))).includes(text)) found.push(name);
  }
  return found;
}

test("a damage that only a scrub sees makes the next opening refuse the store, naming it; the rest stays readable", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "store");
  const first = await openLevelStore({ path });
  for (let n = 0; n < 10; n++) await first.write([{ key: key(n), value: value(`v${String(n)}`) }]);
  await first.close();
  const raw = new Level<Uint8Array, Uint8Array>(path, {
    keyEncoding: "view",
    valueEncoding: "view",
  });
  await raw.put(key(4), new Uint8Array(40));
  await raw.close();

  const store = await openLevelStore({ path });
  expect(await store.scrub()).toMatchObject({ damaged: 1, complete: true });
  await store.close();
  await expect(openLevelStore({ path })).rejects.toMatchObject({
    code: "STORE_CORRUPT",
    message: expect.stringMatching(/an earlier check found damage: the record under key 0104/u),
  });
  const damaged = await openDamaged(path);
  const kept: number[] = [];
  for await (const [found] of damaged.scan({ gte: key(0), lt: Uint8Array.of(2) })) {
    kept.push(found[1] ?? -1);
  }
  await damaged.close();
  expect(kept).toEqual([0, 1, 2, 3, 5, 6, 7, 8, 9]);
});

test("compacting a range takes what was overwritten or deleted there out of every file, and leaves the rest", async () => {
  await using dir = await tempDir();
  const path = join(dir.path, "store");
  const first = await openLevelStore({ path });
  await first.write([
    { key: key(1), value: value("old secret") },
    { key: key(2), value: value("gone secret") },
    { key: key(3), value: value("kept") },
  ]);
  await first.close();
  // Opening moved the log into a table; what comes now is in another one.
  const store = await openLevelStore({ path });
  await store.write([{ key: key(1), value: value("new") }, { key: key(2) }]);
  expect(await filesWith(path, "secret")).not.toEqual([]);
  await store.compact({ gte: key(0), lt: key(9) });
  expect(await filesWith(path, "secret")).toEqual([]);
  expect(await store.get(key(1))).toEqual(value("new"));
  expect(await store.get(key(3))).toEqual(value("kept"));
  await store.close();
  const again = await openLevelStore({ path });
  expect(await again.get(key(3))).toEqual(value("kept"));
  await again.close();
  await expect(again.compact({ gte: key(0), lt: key(9) })).rejects.toMatchObject({
    code: "CLOSED",
  });
});
