// SPDX-License-Identifier: Apache-2.0
import { canonicalJson } from "@ctxmesh/codec";
import type { FactRecord } from "@ctxmesh/facts";
import { issueGrant, publishSchema, setPolicy } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { toHex } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  DOC,
  START_MS,
  actsSince,
  applied,
  creator,
  forge,
  hlcAt,
  open,
  space,
  us,
  writer,
} from "./mesh.ts";

type Entry = Readonly<Record<string, JsonValue>>;

/** A space with one more version of a schema. */
const withSchema = (before: Space, entry: Entry, now = START_MS): Space =>
  publishSchema(
    before,
    creator.signer,
    canonicalJson({ compatibility: "backward", docs: "**", ...entry }),
    now,
  );
const temperature = withSchema(space, {
  prefix: "temperature",
  version: "1.0.0",
  schema: { type: "number", minimum: -273 },
});
const TEXT: Entry = { prefix: "temperature", version: "2.0.0", schema: { type: "string" } };
const fact = (key: string, value: JsonValue): { key: string; value: JsonValue } => ({ key, value });
const give = (replica: Replica, before: Space, after: Space): Promise<unknown> =>
  replica.addRecords({ acts: actsSince(before, after) });
const standings = (replica: Replica, key: string): readonly (readonly [unknown, string])[] =>
  replica.candidates(DOC, key).map(({ value, standing }) => [value, standing]);
const stateOf = (replica: Replica): unknown => [
  toHex(replica.frontierDigest()),
  toHex(replica.recordsDigest()),
  replica.snapshot().leaves,
];

describe("a local write", () => {
  test("that breaks its schema is refused with the path, and nothing of the call is written", async () => {
    const replica = await open({ space: temperature });
    await expect(
      replica.put(DOC, [fact("other", 1), fact("temperature", "warm")]),
    ).rejects.toMatchObject({ code: "SCHEMA_INVALID", field: "" });
    expect(replica.list({})).toEqual([]);
    await replica.put(DOC, [fact("temperature", 20), fact("other", "warm")]);
    expect(replica.get(DOC, "temperature")?.value).toBe(20);
    await replica.delete(DOC, ["temperature"]);
    await replica.close();
  });

  test("that increments is judged by the number that it comes to", async () => {
    const schema = { type: "integer", maximum: 3 };
    const counted = withSchema(space, { prefix: "n", version: "1.0.0", schema });
    const replica = await open({ space: counted });
    await replica.put(DOC, [{ ...fact("n", 2), increment: true }]);
    await expect(replica.put(DOC, [{ ...fact("n", 2), increment: true }])).rejects.toMatchObject({
      code: "SCHEMA_INVALID",
    });
    await replica.put(DOC, [{ ...fact("n", 1), increment: true }]);
    expect(replica.get(DOC, "n")?.value).toBe(3);
    await replica.close();
  });

  test("gets the time to live and the priority of its entry, unless it has its own", async () => {
    const entry = { prefix: "", version: "1.0.0", schema: true, ttlMs: 5_000, priority: "high" };
    const clock = createVirtualClock(START_MS);
    const replica = await open({ space: withSchema(space, entry), clock });
    await replica.put(DOC, [fact("a", 1), { ...fact("b", 1), ttlMs: 60_000 }]);
    expect(replica.candidates(DOC, "a")[0]?.ttlMs).toBe(5_000);
    expect(replica.incarnations()).toHaveLength(2);
    await replica.put(DOC, [fact("c", 1)], { priority: "normal" });
    clock.advance(10_000);
    expect(replica.list({}).map(({ key }) => key)).toEqual(["b"]);
    await replica.close();
  });
});

const record = (key: string, seq: number, valueJson: string): FactRecord => ({
  key,
  seq,
  hlc: hlcAt(seq),
  valueJson,
});

