// SPDX-License-Identifier: Apache-2.0
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { openLevelStore } from "@ctxmesh/store-level";
import { tempDir } from "@ctxmesh/testing";
import { fileKeyProvider } from "@ctxmesh/vault";
import { expect, test } from "vitest";
import { bytes, documents, openOn, place, scope, unreadable, writeSealed } from "./fixture.ts";

test("no file of a store on disk has a value, a document's name or the key; with the key file it opens again", async () => {
  await using folder = await tempDir();
  const path = join(folder.path, "store");
  const keyPath = join(folder.path, "store.key");
  const key = fileKeyProvider(keyPath, { create: true });
  const names = documents(600).map((name) => `canary-${name}`);
  let store = await openLevelStore({ path });
  let vault = await openOn(store, { key });
  await writeSealed(store, vault, names);
  await vault.rotateStoreKey();
  // In the open, so that the search below is known to find.
  await store.write([{ key: place(900_000), value: bytes("kanarienvogel") }]);
  await vault.destroy(scope(names[5]));
  await store.close();

  const texts = await Promise.all(
    (await readdir(path)).map(async (name) => readFile(join(path, name), "latin1")),
  );
  const everything = texts.join("\n");
  const keyText = (await readFile(keyPath, "latin1")).trimEnd();
  const keyBytes = Buffer.from(keyText, "base64url").toString("latin1");
  expect(everything).toContain("kanarienvogel");
  for (const secret of ["canary", "text of", keyText, keyBytes]) {
    expect(everything.includes(secret), secret).toBe(false);
  }

  store = await openLevelStore({ path });
  vault = await openOn(store, { key: fileKeyProvider(keyPath, { create: false }) });
  expect(vault.stats()).toMatchObject({ storeKey: 2, dataKeys: names.length - 1 });
  expect(await unreadable(store, vault, names)).toEqual([names[5]]);
  await store.close();
});
