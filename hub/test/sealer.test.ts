// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: every seal that anybody heard of verifies for ever, in one unbroken sequence, whatever the disk does.
 * Method: real keys, log and replica over a store in memory that crashes and fails where it is told to.
 */
import { envelopeHash, parseBundle, verifyBundle } from "@ctxmesh/ledger";
import type { SnapshotStatement, Verdict } from "@ctxmesh/ledger";
import { LIMITS, parseDocumentName, toHex } from "@ctxmesh/model";
import type { Store, StoreChange } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { SEALS_UNCERTAIN } from "@ctxmesh/service";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import type { MemoryStore, MemoryStoreFaults } from "@ctxmesh/testing";
import { openVault } from "@ctxmesh/vault";
import type { StoreVault } from "@ctxmesh/vault";
import { describe, expect, test } from "vitest";
import { Sealer } from "../src/sealer.ts";
import { START_MS, rootFor, sealKeys, spaceOf, verifier, writerDevice } from "./fixture.ts";

const DOC = parseDocumentName("line-2/press-7");
const space = spaceOf();
const root = rootFor(space);
const clock = createVirtualClock(START_MS);
const random = createSeededRandom(5);

interface Life {
  readonly store: MemoryStore;
  readonly replica: Replica;
  readonly sealer: Sealer;
}

/** One process life on a store. */
async function live(store: MemoryStore): Promise<Life> {
  const parts = { store, clock, random, logger: silentLogger };
  const replica = await Replica.open({ ...parts, space, signer: writerDevice, verifier });
  return { store, replica, sealer: await Sealer.open({ ...parts, ...sealKeys, replica }) };
}

const begin = async (faults: MemoryStoreFaults = {}): Promise<Life> =>
  live(createMemoryStore({ faults }));

const put = async ({ replica }: Life, value: number): Promise<unknown> => {
  clock.advance(10);
  return replica.put(DOC, [
    { key: "temperature", value },
    { key: `reading/${String(value)}`, value },
  ]);
};

const verify = (bundle: Uint8Array): Verdict => verifyBundle(bundle, root, { now: clock.now() });

/** Verifies every seal and the chain that they form; returns their statements. */
async function audit({ sealer }: Life): Promise<SnapshotStatement[]> {
  const statements: SnapshotStatement[] = [];
  let previous: string | null = null;
  for (let sequence = 1; sequence <= sealer.count; sequence++) {
    const bytes = await sealer.bundle(sequence);
    const { valid, failed, statement } = verify(bytes);
    expect(failed).toBeUndefined();
    expect([valid, statement?.sequence, statement?.previous]).toEqual([true, sequence, previous]);
    previous = envelopeHash(parseBundle(bytes).envelope);
    if (statement !== undefined) statements.push(statement);
  }
  return statements;
}

describe("sealing", () => {
  test("an empty space has a seal like any other", async () => {
    const life = await begin();
    const receipt = await life.sealer.seal();
    expect(receipt).toMatchObject({ sequence: 1, leaves: 0, logIndex: 0, logSize: 1 });
    expect(await audit(life)).toMatchObject([{ leaves: 0, frontier: [], previous: null }]);
  });

  test("seals are numbered from 1, chained, and each states the frontier of its moment", async () => {
    const life = await begin();
    const receipts = [];
    for (let i = 0; i < 4; i++) {
      await put(life, i);
      receipts.push(await life.sealer.seal());
    }
    const statements = await audit(life);
    expect(receipts).toEqual(
      statements.map(({ sequence, root: sealed, leaves, sealedAt }) => ({
        sequence,
        root: sealed,
        leaves,
        sealedAt,
        logIndex: sequence - 1,
        logSize: sequence,
      })),
    );
    expect(statements.map(({ frontier }) => frontier[0]?.seq)).toEqual([1, 2, 3, 4]);
    expect(statements.map(({ leaves }) => leaves)).toEqual([2, 3, 4, 5]);
  });

  test("calls at the same time are carried out one after the other", async () => {
    const life = await begin();
    await put(life, 1);
    const writes = [2, 3].map(async (n) => put(life, n));
    const receipts = await Promise.all(Array.from({ length: 5 }, async () => life.sealer.seal()));
    await Promise.all(writes);
    expect(receipts.map(({ sequence, logIndex }) => [sequence, logIndex])).toEqual([
      [1, 0],
      [2, 1],
      [3, 2],
      [4, 3],
      [5, 4],
    ]);
    await audit(life);
  });

  test("an unchanged space is sealed with fresh salts: the roots do not tell that it is the same", async () => {
    const life = await begin();
    await put(life, 1);
    const [one, two] = [await life.sealer.seal(), await life.sealer.seal()];
    expect(one.leaves).toBe(two.leaves);
    expect(one.root).not.toBe(two.root);
  });

  test("a seal is good for its own space only", async () => {
    const life = await begin();
    await put(life, 1);
    await life.sealer.seal();
    const other = rootFor(spaceOf(2));
    const verdict = verifyBundle(await life.sealer.bundle(), other, { now: clock.now() });
    expect(verdict).toMatchObject({
      valid: false,
      exitCode: 2,
      failed: { code: "POLICY_REFUSED" },
    });
  });
});

