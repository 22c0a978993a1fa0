// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a damaged store is never served: what can be saved goes into a new one, which says what it lacks until
 * peers have brought it; and nothing that is stored can be read without its key.
 * Method: real LevelDB stores with encryption on; bytes of their files are changed while they are closed.
 */
import { cp, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { SEALS_UNCERTAIN, openReplica, systemClock, systemRandom } from "@ctxmesh/service";
import type { OpenReplica, StoreOptions } from "@ctxmesh/service";
import { createRecordingLogger, silentLogger, tempDir } from "@ctxmesh/testing";
import { fileKeyProvider } from "@ctxmesh/vault";
import { Level } from "level";
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
    await rename(join(folder, "store-0"), join(folder, "store-0.healing"));
    expect((await open(0)).replica.count().facts).toBe(5);
  });

  test("whose healing was cut short is not taken over, when somebody moves the store aside: there is none then", async () => {
    await put((await open(0)).replica, 0, 5);
    await closeAll();
    const [path, aside] = [join(folder, "store-0"), join(folder, "mine")];
    await cp(path, join(folder, "store-0.healing-unfinished"), { recursive: true });
    await rename(path, aside);
    expect((await open(0)).replica.count().facts).toBe(0);
    expect(await readdir(folder)).not.toContain("store-0.healing-unfinished");
  });

  test("leaves no complete healing behind that a later start could take for the store", async () => {
    await put((await open(0)).replica, 0, 5);
    await closeAll();
    const path = join(folder, "store-0");
    await cp(path, join(folder, "store-0.healing"), { recursive: true });
    await open(0);
    expect(await readdir(folder)).not.toContain("store-0.healing");
  });

  test.each(["store-0.healing-unfinished", "store-0.healing"])(
    "is healed anew when %s of an earlier try is in the way",
    async (left) => {
      await put((await open(0)).replica, 0, 60);
      await closeAll();
      await cp(join(folder, "store-0"), join(folder, left), { recursive: true });
      await damage(join(folder, "store-0"), ".log");
      const { replica } = await open(0);
      expect(replica.degraded()).toHaveLength(1);
      expect((await readdir(folder)).filter((name) => name.includes("healing"))).toEqual([]);
    },
  );

  test("that a scrub found so is healed at the next start, and its seals are uncertain", async () => {
    const { replica, store } = await open(0);
    await put(replica, 0, 5);
    const [foreign, sealed] = [Uint8Array.of(0x20, 1), Uint8Array.of(0x21, 1)];
    await store.write([
      { key: foreign, value: Uint8Array.of(1) },
      { key: sealed, value: Uint8Array.of(2) },
    ]);
    expect(await store.get(SEALS_UNCERTAIN.key)).toBeUndefined();
    await closeAll();
    const path = join(folder, "store-0");
    const raw = new Level<Uint8Array, Uint8Array>(path, {
      keyEncoding: "view",
      valueEncoding: "view",
    });
    await raw.put(sealed, new Uint8Array(20));
    await raw.close();
    const before = await open(0);
    expect(await before.store.scrub()).toMatchObject({ damaged: 1 });
    await closeAll();
    const healed = await open(0);
    expect(await readdir(folder)).toContain("store-0.damaged-1");
    expect(healed.replica.count().facts).toBe(5);
    expect(healed.replica.degraded()).toEqual([]);
    expect(await healed.store.get(foreign)).toEqual(Uint8Array.of(1));
    expect(await healed.store.get(sealed)).toBeUndefined();
    expect(await healed.store.get(SEALS_UNCERTAIN.key)).toEqual(SEALS_UNCERTAIN.value);
    expect(await healed.store.scrub()).toMatchObject({ damaged: 0 });
  });
});

/** Removes the newest bytes of the `.log`, as a disk that lied about its sync does. */
async function cutTail(path: string, bytes: number): Promise<void> {
  for (const name of await readdir(path)) {
    if (!name.endsWith(".log")) continue;
    const log = await readFile(join(path, name));
    await writeFile(join(path, name), log.subarray(0, log.length - bytes));
  }
}

describe("a tail that was lost without a trace", () => {
  test("is seen when peers bring it back: it counts as recovered, is logged once, and the chains are whole", async () => {
    const { replica: writer } = await open(0);
    const { replica: peer } = await open(1);
    await put(writer, 0, 20);
    await bring(writer, peer);
    const life = writer.incarnation;
    await closeAll();
    const path = join(folder, "store-0");
    // The power was cut within the second for which the anchor is behind.
    await rm(join(path, "ANCHOR"));
    await cutTail(path, 3_000);
    const logger = createRecordingLogger();
    const again = await openReplica(optionsOf(0), { ...DEPS, logger }, stack);
    const { replica: source } = await open(1);
    const lost = 20 - again.replica.count().facts;
    expect(lost).toBeGreaterThan(1);
    expect(again.replica.degraded()).toEqual([]);
    expect(again.recovered()).toBe(0);
    await put(again.replica, 20, 1);
    await put(source, 30, 2);
    await bring(source, again.replica);
    expect(again.recovered()).toBe(lost);
    expect(again.replica.count().facts).toBe(23);
    const told = logger.entries.filter(({ event }) => event === "store.recovered");
    expect(told).toMatchObject([{ level: "warn", fields: { incarnation: life } }]);
  });
});

/** The options of the first store without encryption. */
const unencrypted = (): StoreOptions => {
  const { keyProvider: _, ...options } = optionsOf(0);
  return options;
};

describe("encryption that is switched on for a store made without it", () => {
  test("is refused with what to do, and left as it is; when accepted once, what comes is encrypted and all is read", async () => {
    const { replica } = await openReplica(unencrypted(), DEPS, stack);
    await put(replica, 0, 2);
    await closeAll();
    await expect(open(0)).rejects.toMatchObject({
      code: "KEY_INVALID",
      remedy: expect.stringContaining("start once with --accept-plain") as unknown,
    });
    const first = await open(0, { acceptPlain: true });
    await first.replica.put(DOC, [{ key: "later", value: "secret words" }]);
    expect(first.replica.count().facts).toBe(3);
    expect(first.keys?.stats()).toMatchObject({ acceptsPlain: true, dataKeys: 1 });
    await closeAll();
    // From now on without being told.
    const again = await open(0);
    expect(again.replica.count().facts).toBe(3);
    await closeAll();
    await expect(openReplica(unencrypted(), DEPS, stack)).rejects.toMatchObject({
      code: "KEY_INVALID",
    });
    const path = join(folder, "store-0");
    const files = await Promise.all(
      (await readdir(path)).map(async (name) => readFile(join(path, name))),
    );
    expect(files.some((bytes) => bytes.includes("canary"))).toBe(true);
    expect(files.some((bytes) => bytes.includes("secret words"))).toBe(false);
  });

  test("and is damaged at the same time loses nothing that is readable", async () => {
    const { replica, store } = await openReplica(unencrypted(), DEPS, stack);
    await put(replica, 0, 4);
    await store.compact({ gte: Uint8Array.of(0), lt: Uint8Array.of(0xff) });
    await put(replica, 4, 4);
    await closeAll();
    await damage(join(folder, "store-0"), ".log");
    const healed = await open(0, { acceptPlain: true });
    expect(healed.replica.count().facts).toBeGreaterThanOrEqual(4);
    expect(healed.keys?.stats().acceptsPlain).toBe(true);
  });

  test("changes nothing for a store that was encrypted from the start", async () => {
    await put((await open(0)).replica, 0, 2);
    await closeAll();
    const { keys } = await open(0, { acceptPlain: true });
    expect(keys?.stats().acceptsPlain).toBe(false);
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
