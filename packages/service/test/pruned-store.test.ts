// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a store with checkpoints and a pruned log is backed up, restored, looked through and healed as any other.
 * Method: real LevelDB stores with encryption on; records of theirs are changed while they are closed.
 */
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import {
  backUp,
  checkStore,
  openReplica,
  restoreBackup,
  systemClock,
  systemRandom,
} from "@ctxmesh/service";
import type { OpenReplica, StoreOptions } from "@ctxmesh/service";
import { silentLogger, tempDir } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { fileKeyProvider } from "@ctxmesh/vault";
import { Level } from "level";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { HEAD, bytesOf } from "./backup-kit.ts";

const SEED = new Uint8Array(32).fill(1);
const DEPS = { clock: systemClock, random: systemRandom, logger: silentLogger };
const DOCS = ["a", "b", "c"].map(parseDocumentName);
const BATCHES = 30;
const [LOG, BASE, DOCUMENT] = [0x02, 0x0a, 0x0b];

let dir: TempDir;
let space: Space;
let stack: AsyncDisposableStack;

beforeEach(async () => {
  dir = await tempDir();
  stack = new AsyncDisposableStack();
  const device = createDeviceSigner(SEED);
  const now = systemClock.now();
  const fresh = createSpace({ name: "plant", creator: device, now, random: systemRandom });
  space = issueGrant(fresh, device, {
    device: parseDeviceKey(toHex(device.publicKey)),
    service: "agent",
    role: "write",
    notBefore: now - 1_000,
  });
});

afterEach(async () => {
  await stack.disposeAsync();
  await dir.remove();
});

const optionsOf = (name = "store"): StoreOptions => ({
  space,
  deviceSeed: SEED,
  storePath: join(dir.path, name),
  keyProvider: fileKeyProvider(join(dir.path, "key"), { create: true }),
});

const open = async (name?: string): Promise<OpenReplica> =>
  openReplica(optionsOf(name), DEPS, stack);

const closeAll = async (): Promise<void> => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
};

/** What backups and healed stores must have. */
const digestOf = (replica: Replica): unknown => ({
  frontier: toHex(replica.frontierDigest()),
  leaves: replica.snapshot().leaves,
});

/** A node with some batches pruned, a checkpoint behind them, and some more. */
async function pruned(): Promise<OpenReplica> {
  const node = await open();
  const { replica } = node;
  for (let i = 0; i < BATCHES; i++) {
    const doc = DOCS[i % DOCS.length] ?? parseDocumentName("d");
    await replica.put(doc, [{ key: `key-${String(i % 7)}`, value: i }]);
    if (i === BATCHES / 2) await replica.checkpoint();
  }
  const beforeMs = Number.POSITIVE_INFINITY;
  expect(await replica.prune({ upTo: () => 10, beforeMs })).toMatchObject({ batches: 10 });
  return node;
}

test("a backup of it is restored digest-equal, and goes on", async () => {
  const { store, replica } = await pruned();
  await writeFile(join(dir.path, "a.backup"), await bytesOf(backUp(store, HEAD)));
  const before = digestOf(replica);
  await restoreBackup({ file: join(dir.path, "a.backup"), path: join(dir.path, "restored") });
  const restored = await open("restored");
  expect(digestOf(restored.replica)).toEqual(before);
  expect(restored.replica.retention()).toEqual(replica.retention());
  await restored.replica.verify();
  await restored.replica.put(DOCS[0] ?? parseDocumentName("d"), [{ key: "after", value: 1 }]);
});

test("a look through it finds no hole where it was pruned, and one where a batch is gone", async () => {
  const { replica } = await pruned();
  const facts = replica.count().facts;
  await closeAll();
  expect(await checkStore(optionsOf(), DEPS)).toMatchObject({
    batches: BATCHES,
    facts,
    missing: 0,
  });
  // Behind the checkpoint, where opening does not look.
  await change((key) => key[0] === LOG && key[8] === 12, "removed");
  await expect(checkStore(optionsOf(), DEPS)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
});

/** Removes or damages the records whose keys are wanted. */
async function change(
  isWanted: (key: Uint8Array) => boolean,
  how: "removed" | "damaged",
): Promise<void> {
  const level = new Level<Uint8Array, Uint8Array>(join(dir.path, "store"), {
    keyEncoding: "view",
    valueEncoding: "view",
  });
  for await (const [key, value] of level.iterator()) {
    if (!isWanted(key)) continue;
    if (how === "removed") await level.del(key);
    else await level.put(key, new Uint8Array(value.length));
  }
  await level.close();
}

describe("damaged, it is healed", () => {
  test("in the newest checkpoint: with all that it had", async () => {
    const { replica } = await pruned();
    const before = digestOf(replica);
    await closeAll();
    await change((key) => key[0] === BASE && key[1] === 2, "damaged");
    const healed = await open();
    expect(await readdir(dir.path)).toContain("store.damaged-1");
    expect(digestOf(healed.replica)).toEqual(before);
    expect(healed.replica.degraded()).toEqual([]);
    expect(healed.replica.retention()).toMatchObject({ checkpoint: 10, prunedBatches: 10 });
    await healed.replica.verify();
  });

  test("in what stands for the pruned part: all of it is expected from peers", async () => {
    await pruned();
    await closeAll();
    await change((key) => key[0] === DOCUMENT && key[8] !== undefined && key[8] <= 10, "damaged");
    const healed = await open();
    expect(healed.replica.degraded()).toMatchObject([
      { kind: "behind", seq: 0, expected: BATCHES },
    ]);
    expect(healed.replica.retention()).toMatchObject({ checkpoint: 0, prunedBatches: 0 });
  });
});