describe("bundles", () => {
  test("without a number the newest is meant; the others stay as they were", async () => {
    const life = await begin();
    await put(life, 1);
    await life.sealer.seal();
    const first = await life.sealer.bundle();
    await put(life, 2);
    await life.sealer.seal();
    expect(await life.sealer.bundle(1)).toEqual(first);
    expect(await life.sealer.bundle()).toEqual(await life.sealer.bundle(2));
  });

  test("that are not there are named, with how many there are and what to do", async () => {
    const life = await begin();
    await expect(life.sealer.bundle()).rejects.toMatchObject({
      code: "NOT_FOUND",
      field: "sequence",
      remedy: expect.stringContaining("ctxmesh seal") as string,
    });
    await life.sealer.seal();
    for (const sequence of [0, 2, -1, 1.5, Number.NaN, 2 ** 53]) {
      await expect(life.sealer.bundle(sequence)).rejects.toMatchObject({
        code: "NOT_FOUND",
        message: `there is no seal ${String(sequence)}; 1 seal has been made`,
      });
    }
  });

  test("of a seal under way are never handed out before it is durable", async () => {
    const gate = Promise.withResolvers<void>();
    let closed = false;
    const life = await begin({ beforeSync: async () => (closed ? gate.promise : undefined) });
    await put(life, 1);
    await life.sealer.seal();
    const first = await life.sealer.bundle();
    closed = true;
    const sealing = life.sealer.seal();
    for (let i = 0; i < 50; i++) {
      expect(await life.sealer.bundle()).toEqual(first);
      await expect(life.sealer.bundle(2)).rejects.toMatchObject({ code: "NOT_FOUND" });
    }
    gate.resolve();
    await sealing;
    expect(verify(await life.sealer.bundle(2)).valid).toBe(true);
  });
});

describe("restarts", () => {
  test("keep sequence, chain and log", async () => {
    let life = await begin();
    for (let i = 0; i < 3; i++) {
      await put(life, i);
      await life.sealer.seal();
      await life.sealer.close();
      await life.replica.close();
      life = await live(await life.store.reopen());
      expect(life.sealer.count).toBe(i + 1);
    }
    expect(await life.sealer.seal()).toMatchObject({ sequence: 4, logIndex: 3, logSize: 4 });
    await audit(life);
  });

  test.each([0, 1])(
    "after a crash in the middle of a seal, with %i writes on disk, go on in sequence",
    async (kept) => {
      const gate = Promise.withResolvers<void>();
      let closed = false;
      const life = await begin({ beforeSync: async () => (closed ? gate.promise : undefined) });
      await put(life, 1);
      await life.sealer.seal();
      closed = true;
      const sealing = life.sealer.seal();
      const outcome = expect(sealing).rejects.toMatchObject({ code: "CLOSED" });
      // Everything of a seal but its write happens in microtasks.
      await new Promise((resolve) => setImmediate(resolve));
      const store = life.store.crash(kept);
      closed = false;
      gate.resolve();
      await outcome;
      const next = await live(store);
      expect(next.sealer.count).toBe(1 + kept);
      expect(await next.sealer.seal()).toMatchObject({ sequence: 2 + kept, logIndex: 1 + kept });
      expect(await audit(next)).toHaveLength(2 + kept);
    },
  );

  test.each(["lost", "kept"] as const)(
    "after a write that failed and was %s, nothing is half there",
    async (outcome) => {
      const life = await begin();
      await put(life, 1);
      await life.sealer.seal();
      life.store.failNextWrite(outcome);
      await expect(life.sealer.seal()).rejects.toMatchObject({ code: "STORE_FAILED" });
      await expect(life.sealer.seal()).rejects.toMatchObject({ code: "STORE_FAILED" });
      expect(life.sealer.count).toBe(1);
      expect(verify(await life.sealer.bundle()).valid).toBe(true);
      const next = await live(await life.store.reopen());
      const made = outcome === "kept" ? 2 : 1;
      expect(next.sealer.count).toBe(made);
      await next.sealer.seal();
      expect(await audit(next)).toHaveLength(made + 1);
    },
  );
});

