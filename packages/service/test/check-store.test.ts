// SPDX-License-Identifier: Apache-2.0
/** Goal: a store is looked through as a node would open it, and stays as it is. Method: real stores, encrypted and not, spoiled in one way. */
import { spawnSync } from "node:child_process";
import { appendFile, mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import { checkStore, openReplica, systemClock, systemRandom } from "@ctxmesh/service";
import type { StoreOptions } from "@ctxmesh/service";
import { openLevelStore } from "@ctxmesh/store-level";
import { silentLogger, tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { fileKeyProvider } from "@ctxmesh/vault";
import { afterEach, beforeEach, expect, test } from "vitest";

const deviceSeed = new Uint8Array(32).fill(1);
const signer = createDeviceSigner(deviceSeed);
const now = systemClock.now();
const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
const space = issueGrant(
  createSpace({ name: "plant", creator: signer, now: now - 1_000, random: systemRandom }),
  signer,
  {
    device: parseDeviceKey(toHex(signer.publicKey)),
    service: "agent",
    role: "write",
    notBefore: now - 1_000,
  },
);

let dir: TempDir;
let options: StoreOptions;

const at = (name: string): string => join(dir.path, name);

/** Writes so many batches of two facts, of which each replaces the last. */
async function live(use: StoreOptions, batches: number): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const { replica } = await openReplica(use, deps, stack);
  for (let i = 0; i < batches; i++) {
    const facts = ["a", "b"].map((key) => ({ key, value: i }));
    await replica.put(parseDocumentName("d"), facts);
  }
}

beforeEach(async () => {
  dir = await tempDir();
  const keyProvider = fileKeyProvider(at("store.key"), { create: true });
  options = { space, deviceSeed, storePath: at("store"), keyProvider };
});

afterEach(() => dir.remove());

async function content(): Promise<readonly string[]> {
  const names = (await readdir(at("store"))).toSorted();
  return Promise.all(
    names.map(async (name) => `${name} ${(await readFile(at(`store/${name}`))).toString("hex")}`),
  );
}

test.each([true, false])(
  "an encrypted store or not (%s): what it holds is told, and it stays as it is",
  async (encrypted) => {
    const { keyProvider: _, ...plain } = options;
    const use = encrypted ? options : plain;
    await live(use, 3);
    await live(use, 2);
    const before = await content();
    const report = await checkStore(use, deps);
    expect(report).toMatchObject({ chains: 2, batches: 5, facts: 2, missing: 0 });
    expect(report.records).toBeGreaterThan(20);
    expect(report.newestMs).toBeGreaterThanOrEqual(now);
    expect(report.filesMs).toBeGreaterThanOrEqual(now - 1_000);
    expect(report.membership.members).toHaveLength(1);
    expect(await content()).toEqual(before);
    expect((await readdir(dir.path)).toSorted()).toEqual(
      encrypted ? ["store", "store.key"] : ["store"],
    );
  },
);

test("no key is made for a store that has none, and a wrong or missing one is said", async () => {
  const { keyProvider: _, ...plain } = options;
  await (await openLevelStore({ path: at("store") })).close();
  expect(await checkStore(options, deps)).toMatchObject({ batches: 0 });
  expect(await readdir(dir.path)).toEqual(["store"]);
  await live(options, 1);
  await expect(checkStore(plain, deps)).rejects.toMatchObject({ code: "KEY_INVALID" });
  const keyProvider = fileKeyProvider(at("other.key"), { create: true });
  await expect(checkStore({ ...options, keyProvider }, deps)).rejects.toMatchObject({
    code: "KEY_INVALID",
  });
  expect((await readdir(dir.path)).toSorted()).toEqual(["store", "store.key"]);
});

test("damage is named with the store's own path, and not healed", async () => {
  await live(options, 3);
  const log = (await readdir(at("store"))).find((name) => name.endsWith(".ldb")) ?? "";
  const bytes = await readFile(at(`store/${log}`));
  bytes[100] = (bytes[100] ?? 0) ^ 1;
  await writeFile(at(`store/${log}`), bytes);
  const before = await content();
  await expect(checkStore(options, deps)).rejects.toMatchObject({
    code: "STORE_CORRUPT",
    message: expect.stringContaining(`the store ${at("store")} is damaged`) as string,
  });
  expect(await content()).toEqual(before);
  expect((await readdir(dir.path)).toSorted()).toEqual(["store", "store.key"]);
});

test("a store that is written to meanwhile is not judged", async () => {
  await live(options, 3);
  const stop = new AbortController();
  const writer = (async (): Promise<void> => {
    while (!stop.signal.aborted) await appendFile(at("store/notes"), "x");
  })();
  await expect(checkStore(options, deps)).rejects.toMatchObject({
    code: "STORE_LOCKED",
    message: `something writes to the store ${at("store")}`,
  });
  stop.abort();
  await writer;
});

test("what a killed check left is removed by the next one; what a running one works with is not", async () => {
  await live(options, 1);
  const dead = String(spawnSync("true").pid);
  await mkdir(at(`.store.check-${dead}`));
  await mkdir(at(`.store.check-${String(process.ppid)}`));
  await mkdir(at(".store.check-mine"));
  await checkStore(options, deps);
  expect((await readdir(dir.path)).toSorted()).toEqual(
    [`.store.check-${String(process.ppid)}`, ".store.check-mine", "store", "store.key"].toSorted(),
  );
});
