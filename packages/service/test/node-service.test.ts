// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a node's operations do what the port promises, and its status adds up.
 * Method: two real replicas in memory; what one writes is handed to the other.
 */
import { encodeSignedRecord } from "@ctxmesh/codec";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { WasmStore } from "@ctxmesh/facts";
import type { FactEngine, FactEngineName, KeySlots } from "@ctxmesh/facts";
import { contentRoot } from "@ctxmesh/ledger";
import { createSpace, issueGrant, revokeDevice } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import type { ChangeEvent } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { NodeService } from "@ctxmesh/service";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
  waitFor,
} from "@ctxmesh/testing";
import type { MemoryStore, VirtualClock } from "@ctxmesh/testing";
import { beforeEach, describe, expect, test } from "vitest";

const START_MS = Date.UTC(2026, 0, 1);
const signers = [1, 2].map((n) => createDeviceSigner(new Uint8Array(32).fill(n)));

interface Member {
  readonly replica: Replica;
  readonly service: NodeService;
  readonly store: MemoryStore;
}

let clock: VirtualClock;
let here: Member;
let there: Member;

async function open(
  n: number,
  service: "agent" | "hub" = "agent",
  factEngine: FactEngineName | FactEngine = "js",
): Promise<Member> {
  const [creator] = signers;
  const signer = signers[n];
  if (creator === undefined || signer === undefined) throw new Error("no such device");
  const space = signers.reduce(
    (all, { publicKey }) =>
      issueGrant(all, creator, {
        device: parseDeviceKey(toHex(publicKey)),
        service: "agent",
        role: "write",
        notBefore: START_MS,
      }),
    createSpace({ name: "plant", creator, now: START_MS, random: createSeededRandom(1) }),
  );
  const store = createMemoryStore();
  const replica = await Replica.open({
    store,
    space,
    signer,
    verifier: createDeviceVerifier(),
    clock,
    random: createSeededRandom(10 + n),
    logger: silentLogger,
    factEngine,
  });
  const hub = service === "hub" ? { seals: () => 7 } : {};
  const node = new NodeService({
    service,
    version: "1.2.3",
    replica,
    clock,
    peers: () => [],
    addresses: () => ["memory:1"],
    ...hub,
  });
  return { replica, service: node, store };
}

/** Everything that `from` applies from now on is handed to `to`. */
function carry(from: Member, to: Member): () => Promise<void> {
  const batches: Uint8Array[] = [];
  from.replica.onApplied(({ bytes }) => batches.push(bytes));
  return async () => {
    for (const batch of batches.splice(0)) await to.replica.receive(batch);
  };
}

beforeEach(async () => {
  clock = createVirtualClock(START_MS + 1_000);
  here = await open(0);
  there = await open(1);
});

const facts = (n: number): { key: string; value: number }[] =>
  Array.from({ length: n }, (_, i) => ({ key: `k${String(i)}`, value: i }));

const seen = (events: readonly ChangeEvent[]): string[] =>
  events.map(
    ({ doc, key, fact, origin }) => `${origin} ${doc} ${key} ${JSON.stringify(fact?.value)}`,
  );