/** A vault over a store, whose provider has a key in memory. */
const vaultOf = async (store: Store): Promise<StoreVault> => {
  const provider = {
    id: "test:xor",
    wrap: async (key: Uint8Array) => Promise.resolve(key.map((byte) => byte ^ 0x55)),
    unwrap: async (wrapped: Uint8Array) => Promise.resolve(wrapped.map((byte) => byte ^ 0x55)),
  };
  return openVault({ store, provider, clock });
};

/** One process life on a store with encryption. */
async function liveEncrypted(store: MemoryStore): Promise<Life> {
  const parts = { store, vault: await vaultOf(store), clock, random, logger: silentLogger };
  const replica = await Replica.open({ ...parts, space, signer: writerDevice, verifier });
  return { store, replica, sealer: await Sealer.open({ ...parts, ...sealKeys, replica }) };
}

async function recordsOf(store: Store, tag: number): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>();
  const range = { gte: Uint8Array.of(tag), lt: Uint8Array.of(tag + 1) };
  for await (const [key, value] of store.scan(range)) found.set(toHex(key), value);
  return found;
}

describe("with a vault", () => {
  const CANARY = "canary".repeat(50_000 / 6);

  test("no value, key or source of a seal is in the store, and every bundle comes back, also after a restart", async () => {
    const life = await liveEncrypted(createMemoryStore());
    for (let n = 0; n < 30; n++) {
      await life.replica.put(DOC, [
        { key: `canary-${String(n)}`, value: CANARY, source: { model: "canary-model" } },
      ]);
    }
    await life.sealer.seal();
    await put(life, 1);
    await life.sealer.seal();
    const parts = await recordsOf(life.store, 0x21);
    // Over the size of one part, twice.
    expect(parts.size).toBeGreaterThanOrEqual(4);
    for (const [key, value] of await recordsOf(life.store, 0x20)) {
      expect(Buffer.from(value).includes("canary"), key).toBe(false);
    }
    for (const [key, value] of parts) {
      expect(Buffer.from(value).includes("canary"), key).toBe(false);
      expect(value.length).toBeLessThanOrEqual(LIMITS.bundlePartBytes + 64);
    }
    expect(await audit(life)).toHaveLength(2);
    const again = await liveEncrypted(await life.store.reopen());
    expect(await audit(again)).toHaveLength(2);
    expect(await again.sealer.seal()).toMatchObject({ sequence: 3 });
    await audit(again);
  });

  test("a bundle with a part missing, in another place or of another seal is no bundle", async () => {
    const life = await liveEncrypted(createMemoryStore());
    for (let n = 0; n < 30; n++) {
      await life.replica.put(DOC, [{ key: `k/${String(n)}`, value: `${CANARY}${String(n)}` }]);
    }
    await life.sealer.seal();
    await life.sealer.seal();
    const parts = [...(await recordsOf(life.store, 0x21))].map(
      ([key, value]) => [Uint8Array.from(Buffer.from(key, "hex")), value] as const,
    );
    const inSeal = parts.length / 2;
    const [first, second] = [parts[0], parts[1]];
    const [last, otherFirst] = [parts[inSeal - 1], parts[inSeal]];
    if (!first || !second || !last || !otherFirst) throw new Error("too few parts");
    const damages: StoreChange[][] = [
      [{ key: last[0] }],
      [{ key: first[0] }],
      [
        { key: first[0], value: second[1] },
        { key: second[0], value: first[1] },
      ],
      [{ key: first[0], value: otherFirst[1] }],
    ];
    for (const damage of damages) {
      const store = life.store.crash();
      const damaged = await liveEncrypted(store);
      await store.write(damage);
      await expect(damaged.sealer.bundle(1)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
      expect(verify(await damaged.sealer.bundle(2)).valid).toBe(true);
    }
  });

  test("whose key is lost, the log goes on: what it needs of the newest seal is not encrypted", async () => {
    const life = await liveEncrypted(createMemoryStore());
    await life.sealer.seal();
    const first = await life.sealer.bundle();
    const store = life.store.crash();
    const keys = [...(await recordsOf(store, 0x30)).keys(), "31"];
    await store.write(keys.map((key) => ({ key: Uint8Array.from(Buffer.from(key, "hex")) })));
    const bundles = [...(await recordsOf(store, 0x21)).keys()];
    expect(bundles).toHaveLength(1);
    const parts = { store, vault: await openEmptyVault(), clock, random, logger: silentLogger };
    const replica = await Replica.open({ ...parts, space, signer: writerDevice, verifier });
    const sealer = await Sealer.open({ ...parts, ...sealKeys, replica });
    await expect(sealer.bundle(1)).rejects.toMatchObject({ code: "KEY_INVALID" });
    expect(await sealer.seal()).toMatchObject({ sequence: 2, logIndex: 1 });
    expect(verify(await sealer.bundle(2)).statement?.previous).toBe(
      envelopeHash(parseBundle(first).envelope),
    );
  });
});

/** A vault with keys of its own. */
const openEmptyVault = async (): Promise<StoreVault> => vaultOf(createMemoryStore());

/** A restored store: that of `life`, marked. */
async function restored(life: Life): Promise<Life> {
  const store = life.store.crash();
  await store.write([SEALS_UNCERTAIN]);
  return live(store);
}

describe("a store that may lack seals", () => {
  test("does not seal, over restarts, until it is told the number of the newest seal; then it goes on as ever", async () => {
    const life = await begin();
    await put(life, 1);
    await life.sealer.seal();
    let next = await restored(life);
    for (let n = 0; n < 2; n++) {
      await expect(next.sealer.seal()).rejects.toMatchObject({
        code: "SEALING_UNSAFE",
        message: expect.stringContaining("it has 1 seal") as unknown,
        remedy: expect.stringContaining("ctxmesh seal --after N") as unknown,
      });
      expect(verify(await next.sealer.bundle()).valid).toBe(true);
      next = await live(await next.store.reopen());
    }
    expect(await next.sealer.seal({ after: 1 })).toMatchObject({ sequence: 2 });
    expect(await next.sealer.seal()).toMatchObject({ sequence: 3 });
    next = await live(await next.store.reopen());
    expect(await next.sealer.seal()).toMatchObject({ sequence: 4 });
    expect(await audit(next)).toHaveLength(4);
  });

  test("that lacks some never seals: a number above its own is refused, and one below is a mistake", async () => {
    const life = await begin();
    await life.sealer.seal();
    for (const next of [life, await restored(life)]) {
      await expect(next.sealer.seal({ after: 2 })).rejects.toMatchObject({
        code: "SEALING_UNSAFE",
        message: "there are 2 seals, and this store has 1 seal: going on would fork the log",
      });
      await expect(next.sealer.seal({ after: 0 })).rejects.toMatchObject({
        code: "INPUT_INVALID",
        field: "after",
      });
      expect(next.sealer.count).toBe(1);
    }
  });

  test("stays marked when the seal that was to clear it failed", async () => {
    const life = await restored(await begin());
    life.store.failNextWrite("lost");
    await expect(life.sealer.seal({ after: 0 })).rejects.toMatchObject({ code: "STORE_FAILED" });
    const next = await live(await life.store.reopen());
    await expect(next.sealer.seal()).rejects.toMatchObject({ code: "SEALING_UNSAFE" });
  });

  test("that was damaged does not seal before it is whole again, whatever it is told", async () => {
    const life = await begin();
    await put(life, 1);
    const store = life.store.crash();
    const [head] = await recordsOf(store, 0x05);
    if (head === undefined) throw new Error("no head");
    const [key, value] = head;
    const ahead = value.slice();
    new DataView(ahead.buffer).setBigUint64(0, 9n);
    const expected = Uint8Array.from(Buffer.from(key, "hex"));
    expected[0] = 0x09;
    await store.write([{ key: expected, value: ahead }]);
    const degraded = await live(store);
    for (const options of [{}, { after: 0 }]) {
      await expect(degraded.sealer.seal(options)).rejects.toMatchObject({
        code: "SEALING_UNSAFE",
        remedy: expect.stringContaining("--accept-loss") as unknown,
      });
    }
    await degraded.replica.acceptLoss();
    expect(await degraded.sealer.seal()).toMatchObject({ sequence: 1 });
  });
});
