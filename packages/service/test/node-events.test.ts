// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a change becomes an event that any reader of CloudEvents understands, with all that the fact says, and the same on every node.
 * Method: random facts through real replicas; the rules for attributes as the specification has them (CloudEvents 1.0.2, section 3).
 */
import { createDeviceSigner, createDeviceVerifier } from "@ctxmesh/crypto";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { hlcToMs, parseDeviceKey, parseDocumentName, toHex } from "@ctxmesh/model";
import type { FactEvent, FactInput, Priority } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { NodeEvents } from "@ctxmesh/service";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import * as fc from "fast-check";
import { expect, test } from "vitest";

const START_MS = Date.UTC(2026, 0, 1);
const DOC = parseDocumentName("line-2/press-7");
const signers = [1, 2].map((n) => createDeviceSigner(new Uint8Array(32).fill(n)));
const [signer, other] = signers as [(typeof signers)[0], (typeof signers)[0]];
const random = createSeededRandom(1);
let space = createSpace({ name: "s", creator: signer, now: START_MS, random });
for (const { publicKey } of signers) {
  space = issueGrant(space, signer, {
    device: parseDeviceKey(toHex(publicKey)),
    service: "agent",
    role: "manage",
    notBefore: START_MS - 1,
  });
}

const open = (by = signer): Promise<Replica> =>
  Replica.open({
    store: createMemoryStore(),
    space,
    signer: by,
    verifier: createDeviceVerifier(),
    clock: createVirtualClock(START_MS),
    random,
    logger: silentLogger,
  });

async function eventsOf(replica: Replica): Promise<FactEvent[]> {
  const events: FactEvent[] = [];
  for await (const part of new NodeEvents(replica).events({})) {
    for (const event of part) if ("id" in event) events.push(event);
  }
  return events;
}

const text = fc.string({ minLength: 1, maxLength: 9 });
const traceparent = fc
  .tuple(fc.bigInt({ min: 1n, max: 2n ** 128n - 1n }), fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }))
  .map(([trace, parent]) => {
    const [id, span] = [
      trace.toString(16).padStart(32, "0"),
      parent.toString(16).padStart(16, "0"),
    ];
    return `00-${id}-${span}-01`;
  });
const fact: fc.Arbitrary<FactInput> = fc.record(
  {
    key: fc.constantFrom("k", "a/ü 🦀"),
    value: fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<FactInput["value"]>,
    confidence: fc.double({ min: 0, max: 1, noNaN: true }),
    source: fc.record({ model: text, version: text, instance: text }, { requiredKeys: ["model"] }),
    ttlMs: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    tags: fc.array(text, { minLength: 1, maxLength: 3 }),
    basis: fc.array(text, { minLength: 1, maxLength: 3 }),
    correlation: text,
    traceparent,
    targets: fc.array(text, { minLength: 1, maxLength: 3 }),
  },
  { requiredKeys: ["key", "value"], noNullPrototype: true },
);

/** An event without what is its node's own. */
function shared(event: FactEvent): Omit<FactEvent, "position"> {
  const { position: _position, ...rest } = event;
  return rest;
}

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/u;

/** What the specification asks of every event, and of names and types of its attributes. */
function checkCloudEvent(event: FactEvent): void {
  const { data, ...attributes } = event;
  for (const name of ["id", "source", "type"] as const) expect(event[name]).not.toBe("");
  expect(event.specversion).toBe("1.0");
  expect(URL.canParse(event.source)).toBe(true);
  for (const [name, value] of Object.entries(attributes)) {
    expect(name).toMatch(/^[a-z0-9]{1,20}$/u);
    expect(typeof value).toBe("string");
  }
  expect(event.time).toMatch(RFC_3339);
  expect(event.expirytime ?? event.time).toMatch(RFC_3339);
  expect(data).toEqual(JSON.parse(JSON.stringify(data)));
}

test("every fact becomes an event of CloudEvents that says all of it, with the same id on every node", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fact, fc.constantFrom<Priority>("high", "normal", "low")), {
        minLength: 1,
        maxLength: 5,
      }),
      async (facts) => {
        const [replica, elsewhere] = [await open(), await open(other)];
        const batches: Uint8Array[] = [];
        replica.onApplied(({ bytes }) => batches.push(bytes));
        for (const [one, priority] of facts) await replica.put(DOC, [one], { priority });
        await elsewhere.put(DOC, [{ key: "its own", value: 0 }]);
        for (const bytes of batches) await elsewhere.receive(bytes);
        const events = await eventsOf(replica);
        const device = toHex(signer.publicKey);
        for (const [i, event] of events.entries()) {
          checkCloudEvent(event);
          const [one, priority] = facts[i] as (typeof facts)[0];
          const { key, value, source, confidence, ttlMs, correlation, tags, basis, targets } = one;
          expect(event).toMatchObject({
            source: `urn:ctxmesh:device:${space.id}:${device}`,
            type: "dev.ctxmesh.fact.put",
            subject: `${DOC}/${key}`,
            priority,
          });
          expect(Date.parse(event.time)).toBe(hlcToMs(Number(event.hlc) as never));
          const { model, modelversion, modelinstance, ttl, correlationid } = event;
          expect({ model, version: modelversion, instance: modelinstance }).toEqual({
            model: source?.model,
            version: source?.version,
            instance: source?.instance,
          });
          expect(event.confidence).toBe(
            confidence === undefined ? undefined : String(confidence + 0),
          );
          expect(ttl).toBe(ttlMs === undefined ? undefined : String(ttlMs));
          expect(correlationid).toBe(correlation);
          expect(event.traceparent).toBe(one.traceparent);
          const plain = JSON.parse(JSON.stringify({ value, tags, basis, targets })) as object;
          expect(event.data).toMatchObject({ doc: DOC, key, ...plain });
        }
        // As another node tells it, but for what is that node's own.
        const told = (await eventsOf(elsewhere)).filter((event) => event.source.endsWith(device));
        expect(told.map(shared)).toEqual(events.map(shared));
      },
    ),
    { numRuns: 60 },
  );
});

test("a deletion and a retraction say what they are, and what they change", async () => {
  const [replica, elsewhere] = [await open(), await open(other)];
  const batches: Uint8Array[] = [];
  elsewhere.onApplied(({ bytes }) => batches.push(bytes));
  await elsewhere.put(DOC, [{ key: "k", value: "poisoned" }]);
  for (const bytes of batches) await replica.receive(bytes);
  await replica.retract(DOC, "k", parseDeviceKey(toHex(other.publicKey)), "a bad sensor");
  await replica.put(DOC, [{ key: "k", value: 1, ttlMs: 5 }]);
  await replica.delete(DOC, ["k"]);
  const events = await eventsOf(replica);
  for (const event of events) checkCloudEvent(event);
  const writer = toHex(other.publicKey);
  const [put, retraction, again, deletion] = events;
  expect(put).toMatchObject({ data: { value: "poisoned", current: "poisoned" } });
  expect(retraction).toMatchObject({
    type: "dev.ctxmesh.fact.retracted",
    data: { previous: "poisoned", retracts: { writer, reason: "a bad sensor" } },
  });
  expect(retraction?.data).not.toHaveProperty("current");
  expect(again).toMatchObject({ ttl: "5", expirytime: "2026-01-01T00:00:00.005Z" });
  expect(deletion).toMatchObject({ type: "dev.ctxmesh.fact.deleted", data: { previous: 1 } });
  expect(deletion?.data).not.toHaveProperty("value");
  expect(deletion?.data).not.toHaveProperty("current");
});
