// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: an agent does not take what a leaf can't do for misbehaviour, however long they are connected, and what it can't do costs nobody anything.
 * Method: the model leaf and the sync of an agent over a channel in memory, on a clock that is moved by hand.
 */
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { createSpace, isWelcome, issueGrant } from "@ctxmesh/membership";
import { parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type { DeviceKey, Subscription } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { Decider, RECORDS_EVERY_MS, SyncNode } from "@ctxmesh/sync";
import {
  createChannelPair,
  createMemoryStore,
  createRecordingLogger,
  createSeededRandom,
  createVirtualClock,
} from "@ctxmesh/testing";
import type { Broadcast } from "@ctxmesh/sync";
import type { RecordingLogger, VirtualClock } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { LeafStore } from "./leaf-store.ts";
import { ModelLeaf } from "./model-leaf.ts";

const START_MS = Date.UTC(2026, 0, 1);
const TICK_MS = 50;
const DOC = parseDocumentName("line-2/press-7");
const verifier = createDeviceVerifier();
const seedOf = (n: number): Uint8Array => new Uint8Array(32).fill(n);
const keyOf = (n: number): DeviceKey =>
  parseDeviceKey(toHex(createDeviceSigner(seedOf(n)).publicKey));
const creator = createDeviceSigner(seedOf(200));
const [AGENT, LEAF, OTHER] = [1, 2, 3] as const;
const space = [AGENT, LEAF, OTHER].reduce(
  (grown, n) =>
    issueGrant(grown, creator, {
      device: keyOf(n),
      service: "agent",
      role: "write",
      notBefore: START_MS - 1_000,
    }),
  createSpace({ name: "test", creator, now: START_MS, random: createSeededRandom(1) }),
);

interface Pair {
  readonly clock: VirtualClock;
  readonly replica: Replica;
  readonly sync: SyncNode;
  readonly logger: RecordingLogger;
  readonly leaf: ModelLeaf;
  /** Passes time, in milliseconds. */
  pass(ms: number): Promise<void>;
}

/** Lets run whatever needs no time. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise(setImmediate);
}

async function connected(
  store: LeafStore,
  {
    subscription,
    broadcast,
  }: { readonly subscription?: Subscription; readonly broadcast?: Broadcast } = {},
): Promise<Pair> {
  const clock = createVirtualClock(START_MS);
  const logger = createRecordingLogger();
  const replica = await Replica.open({
    store: createMemoryStore(),
    space,
    signer: createDeviceSigner(seedOf(AGENT)),
    verifier,
    clock,
    random: createSeededRandom(7),
    logger,
    ...(subscription === undefined ? {} : { subscription }),
  });
  const sync = new SyncNode({
    replica,
    clock,
    logger,
    random: createSeededRandom(8),
    relay: "tell",
    admits: (device) => isWelcome(replica.space, parseDeviceKey(device), clock.now()),
    ...(broadcast === undefined ? {} : { broadcast }),
    answers: new Decider({ replica, clock }).answer,
  });
  const remote = { address: "memory", direction: "inbound", role: "agent" } as const;
  const { a, b } = createChannelPair({
    a: { ...remote, device: keyOf(LEAF), leaf: true },
    b: { ...remote, device: keyOf(AGENT), direction: "outbound" },
  });
  void sync.run(a);
  const leaf = new ModelLeaf(store, b, () => clock.now());
  void leaf.run();
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      clock.advance(TICK_MS);
      sync.tick();
      leaf.tick();
      await settle();
    }
  };
  await settle();
  return { clock, replica, sync, logger, leaf, pass };
}

const newStore = (n: number): LeafStore =>
  new LeafStore(space.id, seedOf(n), createSeededRandom(100 + n).bytes(16));
const isEqual = ({ replica }: Pair, store: LeafStore): boolean =>
  toHex(replica.frontierDigest()) === toHex(store.frontierDigest());
/** What the agent says of the leaf that it would not say of an agent. */
const complaints = ({ logger }: Pair): unknown[] =>
  logger.entries.filter(
    ({ event, level }) => event === "peer.disconnected" || level === "warn" || level === "error",
  );

test("a quarter of an hour passes in peace, and with little to say", async () => {
  const store = newStore(LEAF);
  const pair = await connected(store);
  for (let minute = 0; minute < 15; minute++) {
    if (minute < 3) {
      pair.leaf.put(DOC, { leaf: String(minute) });
      await pair.replica.put(DOC, [{ key: "agent", value: minute }]);
    }
    await pair.pass(60_000);
    expect(isEqual(pair, store)).toBe(true);
  }
  expect(pair.sync.peers()).toMatchObject([{ device: keyOf(LEAF), leaf: true, inSync: true }]);
  expect(complaints(pair)).toEqual([]);
  // One comparison of digests every half minute, and no comparison of heads once they are equal.
  expect(pair.leaf.heard.get("digest") ?? 0).toBeLessThan(60);
  expect(pair.leaf.heard.get("records") ?? 0).toBeLessThanOrEqual(1);
  expect(pair.leaf.heard.get("ranges") ?? 0).toBeLessThanOrEqual(4);
});

test("more batches than a base would spare come from a leaf, which has no base", async () => {
  const store = newStore(LEAF);
  const before = await connected(store);
  await before.pass(1_000);
  expect(store.roster).toBeDefined();
  for (let i = 0; i < 2_100; i++) store.put(DOC, { [`k${String(i % 7)}`]: String(i) }, START_MS);
  const pair = await connected(store);
  for (let i = 0; i < 200 && !isEqual(pair, store); i++) await pair.pass(1_000);
  expect(isEqual(pair, store)).toBe(true);
  expect(pair.leaf.heard.get("base-pull")).toBe(1);
  expect(complaints(pair)).toEqual([]);
});

test("what an agent asks that a leaf does not know is answered, and the session goes on", async () => {
  const store = newStore(LEAF);
  const pair = await connected(store, { subscription: { docs: ["line-2/"] } });
  store.put(parseDocumentName("elsewhere"), { other: "1" }, START_MS);
  await pair.pass(1_000);
  const [remote] = pair.sync.asker.remotes();
  if (remote === undefined) throw new Error("nobody to ask");
  const asked = pair.sync.asker.ask(remote, Uint8Array.of(0x82, 0, 0), { withinMs: 5_000 });
  await settle();
  expect((await asked).kind).toBe("answer");
  const hash = store.log[0]?.hash;
  if (hash === undefined) throw new Error("no batch");
  const fetched = pair.sync.fetch([{ hash, section: 0 }], undefined);
  await settle();
  // It says that it has none of them, not that nothing in them is wanted.
  expect(await fetched).toMatchObject({ unwanted: 0, unavailable: [{ hash }] });
  expect(complaints(pair)).toEqual([]);
});

test("a leaf asks for the roster again and again where heads contradict it, and not more often than every two seconds", async () => {
  const store = newStore(LEAF);
  const pair = await connected(store);
  await pair.pass(RECORDS_EVERY_MS);
  const before = pair.leaf.heard.get("answer") ?? 0;
  expect(before).toBe(1);
  // It has lost sight of a device, though by the same records.
  const roster = store.roster;
  if (roster === undefined) throw new Error("no roster");
  store.adopt({
    ...roster,
    devices: roster.devices.filter(({ device }) => device !== keyOf(AGENT)),
  });
  await pair.replica.put(DOC, [{ key: "agent", value: 1 }]);
  await pair.pass(RECORDS_EVERY_MS + 1_000);
  expect(isEqual(pair, store)).toBe(true);
  expect((pair.leaf.heard.get("answer") ?? 0) - before).toBe(1);
});

test("where an agent gossips, which a leaf does not hear, it still pushes to the leaf", async () => {
  const published: Uint8Array[] = [];
  const broadcast = {
    active: () => true,
    publish: async (batch: Uint8Array) => {
      published.push(batch);
      return Promise.resolve();
    },
  };
  const store = newStore(LEAF);
  const pair = await connected(store, { broadcast });
  await pair.pass(RECORDS_EVERY_MS);
  for (const value of [1, 2]) {
    await pair.replica.put(DOC, [{ key: "agent", value }]);
    await settle();
  }
  expect(published).toHaveLength(2);
  expect(pair.leaf.heard.get("push")).toBe(2);
  expect(isEqual(pair, store)).toBe(true);
});
