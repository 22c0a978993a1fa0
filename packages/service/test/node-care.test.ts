// SPDX-License-Identifier: Apache-2.0
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { NodeCare, Scrubber, systemClock, systemRandom } from "@ctxmesh/service";
import { openLevelStore } from "@ctxmesh/store-level";
import type { LevelStore } from "@ctxmesh/store-level";
import { parseDocumentName } from "@ctxmesh/model";
import { silentLogger, tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { fileKeyProvider, openVault } from "@ctxmesh/vault";
import type { StoreVault } from "@ctxmesh/vault";
import { afterEach, beforeEach, expect, test } from "vitest";

const DEPS = { clock: systemClock, random: systemRandom, logger: silentLogger };
const STORE_KEY = Uint8Array.of(0x31);
const PLACE = Uint8Array.of(0x02, 1);
const SCOPE = { doc: parseDocumentName("a"), gen: 0 };

let dir: TempDir;
let store: LevelStore;
let vault: StoreVault;
let care: NodeCare;
let path: string;

const openKeys = async (name: string): Promise<StoreVault> =>
  openVault({ ...DEPS, store, provider: fileKeyProvider(join(dir.path, name), { create: true }) });

beforeEach(async () => {
  dir = await tempDir();
  path = join(dir.path, "store");
  store = await openLevelStore({ path });
  vault = await openKeys("first.key");
  care = new NodeCare({ store, keys: vault, scrubber: new Scrubber({ ...DEPS, store }) });
  const value = vault.seal(SCOPE, PLACE, new TextEncoder().encode("71.5"));
  await store.write([...vault.takeChanges(), { key: PLACE, value }]);
});

afterEach(async () => {
  await store.close();
  await dir.remove();
});

async function isInFolder(bytes: Uint8Array): Promise<boolean> {
  for (const name of await readdir(path)) {
    if ((await readFile(join(path, name))).includes(Buffer.from(bytes))) return true;
  }
  return false;
}

/** The records of keys, without the first bytes, which stay. */
async function keyRecords(): Promise<Uint8Array[]> {
  const found: Uint8Array[] = [];
  for await (const [, value] of store.scan({ gte: Uint8Array.of(0x30), lt: Uint8Array.of(0x32) })) {
    found.push(value.slice(-40));
  }
  return found;
}

test("another key opens the store, and nothing that the old one opens is in any of its files", async () => {
  const before = await keyRecords();
  expect(before).toHaveLength(2);
  for (const record of before) expect(await isInFolder(record)).toBe(true);
  const report = await care.rewrapKeys(`file:${join(dir.path, "second.key")}`);
  expect(report).toEqual({
    provider: `file:${join(dir.path, "second.key")}`,
    rewrapped: 1,
    unreadable: 0,
  });
  expect(care.keys()).toMatchObject({ encrypted: true, keys: { storeKey: 2, dataKeys: 1 } });
  for (const record of before) expect(await isInFolder(record)).toBe(false);
  for (const record of await keyRecords()) expect(await isInFolder(record)).toBe(true);
  await store.close();
  store = await openLevelStore({ path });
  await expect(openKeys("first.key")).rejects.toMatchObject({ code: "KEY_INVALID" });
  const again = await openKeys("second.key");
  const sealed = (await store.get(PLACE)) ?? new Uint8Array();
  expect(new TextDecoder().decode(again.open(SCOPE, PLACE, sealed))).toBe("71.5");
});

test("a key that can't be had changes no record", async () => {
  const before = await store.get(STORE_KEY);
  for (const to of ["environment:NOT_SET_HERE", "file:relative", `file:${dir.path}`, "x"]) {
    await expect(care.rewrapKeys(to)).rejects.toMatchObject({
      code: expect.stringMatching(/^(?:KEY|INPUT)_INVALID$/u) as unknown,
    });
  }
  expect(await store.get(STORE_KEY)).toEqual(before);
});

test("a store without encryption has no keys, which says so", async () => {
  const plain = new NodeCare({
    store,
    keys: undefined,
    scrubber: new Scrubber({ ...DEPS, store }),
  });
  expect(plain.keys()).toEqual({ encrypted: false });
  await expect(plain.rotateKeys()).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await expect(plain.rewrapKeys("file:/k")).rejects.toMatchObject({ code: "INPUT_INVALID" });
});
