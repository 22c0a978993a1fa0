// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a damaged store is never served: what can be saved goes into a new one, which says what it lacks until
 * peers have brought it; and nothing that is stored can be read without its key.
 * Method: real LevelDB stores with encryption on; bytes of their files are changed while they are closed.
 */
import { readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { openReplica, systemClock, systemRandom } from "@ctxmesh/service";
import type { OpenReplica, StoreOptions } from "@ctxmesh/service";
import { silentLogger, tempDir } from "@ctxmesh/testing";
import { fileKeyProvider } from "@ctxmesh/vault";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const DOC = parseDocumentName("line-2/press-7");
const SEEDS = [1, 2].map((n) => new Uint8Array(32).fill(n));
const DEPS = { clock: systemClock, random: systemRandom, logger: silentLogger };

function foundSpace(): Space {
  const creator = createDeviceSigner(new Uint8Array(32).fill(9));
  const now = systemClock.now();
  return SEEDS.map((seed) => createDeviceSigner(seed)).reduce(
    (space, { publicKey }) =>
      issueGrant(space, creator, {
        device: parseDeviceKey(toHex(publicKey)),
        service: "agent",
        role: "write",
        notBefore: now - 1_000,
      }),
    createSpace({ name: "plant", creator, now, random: systemRandom }),
  );
}

let folder: string;
let remove: () => Promise<void>;
let space: Space;
let stack: AsyncDisposableStack;

beforeEach(async () => {
  ({ path: folder, remove } = await tempDir());
  space = foundSpace();
  stack = new AsyncDisposableStack();
});

afterEach(async () => {
  await stack.disposeAsync();
  await remove();
});

const optionsOf = (n: number, more: Partial<StoreOptions> = {}): StoreOptions => ({
  space,
  deviceSeed: SEEDS[n] ?? new Uint8Array(),
  storePath: join(folder, `store-${String(n)}`),
  keyProvider: fileKeyProvider(join(folder, `key-${String(n)}`), { create: true }),
  ...more,
});

async function open(n: number, more: Partial<StoreOptions> = {}): Promise<OpenReplica> {
  return openReplica(optionsOf(n, more), DEPS, stack);
}

const closeAll = async (): Promise<void> => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
};

async function put(replica: Replica, from: number, count: number): Promise<void> {
  for (let i = from; i < from + count; i++) {
    await replica.put(DOC, [{ key: `key-${String(i)}`, value: `canary value ${String(i)}` }]);
  }
}

/** Gives `to` all that `from` has. */
async function bring(from: Replica, to: Replica): Promise<void> {
  const spans = from.heads().map((head) => ({ ...head, from: 1, to: head.seq }));
  for await (const { bytes } of from.read(spans)) await to.receive(bytes);
}

/** Changes the file with the most bytes of those with an ending, somewhere in the middle. */
async function damage(path: string, ending: string): Promise<void> {
  const names = (await readdir(path)).filter((name) => name.endsWith(ending));
  const files = await Promise.all(
    names.map(async (name) => [name, await readFile(join(path, name))] as const),
  );
  const [largest] = files.toSorted(([, a], [, b]) => b.length - a.length);
  if (largest === undefined) throw new Error(`no ${ending} file`);
  const [name, bytes] = largest;
  const at = bytes.length >> 1;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(join(path, name), bytes);
}