describe("watching", () => {
  test("shows exactly the changes that the document and the prefix of each query select, in order", async () => {
    const { service } = here;
    const lists: ChangeEvent[][] = [];
    const queries = [{}, { doc: "a" }, { prefix: "x/" }, { doc: "a", prefix: "x/" }, { doc: "c" }];
    for (const query of queries) {
      const events: ChangeEvent[] = [];
      lists.push(events);
      service.watch(query, (event) => events.push(event));
    }
    await service.put("a", [
      { key: "x/1", value: 1 },
      { key: "y", value: 2 },
    ]);
    await service.put("b", [{ key: "x/1", value: 3 }]);
    expect(lists.map(seen)).toEqual([
      ["local a x/1 1", "local a y 2", "local b x/1 3"],
      ["local a x/1 1", "local a y 2"],
      ["local a x/1 1", "local b x/1 3"],
      ["local a x/1 1"],
      [],
    ]);
  });

  test("where the engine of one document fails, all changes are told all the same: its own once it can be read again", async () => {
    let isWeak = false;
    class Weak extends WasmStore {
      override slots(key: string): KeySlots {
        if (isWeak && key === "weak") throw new Error("unreachable");
        return super.slots(key);
      }
    }
    const { service } = await open(1, "agent", () => new Weak(new Uint8Array(16)));
    const events: ChangeEvent[] = [];
    service.watch({}, (event) => events.push(event));
    isWeak = true;
    await Promise.all([
      service.put("a", [{ key: "weak", value: 1 }]),
      service.put("b", [{ key: "k", value: 2 }]),
    ]);
    await waitFor(() => events.length >= 2, { timeoutMs: 10_000, what: "both changes" });
    expect(seen(events)).toEqual(["local b k 2", "remote a weak 1"]);
  });

  test("a change that another node made says so, and a delete comes without a fact", async () => {
    const deliver = carry(there, here);
    const events: ChangeEvent[] = [];
    here.service.watch({}, (event) => events.push(event));
    await there.service.put("a", [{ key: "k", value: "far" }]);
    await deliver();
    await there.service.delete("a", ["k"]);
    await deliver();
    expect(seen(events)).toEqual(['remote a k "far"', "remote a k undefined"]);
    expect(events[1]).not.toHaveProperty("fact");
    expect(here.service.get("a", "k")).toBeUndefined();
    expect(here.service.candidates("a", "k")).toMatchObject([{ deleted: true }]);
  });

  test("tells of what a revocation takes away, and of what it brings back", async () => {
    const [creator] = signers;
    if (creator === undefined) throw new Error("no such device");
    const writer = there.replica.device;
    there.replica.onApplied(({ bytes }) => void here.replica.receive(bytes));
    await there.service.put("a", [{ key: "k", value: 2 }]);
    await here.service.put("a", [{ key: "own", value: 1 }]);
    expect(here.service.get("a", "k")?.value).toBe(2);
    const events: ChangeEvent[] = [];
    here.service.watch({}, (event) => events.push(event));
    const revoked = revokeDevice(here.replica.space, creator, {
      device: writer,
      heads: [],
      reason: "stolen",
      now: START_MS,
    });
    await here.service.addActs(revoked.acts.map(({ record }) => encodeSignedRecord(record)));
    expect(events).toEqual([{ doc: "a", key: "k", origin: "remote" }]);
  });

  test("ends for one watcher, in the middle of an event too, and goes on for the others", async () => {
    const { service } = here;
    const [first, second]: ChangeEvent[][] = [[], []];
    const stop = service.watch({}, (event) => {
      first?.push(event);
      stop();
    });
    const stopSecond = service.watch({}, (event) => second?.push(event));
    await service.put("a", [
      { key: "1", value: 1 },
      { key: "2", value: 2 },
    ]);
    expect([first?.length, second?.length]).toEqual([1, 2]);
    stopSecond();
    stopSecond();
    await service.put("a", [{ key: "3", value: 3 }]);
    expect(second).toHaveLength(2);
  });

  test("a watcher sees the write that its event tells of, and so does a reader after the receipt", async () => {
    const { service } = here;
    const read: unknown[] = [];
    service.watch({}, ({ doc, key }) => read.push(service.get(doc, key)?.value));
    await service.put("a", [{ key: "k", value: 1 }]);
    expect([read, service.get("a", "k")?.value]).toEqual([[1], 1]);
  });

  test("a name that no document can have is refused", () => {
    expect(() => here.service.watch({ doc: "../x" }, () => undefined)).toThrow(
      expect.objectContaining({ code: "INPUT_INVALID" }) as Error,
    );
  });

  test("after close nothing is shown or counted any more", async () => {
    const events: ChangeEvent[] = [];
    here.service.watch({}, (event) => events.push(event));
    here.service.close();
    await here.service.put("a", [{ key: "k", value: 1 }]);
    expect(events).toEqual([]);
    expect(await here.service.status()).toMatchObject({ written: 0, facts: 1 });
  });
});

