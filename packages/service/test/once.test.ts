// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a write with an idempotency key is made once, wherever the node dies and however often it is repeated; what is remembered is bounded.
 * Method: a real replica over a store in memory; each number of its atomic writes is what a crash may leave.
 */
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { LIMITS, parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type { Store, StoreChange, WriteReceipt } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { NodeWrites, Once } from "@ctxmesh/service";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import { beforeEach, expect, test } from "vitest";

const START_MS = Date.UTC(2026, 0, 1);
const TAG = 0x29;
const DOC = parseDocumentName("d");
const signer = createDeviceSigner(new Uint8Array(32).fill(1));
const space = issueGrant(
  createSpace({ name: "plant", creator: signer, now: START_MS, random: createSeededRandom(1) }),
  signer,
  {
    device: parseDeviceKey(toHex(signer.publicKey)),
    service: "agent",
    role: "write",
    notBefore: START_MS,
  },
);

let clock: VirtualClock;
let lives = 0;
beforeEach(() => {
  clock = createVirtualClock(START_MS + 1_000);
});

interface Node {
  readonly replica: Replica;
  readonly add: (name: string, by: number) => Promise<WriteReceipt>;
  readonly sum: () => unknown;
}

async function open(store: Store): Promise<Node> {
  const random = createSeededRandom(100 + lives++);
  const parts = { store, space, signer, clock, random, logger: silentLogger };
  const replica = await Replica.open({ ...parts, verifier: createDeviceVerifier() });
  const once = await Once.open({ store, replica, clock });
  const writes = new NodeWrites({ service: "agent", replica, once });
  return {
    replica,
    add: async (name, by) =>
      writes.run({ idempotencyKey: name }, ["add", by], async (_, context) =>
        replica.put(DOC, [{ key: "n", value: by, increment: true }], context),
      ),
    sum: () => replica.get(DOC, "n")?.value,
  };
}

const remembered = async (store: Store): Promise<number> => {
  let count = 0;
  for await (const _ of store.scan({ gte: Uint8Array.of(TAG), lt: Uint8Array.of(TAG + 1) }))
    count++;
  return count;
};

test("whatever a crash leaves, each write is made once when all are repeated", async () => {
  const inner = createMemoryStore();
  const written: (readonly StoreChange[])[] = [];
  const store: Store = {
    ...inner,
    get: async (key) => inner.get(key),
    scan: (range) => inner.scan(range),
    write: async (changes) => {
      written.push(changes);
      await inner.write(changes);
    },
  };
  const node = await open(store);
  const names = Array.from({ length: 12 }, (_, i) => `write ${String(i)}`.replace(" ", "-"));
  // Some share a group, and so an atomic write, and some do not.
  for (let i = 0; i < names.length; i += 3) {
    await Promise.all(names.slice(i, i + 3).map(async (name) => node.add(name, 1)));
  }
  expect(node.sum()).toBe(names.length);
  await node.replica.close();
  expect(written.length).toBeGreaterThanOrEqual(5);
  for (let count = 0; count <= written.length; count++) {
    const left = createMemoryStore();
    for (const changes of written.slice(0, count)) await left.write(changes);
    const again = await open(left);
    for (const name of names) await again.add(name, 1);
    for (const name of names) await again.add(name, 1);
    expect(again.sum(), `after ${String(count)} writes`).toBe(names.length);
    await again.replica.close();
  }
});

test("the same answer comes again, also from the next life", async () => {
  const store = createMemoryStore();
  const node = await open(store);
  const first = await node.add("x", 7);
  expect(await node.add("x", 7)).toEqual(first);
  await node.replica.close();
  const next = await open(store);
  expect(await next.add("x", 7)).toEqual(first);
  await expect(next.add("x", 8)).rejects.toMatchObject({ code: "IDEMPOTENCY_CONFLICT" });
});

test("what was written is not remembered when the write itself is lost", async () => {
  const store = createMemoryStore();
  const node = await open(store);
  await node.add("x", 7);
  await node.replica.close();
  // As the healing of a damaged store leaves it: the records, and no batches.
  const healed = createMemoryStore();
  for await (const [key, value] of store.scan({
    gte: Uint8Array.of(TAG),
    lt: Uint8Array.of(TAG + 1),
  })) {
    await healed.write([{ key, value }]);
  }
  const again = await open(healed);
  await again.add("x", 7);
  expect(again.sum()).toBe(7);
});

test("a key is forgotten after a day, in the store, too", async () => {
  const store = createMemoryStore();
  const node = await open(store);
  await node.add("x", 1);
  clock.advance(LIMITS.idempotencyMs - 1);
  await node.add("x", 1);
  expect(node.sum()).toBe(1);
  clock.advance(1);
  await node.add("x", 5);
  expect(node.sum()).toBe(6);
  clock.advance(LIMITS.idempotencyMs);
  await node.add("y", 1);
  expect(await remembered(store)).toBe(1);
});

test("of more keys than its limit the oldest is forgotten", async () => {
  const store = createMemoryStore();
  const filled = Array.from({ length: LIMITS.idempotencyKeys }, (_, i) => {
    const key = new Uint8Array(33).fill(i & 0xff);
    const view = new DataView(key.buffer);
    view.setUint8(0, TAG);
    view.setUint32(1, i);
    const value = new Uint8Array(76);
    new DataView(value.buffer).setBigUint64(0, BigInt(START_MS - i));
    return { key, value };
  });
  await store.write(filled);
  const node = await open(store);
  await node.add("x", 1);
  expect(await remembered(store)).toBe(LIMITS.idempotencyKeys);
  expect(await store.get(filled.at(-1)?.key ?? new Uint8Array())).toBeUndefined();
  expect(await store.get(filled.at(-2)?.key ?? new Uint8Array())).toBeDefined();
  await node.add("x", 1);
  expect(node.sum()).toBe(1);
});
