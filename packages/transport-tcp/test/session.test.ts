// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: an agent and a leaf that does no more than `model-leaf.ts` come together and stay so, whatever happened while they were apart, and neither
 * thinks ill of the other.
 * Method: two whole agents in a mesh, and the model leaf over the real link to one of them.
 */
import { encodeSignedRecord } from "@ctxmesh/codec";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createAgent } from "@ctxmesh/edge-agent";
import type { Agent } from "@ctxmesh/edge-agent";
import { createSpace, issueGrant, revokeDevice } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type { DeviceKey, DeviceSigner } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { createRecordingLogger, tempDir, waitFor } from "@ctxmesh/testing";
import type { RecordingLogger, TempDir } from "@ctxmesh/testing";
import { connectLink, leafPsk } from "@ctxmesh/transport-tcp";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { verifier } from "./ends.ts";
import { LeafStore } from "./leaf-store.ts";
import { ModelLeaf } from "./model-leaf.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const DOC = parseDocumentName("line-2/press-7");
const SECRET = new Uint8Array(32).fill(3);
const seedOf = (n: number): Uint8Array => new Uint8Array(32).fill(n);
const deviceOf = (n: number): DeviceSigner & { readonly key: DeviceKey } => {
  const signer = createDeviceSigner(seedOf(n));
  return { ...signer, key: parseDeviceKey(toHex(signer.publicKey)) };
};
const creator = deviceOf(100);
const now = (): number => systemClock.now();
const grant = (space: Space, n: number): Space =>
  issueGrant(space, creator, {
    device: deviceOf(n).key,
    service: "agent",
    role: "write",
    notBefore: now() - 60_000,
    now: now(),
  });
const [PARENT, OTHER, LEAF, THIRD] = [1, 2, 3, 4] as const;

let dir: TempDir;
let cleanup: AsyncDisposableStack;
let space: Space;
beforeEach(async () => {
  dir = await tempDir();
  cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => dir.remove());
  const empty = createSpace({ name: "plant", creator, now: now(), random: systemRandom });
  space = [PARENT, OTHER, LEAF, THIRD].reduce(grant, empty);
});
afterEach(async () => cleanup.disposeAsync());

interface Started {
  readonly agent: Agent;
  readonly logger: RecordingLogger;
  readonly n: number;
}

/** Starts the agent with a number; one that was stopped goes on. */
async function start(n: number, peers: readonly string[] = []): Promise<Started> {
  const logger = createRecordingLogger();
  const agent = await createAgent(
    {
      version: "0.0.0",
      space,
      deviceSeed: seedOf(n),
      storePath: join(dir.path, `store-${String(n)}`),
      socketPath: join(dir.path, `${String(n)}.sock`),
      mesh: { listen: ["/ip4/127.0.0.1/tcp/0"], peers },
      hubs: [],
      sources: [],
      leaves: { host: "127.0.0.1", port: 0, secret: SECRET },
    },
    { clock: systemClock, random: systemRandom, logger },
  );
  cleanup.defer(async () => agent.stop());
  return { agent, logger, n };
}

/** The leaf over a link of its own, until it is called off. */
async function connect(
  store: LeafStore,
  { agent, n }: Started,
): Promise<{ readonly leaf: ModelLeaf; stop(): Promise<void> }> {
  const [address = ""] = agent.leafAddresses();
  const channel = await connectLink({
    host: "127.0.0.1",
    port: Number(new URL(address).port),
    device: store.signer,
    space: store.space,
    parent: deviceOf(n).key,
    psk: leafPsk(SECRET, store.signer.publicKey),
    verifier,
    random: systemRandom,
  });
  const leaf = new ModelLeaf(store, channel, now);
  const running = leaf.run();
  const ticks = setInterval(() => leaf.tick(), 50);
  const stop = async (): Promise<void> => {
    clearInterval(ticks);
    await channel.close();
    // Rejects with what no honest parent says.
    await running;
  };
  return { leaf, stop };
}

const newStore = (n: number = LEAF): LeafStore =>
  new LeafStore(space.id, seedOf(n), systemRandom.bytes(16));
const until = async (what: string, condition: () => boolean | Promise<boolean>): Promise<void> =>
  waitFor(condition, { timeoutMs: 20_000, what });
const isLike = async (store: LeafStore, { agent }: Started): Promise<boolean> =>
  toHex(store.frontierDigest()) === (await agent.service.status()).frontier;
const areLike = async (store: LeafStore, ...agents: readonly Started[]): Promise<boolean> =>
  (await Promise.all(agents.map((agent) => isLike(store, agent)))).every(Boolean);
const valueAt = ({ agent }: Started, key: string): unknown => agent.service.get(DOC, key)?.value;

/** What an agent has logged against anybody. */
const complaints = ({ logger }: Started): unknown[] =>
  logger.entries.filter(
    ({ event, level }) => /violation|useless|refused/u.test(event) || level === "error",
  );

