// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: every seal that anybody heard of verifies for ever, in one unbroken sequence, whatever the disk does.
 * Method: real keys, log and replica over a store in memory that crashes and fails where it is told to.
 */
import { envelopeHash, parseBundle, verifyBundle } from "@ctxmesh/ledger";
import type { SnapshotStatement, Verdict } from "@ctxmesh/ledger";
import { parseDocumentName } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import type { MemoryStore, MemoryStoreFaults } from "@ctxmesh/testing";
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
