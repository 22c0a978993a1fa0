// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whatever sealer is paused for however long, no seal is made twice, and the log has no fork.
 * Method: sealers of two hubs on one engine in virtual time, which stop past the term of their lease, or whose write comes late, and then seal
 * at the same moment as whoever took over. The same with processes that are stopped is `npm run hubs -- pauses`.
 */
import { envelopeHash, parseBundle, verifyBundle } from "@ctxmesh/ledger";
import { toMeshError } from "@ctxmesh/model";
import type { Engine, EngineWrite, Fence, SpaceId } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import {
  MemoryEngineData,
  createMemoryEngine,
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { readBundle } from "../src/bundle-store.ts";
import { EngineStore } from "../src/engine-store.ts";
import { NEWEST_KEY, Sealer } from "../src/sealer.ts";
import { START_MS, hubDevice, rootFor, sealKeys, spaceOf, verifier } from "./fixture.ts";

const PAUSES = 40;
const TERM_MS = 3_500;
const space = spaceOf();
const clock = createVirtualClock(START_MS);
const random = createSeededRandom(8);
const parts = { clock, random, logger: silentLogger };

/** A hub's sealer under a lease that it has just taken. */
async function lead(engine: Engine, replica: Replica, holder: string): Promise<Sealer> {
  const lease = await engine.acquire(space.id, holder, TERM_MS);
  if (lease === undefined) throw new Error("the lease is not to be had");
  const value = await engine.get(space.id, NEWEST_KEY);
  const fence = { holder, epoch: lease.epoch };
  const store = new EngineStore(engine, space.id, fence, { key: NEWEST_KEY, value });
  return Sealer.open({ ...parts, ...sealKeys, store, replica });
}

const openReplica = async (): Promise<Replica> =>
  Replica.open({ ...parts, store: createMemoryStore(), space, signer: hubDevice, verifier });

const sealAt = async (sealer: Sealer): Promise<number | string> =>
  sealer.seal().then(
    ({ sequence }) => sequence,
    (error: unknown) => toMeshError(error).code,
  );

/** The number of seals, each of which verifies and names the one before. */
async function audit(engine: Engine): Promise<number> {
  const store = new EngineStore(engine, space.id, { holder: "auditor", epoch: 0 });
  let previous: string | null = null;
  for (let sequence = 1; ; sequence++) {
    const bundle = await readBundle(store, sequence, undefined);
    if (bundle === undefined) return sequence - 1;
    const { valid, statement } = verifyBundle(bundle, rootFor(space), { now: clock.now() });
    expect([valid, statement?.sequence, statement?.previous]).toEqual([true, sequence, previous]);
    previous = envelopeHash(parseBundle(bundle).envelope);
  }
}

test("a sealer that was paused past its lease seals nothing, whoever else seals at the same moment", async () => {
  const engine = createMemoryEngine(new MemoryEngineData(), clock);
  const replica = await openReplica();
  let stale = await lead(engine, replica, "hub 0");
  for (let pause = 1; pause <= PAUSES; pause++) {
    clock.advance(TERM_MS);
    const next = await lead(engine, replica, `hub ${String(pause % 2)}`);
    expect(await Promise.all([sealAt(stale), sealAt(next)])).toEqual(["ENGINE_FENCED", pause]);
    stale = next;
  }
  expect(await audit(engine)).toBe(PAUSES);
}, 60_000);

test("a write that was given up and comes late is not made twice under the same lease", async () => {
  const engine = createMemoryEngine(new MemoryEngineData(), clock);
  const replica = await openReplica();
  const late: (() => Promise<void>)[] = [];
  const slow: Engine = Object.create(engine, {
    write: {
      value: async (id: SpaceId, fence: Fence, write: EngineWrite) => {
        late.push(async () => engine.write(id, fence, write));
        throw toMeshError(Object.assign(new Error("too slow"), { code: "ENGINE_UNAVAILABLE" }));
      },
    },
    get: { value: async (id: SpaceId, key: Uint8Array) => engine.get(id, key) },
    acquire: {
      value: async (id: SpaceId, holder: string, termMs: number) =>
        engine.acquire(id, holder, termMs),
    },
    scan: { value: (id: SpaceId, range: Parameters<Engine["scan"]>[1]) => engine.scan(id, range) },
  }) as Engine;
  const first = await lead(slow, replica, "hub 0");
  await expect(first.seal()).rejects.toThrow("too slow");
  // The same hub reads the log again, under the lease that it still has, and seals.
  const again = await lead(engine, replica, "hub 0");
  await late[0]?.();
  expect(await sealAt(again)).toBe("ENGINE_FENCED");
  expect(await audit(engine)).toBe(1);
  expect(await sealAt(await lead(engine, replica, "hub 0"))).toBe(2);
  expect(await audit(engine)).toBe(2);
});