describe("a damaged store", () => {
  test.each([".log", ".ldb"])(
    "in its %s is replaced; the node says what it lacks until a peer has brought it",
    async (ending) => {
      const { replica: writer } = await open(0);
      const { replica: peer } = await open(1);
      await put(writer, 0, 60);
      await closeAll();
      // Opening moves what is in the log into a table.
      const before = await open(0);
      const peerBefore = await open(1);
      await put(before.replica, 60, 60);
      await bring(before.replica, peerBefore.replica);
      expect(peerBefore.replica.count().facts).toBe(120);
      expect(peer.device).toBe(peerBefore.replica.device);
      await closeAll();
      await damage(join(folder, "store-0"), ending);

      const { replica: healed } = await open(0);
      const { replica: source } = await open(1);
      expect(await readdir(folder)).toContain("store-0.damaged-1");
      const lost = 120 - healed.count().facts;
      expect(healed.degraded().length > 0).toBe(lost > 0);
      for (const { key, value } of healed.list({})) {
        expect(value).toBe(`canary value ${key.slice(4)}`);
      }
      await bring(source, healed);
      expect(healed.degraded()).toEqual([]);
      expect(healed.snapshot().leaves).toEqual(source.snapshot().leaves);
      await put(healed, 120, 1);
      await closeAll();
      const again = await open(0);
      expect(again.replica.degraded()).toEqual([]);
      expect(again.replica.count().facts).toBe(121);
    },
  );

  test("stays degraded over restarts when nobody has the rest, until the loss is accepted", async () => {
    const { replica } = await open(0);
    await put(replica, 0, 60);
    await closeAll();
    await damage(join(folder, "store-0"), ".log");
    const first = await open(0);
    const missing = first.replica.degraded();
    expect(missing).toMatchObject([{ replica: first.replica.device, expected: 60 }]);
    await closeAll();
    const second = await open(0);
    expect(second.replica.degraded()).toEqual(missing);
    await closeAll();
    const third = await open(0, { acceptLoss: true });
    expect(third.replica.degraded()).toEqual([]);
    await closeAll();
    expect((await open(0)).replica.degraded()).toEqual([]);
  });

  test("that is damaged again still expects what the first one had", async () => {
    const { replica } = await open(0);
    await put(replica, 0, 60);
    await closeAll();
    await damage(join(folder, "store-0"), ".log");
    const { replica: first } = await open(0);
    await put(first, 60, 40);
    await closeAll();
    // What was moved aside can't help any more.
    await rm(join(folder, "store-0.damaged-1"), { recursive: true });
    await damage(join(folder, "store-0"), ".log");
    const { replica: second } = await open(0);
    expect(second.degraded()).toContainEqual(expect.objectContaining({ expected: 60 }));
  });

  test("is taken over after a crash between the two renames of its healing", async () => {
    const { replica } = await open(0);
    await put(replica, 0, 5);
    await closeAll();
    const { rename } = await import("node:fs/promises");
    await rename(join(folder, "store-0"), join(folder, "store-0.healing"));
    expect((await open(0)).replica.count().facts).toBe(5);
  });
});

describe("what is stored", () => {
  test("can't be read without its key: neither value, key nor source is in any file", async () => {
    const { replica } = await open(0);
    await replica.put(DOC, [
      {
        key: "canary-key",
        value: { canaryMember: "canary-value" },
        source: { model: "canary-model" },
        tags: ["canary-tag"],
      },
    ]);
    await replica.edit(DOC, (roots) => roots.text("notes").insert(0, "canary-text"));
    await closeAll();
    await open(0);
    await closeAll();
    const path = join(folder, "store-0");
    for (const name of await readdir(path)) {
      const bytes = await readFile(join(path, name));
      expect(bytes.includes("canary"), name).toBe(false);
    }
  });

  test("is refused with another key, and left as it is", async () => {
    await put((await open(0)).replica, 0, 3);
    await closeAll();
    const other = fileKeyProvider(join(folder, "other"), { create: true });
    await rm(join(folder, "other"), { force: true });
    await expect(open(0, { keyProvider: other })).rejects.toMatchObject({ code: "KEY_INVALID" });
    const { keyProvider: _, ...plain } = optionsOf(0);
    await expect(openReplica(plain, DEPS, stack)).rejects.toMatchObject({ code: "KEY_INVALID" });
    expect(await readdir(folder)).not.toContain("store-0.damaged-1");
    expect((await open(0)).replica.count().facts).toBe(3);
  });
});