describe("what a peer wrote that breaks a schema", () => {
  const bad = forge({
    space: temperature,
    records: [record("temperature", 1, '"warm"'), record("other", 2, '"warm"')],
    hlc: hlcAt(2),
  });

  test("is kept, stands as invalid, and is never the visible value", async () => {
    const store = createMemoryStore();
    const clock = createVirtualClock(START_MS);
    const replica = await open({ space: temperature, store, clock });
    await replica.put(DOC, [fact("temperature", 20)]);
    clock.advance(60_000);
    expect(await replica.receive(bad.bytes)).toEqual({ kind: "accepted" });
    expect(replica.get(DOC, "temperature")).toMatchObject({ value: 20, contested: false });
    expect(replica.get(DOC, "other")?.value).toBe("warm");
    expect(new Map(standings(replica, "temperature"))).toEqual(
      new Map<unknown, string>([
        ["warm", "invalid"],
        [20, "shown"],
      ]),
    );
    expect(replica.snapshot().leaves.join("\n")).not.toContain(
      '"temperature","seq":1,"value":"warm"',
    );
    const history = await replica.history(DOC, "temperature");
    expect(history.entries).toHaveLength(2);
    expect((await replica.getAt(DOC, "temperature", clock.now()))?.value).toBe(20);
    const before = stateOf(replica);
    await replica.close();
    const again = await open({ space: temperature, store, clock });
    expect(stateOf(again)).toEqual(before);
    expect(standings(again, "temperature")).toContainEqual(["warm", "invalid"]);
    await again.close();
  });

  test("is judged anew when a schema comes, and watchers are told", async () => {
    const clock = createVirtualClock(START_MS + 60_000);
    const replica = await open({ clock });
    await replica.receive(bad.bytes);
    expect(replica.get(DOC, "temperature")?.value).toBe("warm");
    const told: string[] = [];
    replica.onRecords(({ changed }) => told.push(...changed.map(({ key }) => key)));
    await give(replica, space, temperature);
    expect(told).toEqual(["temperature"]);
    expect(replica.get(DOC, "temperature")).toBeUndefined();
    expect(replica.count().facts).toBe(1);
    await give(replica, temperature, withSchema(temperature, TEXT));
    expect(replica.get(DOC, "temperature")?.value).toBe("warm");
    await replica.close();
  });

  test("that also expired or was retracted stands as that", async () => {
    const managed = issueGrant(temperature, creator.signer, {
      device: us.key,
      service: "agent",
      role: "manage",
      notBefore: START_MS - 1,
    });
    const replica = await open({ space: managed, clock: createVirtualClock(START_MS + 60_000) });
    const mortal = { ...record("temperature", 1, '"warm"'), ttlMs: 5 };
    await replica.receive(forge({ space: managed, records: [mortal] }).bytes);
    expect(standings(replica, "temperature")).toEqual([["warm", "expired"]]);
    await replica.retract(DOC, "temperature", writer.key, "broken");
    expect(standings(replica, "temperature")).toEqual([["warm", "retracted"]]);
    await replica.close();
  });

  test("does not count where it is merged with others", async () => {
    const schema = { type: "integer" };
    const summed = setPolicy(space, creator.signer, {
      epoch: 1,
      rules: [{ prefix: "count", resolver: "sum" }],
    });
    const rules = withSchema(summed, { prefix: "count", version: "1.0.0", schema });
    const replica = await open({ space: rules, clock: createVirtualClock(START_MS + 60_000) });
    await replica.receive(forge({ records: [record("count", 1, "2.5")] }).bytes);
    await replica.put(DOC, [fact("count", 2)]);
    expect(replica.get(DOC, "count")?.value).toBe(2);
    await replica.close();
  });
});

describe("an act whose entry is none", () => {
  test("is kept and has no effect, and the next one has", async () => {
    const broken = withSchema(space, {
      prefix: "temperature",
      version: "1.0.0",
      schema: { typ: 1 },
    });
    const replica = await open({ space: broken });
    await replica.put(DOC, [fact("temperature", "warm")]);
    expect(replica.schemas.versions).toEqual([]);
    await replica.close();
  });

  test("that whoever may not publish signed is not taken", () => {
    expect(() => publishSchema(space, writer.signer, "{}", START_MS)).toThrowError(
      expect.objectContaining({ code: "POLICY_REFUSED" }),
    );
    expect(() => publishSchema(space, creator.signer, "[]", START_MS)).toThrowError(
      expect.objectContaining({ code: "FORMAT_INVALID" }),
    );
  });
});

test("replicas that learn batches and schemas in any order show the same, and have the same digest", async () => {
  const value = fc.constantFrom('"warm"', "1", "-300", "null");
  const schemas = fc.uniqueArray(
    fc.record({
      prefix: fc.constantFrom("", "t", "te"),
      version: fc.constantFrom("1.0.0", "1.1.0", "2.0.0"),
      schema: fc.constantFrom<JsonValue>(
        true,
        { type: "number" },
        { type: "string" },
        { minimum: 0 },
      ),
    }),
    { maxLength: 4, selector: (entry) => JSON.stringify(entry) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom("t", "te", "x"), value), { minLength: 1, maxLength: 4 }),
      schemas,
      fc.array(fc.nat(), { minLength: 12, maxLength: 12 }),
      async (writes, entries, order) => {
        const full = entries.reduce(
          (acts, entry, i) => withSchema(acts, entry, START_MS + i),
          space,
        );
        const source = await open({ device: writer, clock: createVirtualClock(START_MS) });
        const batches = applied(source);
        for (const [key, json] of writes) {
          await source.put(DOC, [fact(key, JSON.parse(json) as JsonValue)]);
        }
        await source.close();
        const news: (readonly ["batch" | "act", Uint8Array])[] = [
          ...batches.map((bytes) => ["batch", bytes] as const),
          ...actsSince(space, full).map((bytes) => ["act", bytes] as const),
        ];
        const states: unknown[] = [];
        for (const turn of [0, 1]) {
          const replica = await open({ clock: createVirtualClock(START_MS + 60_000) });
          const mixed = news
            .map((each, i) => [each, (order[i] ?? 0) * (turn === 0 ? 1 : -1)] as const)
            .toSorted(([, a], [, b]) => a - b);
          for (const [[kind, bytes]] of mixed) {
            if (kind === "batch") await replica.receive(bytes);
            else await replica.addRecords({ acts: [bytes] });
          }
          // What came before its parents is left out, and comes again.
          await give(replica, space, full);
          // What was let out of the hold last may still be under way; closing waits for it.
          await replica.close();
          const shown = replica.list({}).map((each) => [each.key, each.value]);
          states.push([stateOf(replica), shown]);
        }
        expect(states[1]).toEqual(states[0]);
      },
    ),
    { numRuns: 40 },
  );
});