describe("status", () => {
  test("counts facts written here, facts applied from others, and how old those were", async () => {
    const deliver = carry(there, here);
    await here.service.put("a", facts(3));
    await here.service.delete("a", ["k0"]);
    await there.service.put("a", facts(5));
    clock.advance(40);
    await deliver();
    await there.service.put("b", facts(1));
    clock.advance(70);
    await deliver();
    expect(await here.service.status()).toMatchObject({
      service: "agent",
      version: "1.2.3",
      spaceName: "plant",
      device: here.replica.device,
      incarnation: here.replica.incarnation,
      startedAt: START_MS + 1_000,
      ready: true,
      degraded: [],
      addresses: ["memory:1"],
      peers: [],
      documents: 2,
      // k0 is deleted here, after it was written there.
      facts: 5,
      written: 4,
      applied: 6,
      batches: { received: 2, accepted: 2, duplicate: 0, held: 0, dropped: 0 },
      propagation: { count: 2, p50Ms: 40, p95Ms: 70, maxMs: 70 },
      chains: 2,
      frontier: toHex(here.replica.frontierDigest()),
    });
    expect((await there.service.status()).applied).toBe(0);
  });

  test("shows the content digest only when asked, and seals only at a hub", async () => {
    await here.service.put("a", [{ key: "k", value: 1 }]);
    const plain = await here.service.status();
    expect(plain).not.toHaveProperty("digest");
    expect(plain).not.toHaveProperty("seals");
    const { leaves } = here.replica.snapshot();
    expect((await here.service.status({ digest: true })).digest).toBe(toHex(contentRoot(leaves)));
    expect((await (await open(1, "hub")).service.status()).seals).toBe(7);
  });

  test("nodes that applied the same batches show the same frontier and digest", async () => {
    const deliver = [carry(there, here), carry(here, there)];
    await here.service.put("a", [{ key: "k", value: 1 }]);
    clock.advance(1);
    await there.service.put("a", [{ key: "k", value: 2, confidence: 0.5 }]);
    for (const bring of deliver) await bring();
    const [one, two] = await Promise.all(
      [here, there].map(async ({ service }) => service.status({ digest: true })),
    );
    expect(one).toMatchObject({ frontier: two?.frontier, digest: two?.digest, contested: 1 });
  });

  test("is not ready once the store has failed", async () => {
    here.store.failNextWrite("lost");
    await expect(here.service.put("a", [{ key: "k", value: 1 }])).rejects.toMatchObject({
      code: "STORE_FAILED",
    });
    expect(await here.service.status()).toMatchObject({ ready: false, written: 0, facts: 0 });
    await expect(here.service.put("a", [{ key: "k", value: 1 }])).rejects.toMatchObject({
      code: "STORE_FAILED",
    });
  });
});

describe("refusals", () => {
  test("a hub writes nothing, whatever is asked", async () => {
    const { service, replica } = await open(1, "hub");
    const refused = { code: "POLICY_REFUSED", remedy: expect.stringContaining("agent") as string };
    await expect(service.put("a", [{ key: "k", value: 1 }])).rejects.toMatchObject(refused);
    await expect(service.delete("a", ["k"])).rejects.toMatchObject(refused);
    expect(replica.heads()).toEqual([]);
  });

  test.each([
    ["a document's name", () => here.service.get("/a", "k")],
    ["a document's name", () => here.service.candidates("a//b", "k")],
    ["a document's name", () => here.service.list({ doc: "" })],
    ["after without doc", () => here.service.list({ after: "k" })],
    ["a limit of 0", () => here.service.list({ limit: 0 })],
    ["a limit of 10,001", () => here.service.list({ limit: 10_001 })],
    ["half a limit", () => here.service.list({ limit: 1.5 })],
  ])("of %s: %#", (_, call) => {
    expect(call).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }) as Error);
  });

  test("of a bad question about the past come as rejections", async () => {
    const { service } = here;
    for (const [call, field] of [
      [() => service.getAt("a//b", "k", START_MS), "doc"],
      [() => service.listAt({ doc: "/" }, START_MS), "doc"],
      [() => service.history("", "k"), "doc"],
      [() => service.listAt({}, START_MS), "at"],
      [() => service.listAt({ doc: "a", limit: 10_001 }, START_MS), "limit"],
      [() => service.getAt("a", "k", clock.now() + 1), "at"],
      [() => service.history("a", "k", { before: "x" }), "before"],
    ] as const) {
      await expect(call()).rejects.toMatchObject({ code: "INPUT_INVALID", field });
    }
  });

  test("of a bad write come as rejections, and nothing is written", async () => {
    const { service } = here;
    for (const write of [
      service.put("a//b", [{ key: "k", value: 1 }]),
      service.put("a", []),
      service.put("a", [{ key: "", value: 1 }]),
      service.put("a", [{ key: "k", value: Number.NaN }]),
      service.delete("a", [""]),
    ]) {
      await expect(write).rejects.toMatchObject({ code: "INPUT_INVALID" });
    }
    expect(await service.status()).toMatchObject({ written: 0, facts: 0, chains: 0 });
  });
});

test("a list pages through a document with limit and after", async () => {
  const keys = Array.from({ length: 25 }, (_, i) => `k${String(i).padStart(2, "0")}`);
  await here.service.put(
    "a",
    keys.map((key) => ({ key, value: key })),
  );
  const listed: string[] = [];
  for (;;) {
    const after = listed.at(-1);
    const page = here.service.list({
      doc: "a",
      limit: 10,
      ...(after === undefined ? {} : { after }),
    });
    if (page.length === 0) break;
    listed.push(...page.map(({ key }) => key));
  }
  expect(listed).toEqual(keys);
  expect(here.service.list({ prefix: "k1" })).toHaveLength(10);
});
