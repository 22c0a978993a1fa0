// SPDX-License-Identifier: Apache-2.0
/** Goal: decisions are bound to what the agent knew, linked over process lives, and kept as facts that a seal covers. */
import { canonicalJson, utf8Encode } from "@ctxmesh/codec";
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { leafDigest, parseDecision } from "@ctxmesh/ledger";
import type { SignedDecision } from "@ctxmesh/ledger";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { MeshError, parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { NodeDecisions, NodeService, NodeWrites, Once } from "@ctxmesh/service";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import type { MemoryStore } from "@ctxmesh/testing";
import { expect, test } from "vitest";

const START_MS = Date.UTC(2026, 0, 1);
const signer = createDeviceSigner(new Uint8Array(32).fill(1));
const device = parseDeviceKey(toHex(signer.publicKey));

let lives = 100;

/** One process life of an agent on a store. */
async function live(store: MemoryStore) {
  const clock = createVirtualClock(START_MS);
  const founded = createSpace({
    name: "plant",
    creator: signer,
    now: START_MS,
    random: createSeededRandom(1),
  });
  const space = issueGrant(founded, signer, {
    device,
    service: "agent",
    role: "write",
    notBefore: START_MS,
  });
  const replica = await Replica.open({
    store,
    space,
    signer,
    verifier: createDeviceVerifier(),
    clock,
    random: createSeededRandom(++lives),
    logger: silentLogger,
  });
  const service = new NodeService({
    service: "agent",
    version: "1.2.3",
    replica,
    clock,
    peers: () => [],
    addresses: () => [],
  });
  const once = await Once.open({ store, replica, clock });
  const writes = new NodeWrites({ service: "agent", replica, once });
  return {
    replica,
    service,
    clock,
    decisions: new NodeDecisions({ replica, writes, device: signer, clock }),
  };
}

const request = { model: { model: "advisor" }, inputs: [], checks: [], output: "stop" } as const;
const read = (envelope: string): SignedDecision => parseDecision(utf8Encode(envelope));

test("a decision has version, age and sealed hash of each fact that was read", async () => {
  const { replica, service, decisions, clock } = await live(createMemoryStore());
  await service.put("press", [
    { key: "t", value: 92, confidence: 0.9, source: { model: "thermo" }, tags: ["a"] },
  ]);
  clock.advance(250);
  const inputs = [
    { doc: "press", key: "t" },
    { doc: "press", key: "none" },
  ];
  const { envelope } = await decisions.decide({ ...request, inputs });
  const { record } = read(envelope);
  if (record.kind !== "decision") throw new Error("a decision expected");
  const fact = service.get("press", "t");
  const sealed = replica.snapshot().leaves.filter((leaf) => leaf.includes('"key":"t"'));
  expect(record.inputs).toEqual([
    { ...inputs[0], version: fact?.version, ageMs: 250, statements: sealed.map(leafDigest) },
    { ...inputs[1], version: "", ageMs: 0, statements: [] },
  ]);
  expect(record).toMatchObject({ device, counter: 1, previous: null, decidedAt: clock.now() });
});

test("it is a fact of its device, whose value is the very envelope", async () => {
  const { service, decisions } = await live(createMemoryStore());
  const { id, doc, key, envelope, write } = await decisions.decide(request);
  expect([doc, key]).toEqual([`decisions/${device.slice(0, 16)}/0`, `decision/${id}`]);
  const fact = service.get(doc, key);
  expect(canonicalJson(fact?.value ?? null)).toBe(envelope);
  expect(fact).toMatchObject({ writer: device, tags: ["decision"], source: { model: "advisor" } });
  expect(write.facts).toBe(1);
});

test("each names the one before it, outcomes too, and the next process life goes on", async () => {
  const store = createMemoryStore();
  const first = await live(store);
  const made = await Promise.all([
    first.decisions.decide(request),
    first.decisions.decide({ ...request, output: "go" }),
  ]);
  const outcome = await first.decisions.recordOutcome(made[0].id, { right: true });
  const second = await live(await store.reopen());
  const later = await second.decisions.decide(request);
  const chain = [...made, outcome, later].map(({ envelope }) => read(envelope));
  expect(chain.map(({ record }) => record.counter)).toEqual([1, 2, 3, 4]);
  expect(chain.map(({ record }) => record.previous)).toEqual([
    null,
    ...chain.slice(0, -1).map(({ id }) => id),
  ]);
  expect(chain[2]?.record).toMatchObject({ kind: "outcome", of: made[0].id });
  expect(new Set(chain.map(({ record }) => record.incarnation)).size).toBe(2);
});

test("after 64 of them comes the next document, and the chain is found there", async () => {
  const store = createMemoryStore();
  const { decisions } = await live(store);
  for (let i = 0; i < 65; i++) await decisions.decide(request);
  const second = await live(await store.reopen());
  const { counter, doc } = await second.decisions.decide(request);
  expect([counter, doc]).toEqual([66, `decisions/${device.slice(0, 16)}/1`]);
  const full = second.service.list({ doc: `decisions/${device.slice(0, 16)}/0`, limit: 1_000 });
  expect(full).toHaveLength(64);
});

test("under one idempotency key it is recorded once, answered alike, at the same time and in the next process life", async () => {
  const store = createMemoryStore();
  const first = await live(store);
  const once = { idempotencyKey: "order-7" };
  const made = await Promise.all([
    first.decisions.decide(request, once),
    first.decisions.decide(request, once),
  ]);
  expect(made[1]).toEqual(made[0]);
  const of = made[0].id;
  const outcome = await first.decisions.recordOutcome(of, "good", { idempotencyKey: "order-8" });
  // So many that the first is in another document than the newest.
  for (let i = 0; i < 130; i++) await first.decisions.decide(request);
  const second = await live(await store.reopen());
  expect(await second.decisions.decide(request, once)).toEqual(made[0]);
  expect(await second.decisions.recordOutcome(of, "good", { idempotencyKey: "order-8" })).toEqual(
    outcome,
  );
  expect(await code(second.decisions.decide({ ...request, output: "go" }, once))).toBe(
    "IDEMPOTENCY_CONFLICT",
  );
  expect(await code(second.decisions.recordOutcome(of, "bad", once))).toBe("IDEMPOTENCY_CONFLICT");
  expect((await second.decisions.decide(request)).counter).toBe(133);
});

const code = async (action: Promise<unknown>): Promise<string> =>
  action.then(
    () => "none",
    (error: unknown) => (error instanceof MeshError ? error.code : String(error)),
  );

test("what can't be recorded takes no number", async () => {
  const { decisions, replica } = await live(createMemoryStore());
  expect(await code(decisions.recordOutcome("abc", 1))).toBe("FORMAT_INVALID");
  const long = "x".repeat(70_000);
  expect(await code(decisions.decide({ ...request, output: long }))).toBe("LIMIT_EXCEEDED");
  const inputs = [{ doc: "/no", key: "t" }];
  expect(await code(decisions.decide({ ...request, inputs }))).toBe("INPUT_INVALID");
  expect((await decisions.decide(request)).counter).toBe(1);
  expect(
    replica.list({ doc: parseDocumentName(`decisions/${device.slice(0, 16)}/0`) }),
  ).toHaveLength(1);
});