test("two agents and a leaf come together, and what each writes reaches the others", async () => {
  const parent = await start(PARENT);
  const other = await start(OTHER, parent.agent.addresses());
  await parent.agent.service.put(DOC, [{ key: "parent", value: 1 }]);
  await other.agent.service.put(DOC, [{ key: "other", value: 2 }]);
  const store = newStore();
  store.put(DOC, { leaf: "3", early: "true" }, now());
  const { leaf, stop } = await connect(store, parent);
  await until(
    "all to be equal",
    async () => store.log.length === 3 && areLike(store, parent, other),
  );
  for (const at of [parent, other]) expect(valueAt(at, "leaf")).toBe(3);

  leaf.put(DOC, { leaf: "4" });
  leaf.put(DOC, { leaf: "5" });
  await parent.agent.service.put(DOC, [{ key: "parent", value: 6 }]);
  await other.agent.service.put(DOC, [{ key: "other", value: 7 }]);
  await until(
    "all to be equal again",
    async () => store.log.length === 7 && areLike(store, parent, other),
  );
  expect(valueAt(other, "leaf")).toBe(5);
  await until("the leaf to be in step", async () =>
    (await parent.agent.service.status()).peers.some(
      ({ leaf: isLeaf, inSync }) => isLeaf === true && inSync,
    ),
  );
  expect(leaf.isTold).toBe(true);
  // The second one follows the first over the same link, which is a push of 1 to 2 messages each.
  expect(leaf.heard.get("records") ?? 0).toBeLessThanOrEqual(2);
  await stop();
  expect([...complaints(parent), ...complaints(other)]).toEqual([]);
});

test("what was revoked while the leaf was away goes from it, and what was granted meanwhile comes", async () => {
  const parent = await start(PARENT);
  const third = newStore(THIRD);
  for (let i = 0; i < 3; i++) third.put(DOC, { third: String(i) }, now());
  const visit = await connect(third, parent);
  await until("the third one's facts", () => valueAt(parent, "third") === 2);
  await visit.stop();

  const store = newStore();
  const first = await connect(store, parent);
  await until("the leaf to have them", () => isLike(store, parent));
  expect(store.head(third.own)?.seq).toBe(3);
  await first.stop();

  const { incarnation, hash } = third.log[0] ?? third.put(DOC, {}, now());
  const revoked = revokeDevice(grant(space, 5), creator, {
    device: third.device,
    heads: [{ incarnation, seq: 1, hash }],
    reason: "stolen",
    now: now(),
  });
  await parent.agent.service.addActs(revoked.acts.map(({ record }) => encodeSignedRecord(record)));
  expect(valueAt(parent, "third")).toBe(0);
  const again = await connect(store, parent);
  await until("the leaf to hear of it", () => isLike(store, parent));
  expect(store.head(third.own)?.seq).toBe(1);

  const fifth = newStore(5);
  fifth.put(DOC, { fifth: "5" }, now());
  const newcomer = await connect(fifth, parent);
  await until("the leaf to take a newcomer's", () => store.head(fifth.own)?.seq === 1);
  await until(
    "all to be equal",
    async () => (await isLike(store, parent)) && isLike(fifth, parent),
  );
  await newcomer.stop();
  await again.stop();
  expect(complaints(parent)).toEqual([]);
});

test("a revocation made while the leaf is connected lowers the chain at once", async () => {
  const parent = await start(PARENT);
  const third = newStore(THIRD);
  third.put(DOC, { third: "1" }, now());
  const visit = await connect(third, parent);
  const store = newStore();
  const { stop } = await connect(store, parent);
  await until(
    "the leaf to have it",
    async () => store.head(third.own)?.seq === 1 && isLike(store, parent),
  );
  await visit.stop();
  const revoked = revokeDevice(space, creator, {
    device: third.device,
    heads: [],
    reason: "x",
    now: now(),
  });
  await parent.agent.service.addActs(revoked.acts.map(({ record }) => encodeSignedRecord(record)));
  await until(
    "the leaf to lower it",
    async () => store.head(third.own) === undefined && isLike(store, parent),
  );
  // Who was revoked does not get in again.
  await expect(connect(third, parent)).rejects.toMatchObject({ code: "UNREACHABLE" });
  await stop();
});

test("500 chains, of which each end has some, come together", async () => {
  const parent = await start(PARENT);
  const many = Array.from({ length: 500 }, () => newStore(THIRD));
  const store = newStore();
  for (const [i, chain] of many.entries()) {
    const stored = chain.put(DOC, { [`k${String(i)}`]: String(i) }, now());
    if (i % 3 === 0) continue;
    // As a leaf that had them of another parent.
    store.roster ??= {
      records: new Uint8Array(16),
      devices: [
        {
          device: chain.device,
          revoked: false,
          grants: [{ role: "write", notBefore: 0, notAfter: 2 ** 48 }],
        },
      ],
      limits: [],
    };
    expect(store.receive(stored.bytes, now())).toBe(true);
  }
  const feeder = newStore(THIRD);
  feeder.roster = store.roster;
  for (const [i, { log }] of many.entries()) {
    if (i % 3 !== 1) for (const { bytes } of log) feeder.receive(bytes, now());
  }
  const feeding = await connect(feeder, parent);
  await until("the parent to have some", () => isLike(feeder, parent));
  await feeding.stop();
  const { stop } = await connect(store, parent);
  await until("all to be equal", async () => store.log.length === 500 && isLike(store, parent));
  await stop();
  expect(complaints(parent)).toEqual([]);
});

test("a leaf goes on with another parent where it left off with the first one", async () => {
  const parent = await start(PARENT);
  const other = await start(OTHER, parent.agent.addresses());
  const store = newStore();
  const first = await connect(store, parent);
  first.leaf.put(DOC, { leaf: "1" });
  await until("the parent to have it", () => valueAt(other, "leaf") === 1);
  await first.stop();
  store.put(DOC, { leaf: "2" }, now());
  const second = await connect(store, other);
  await until(
    "all to be equal",
    async () => valueAt(parent, "leaf") === 2 && areLike(store, parent, other),
  );
  await second.stop();
  expect([...complaints(parent), ...complaints(other)]).toEqual([]);
});
