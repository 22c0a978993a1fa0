// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a write resolves at the level that was asked for and not before, and a status says how far writes have got.
 * Method: an agent's service over a real replica and sync node, and a hub beside it, in memory.
 */
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { LIMITS, parseDeviceKey, toHex } from "@ctxmesh/model";
import type { AckLevel, Remote, WriteOptions, WriteReceipt } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { NodeService } from "@ctxmesh/service";
import { SyncNode } from "@ctxmesh/sync";
import {
  createChannelPair,
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import { beforeEach, describe, expect, test } from "vitest";

const START_MS = Date.UTC(2026, 0, 1);
const signers = [1, 2].map((n) => createDeviceSigner(new Uint8Array(32).fill(n)));

interface Member {
  readonly replica: Replica;
  readonly sync: SyncNode;
  readonly service: NodeService;
}

let clock: VirtualClock;
let agent: Member;
let hub: Member;

async function open(n: number, service: "agent" | "hub"): Promise<Member> {
  const [creator] = signers;
  const signer = signers[n];
  if (creator === undefined || signer === undefined) throw new Error("no such device");
  const space = signers.reduce(
    (all, { publicKey }) =>
      issueGrant(all, creator, {
        device: parseDeviceKey(toHex(publicKey)),
        service: "agent",
        role: "manage",
        notBefore: START_MS,
      }),
    createSpace({ name: "plant", creator, now: START_MS, random: createSeededRandom(1) }),
  );
  const common = { clock, logger: silentLogger };
  const replica = await Replica.open({
    ...common,
    store: createMemoryStore(),
    space,
    signer,
    verifier: createDeviceVerifier(),
    random: createSeededRandom(10 + n),
  });
  const relay = service === "hub" ? "push" : "tell";
  const random = createSeededRandom(20 + n);
  const sync = new SyncNode({ ...common, random, replica, relay, admits: () => true });
  const node = new NodeService({
    service,
    version: "1.2.3",
    replica,
    clock,
    confirmations: sync.confirmations,
    peers: () => sync.peers(),
    addresses: () => [],
  });
  return { replica, sync, service: node };
}

/** Lets everything happen that happens without time passing. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const remote = (role: Remote["role"], { replica }: Member): Remote => ({
  device: replica.device,
  address: `memory:${role}`,
  direction: "inbound",
  role,
});

async function connect(): Promise<void> {
  const pair = createChannelPair({ a: remote("hub", hub), b: remote("agent", agent) });
  void agent.sync.run(pair.a);
  void hub.sync.run(pair.b);
  await settle();
}

function pass(ms: number): void {
  clock.advance(ms);
  agent.sync.tick();
}

const put = (key: string, options?: WriteOptions): Promise<WriteReceipt> =>
  agent.service.put("doc", [{ key, value: 1 }], options);

/** What became of a write by now. */
async function outcomeOf(write: Promise<WriteReceipt>): Promise<unknown> {
  const under = Symbol("under way");
  await settle();
  return Promise.race([
    write.catch((error: unknown) => error),
    Promise.resolve(under).then((one) => one.description),
  ]);
}

beforeEach(async () => {
  clock = createVirtualClock(START_MS + 1_000);
  agent = await open(0, "agent");
  hub = await open(1, "hub");
});

describe("a write", () => {
  test("is acknowledged as local by itself, and says which batch carries it", async () => {
    const first = await put("a");
    const { incarnation } = agent.replica;
    expect(first).toMatchObject({ acknowledged: "local", facts: 1, incarnation, seq: 1 });
    expect(await put("b", { ack: "local" })).toMatchObject({ seq: 2 });
  });

  test("with ack hub resolves once a hub has it, with ack sealed once it is sealed", async () => {
    const atHub = put("a", { ack: "hub" });
    const sealed = put("b", { ack: "sealed" });
    expect(await outcomeOf(atHub)).toBe("under way");
    await connect();
    expect(await atHub).toMatchObject({ acknowledged: "hub", seq: 1 });
    expect(await outcomeOf(sealed)).toBe("under way");
    hub.sync.sealed(hub.replica.heads());
    expect(await sealed).toMatchObject({ acknowledged: "sealed" });
  });

  test.each([
    ["delete", () => agent.service.delete("doc", ["a"], { ack: "hub" })],
    [
      "retract",
      () => agent.service.retract("doc", "a", agent.replica.device, "wrong", { ack: "hub" }),
    ],
  ] as const)("%s waits like put", async (_, write) => {
    await put("a");
    const waiting = write();
    expect(await outcomeOf(waiting)).toBe("under way");
    await connect();
    expect(await waiting).toMatchObject({ acknowledged: "hub", facts: 1 });
  });

  test("that gets no further in time says that it is durable, and how far it got", async () => {
    const first = put("a", { ack: "hub", timeoutMs: 500 });
    await settle();
    pass(499);
    expect(await outcomeOf(first)).toBe("under way");
    pass(1);
    await expect(first).rejects.toMatchObject({
      code: "ACK_TIMEOUT",
      message: expect.stringContaining("durable here and acknowledged as local") as string,
      remedy: expect.stringContaining("don't write it again") as string,
    });
    expect(agent.service.get("doc", "a")?.value).toBe(1);
    await connect();
    expect(hub.service.get("doc", "a")?.value).toBe(1);
    const second = put("b", { ack: "sealed" });
    await settle();
    pass(LIMITS.ackDefaultMs);
    await expect(second).rejects.toMatchObject({
      code: "ACK_TIMEOUT",
      message: expect.stringContaining("acknowledged as hub; it was not sealed within") as string,
    });
  });

  test.each<[WriteOptions, string]>([
    [{ ack: "nowhere" as AckLevel }, "ack"],
    [{ ack: "hub", timeoutMs: 0 }, "timeoutMs"],
    [{ ack: "hub", timeoutMs: 1.5 }, "timeoutMs"],
    [{ timeoutMs: LIMITS.ackTimeoutMs + 1 }, "timeoutMs"],
    [{ timeoutMs: Number.NaN }, "timeoutMs"],
  ])("with %j is refused before anything is written", async (options, field) => {
    await expect(put("a", options)).rejects.toMatchObject({ code: "INPUT_INVALID", field });
    expect(agent.service.get("doc", "a")).toBeUndefined();
  });

  test("that would be one too many to wait is refused before it is written", async () => {
    const { device: replica, incarnation } = agent.replica;
    const waits = Array.from({ length: LIMITS.ackWaits }, () =>
      agent.sync.confirmations.reached({ replica, incarnation, seq: 1 }, "hub", 1_000),
    );
    await expect(put("a", { ack: "hub" })).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
    expect(agent.service.get("doc", "a")).toBeUndefined();
    pass(1_000);
    await Promise.all(waits);
    await connect();
    expect(await put("a", { ack: "hub" })).toMatchObject({ acknowledged: "hub" });
  });

  test("ends with CLOSED when the node stops", async () => {
    const write = put("a", { ack: "hub" });
    await settle();
    agent.service.endWaits();
    await expect(write).rejects.toMatchObject({ code: "CLOSED" });
  });

  test("at a hub is refused whatever it waits for", async () => {
    const write = hub.service.put("doc", [{ key: "a", value: 1 }], { ack: "hub" });
    await expect(write).rejects.toMatchObject({ code: "POLICY_REFUSED" });
  });
});

describe("a status", () => {
  test("counts the batches of an agent, and how long the oldest waits, for each level", async () => {
    expect((await agent.service.status()).acknowledged).toEqual({
      local: 0,
      hub: { batches: 0 },
      sealed: { batches: 0 },
    });
    await put("a");
    clock.advance(60_000);
    await put("b");
    clock.advance(60_000);
    const waiting = { batches: 2, oldestMs: 120_000 };
    expect((await agent.service.status()).acknowledged).toEqual({
      local: 2,
      hub: { batches: 0, waiting },
      sealed: { batches: 0, waiting },
    });
    await connect();
    hub.sync.sealed(hub.replica.heads());
    await put("c", { ack: "hub" });
    clock.advance(5_000);
    expect((await agent.service.status()).acknowledged).toEqual({
      local: 3,
      hub: { batches: 3 },
      sealed: { batches: 2, waiting: { batches: 1, oldestMs: 5_000 } },
    });
  });

  test("of a hub has no such counts", async () => {
    expect((await hub.service.status()).acknowledged).toBeUndefined();
  });
});
