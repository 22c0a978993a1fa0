// SPDX-License-Identifier: Apache-2.0
/** Goal: what a module says is the same on all replicas, in whatever order they hear of it, and one that fails is named and stops nothing. */
import { canonicalJson } from "@ctxmesh/codec";
import { JS_ENGINE } from "@ctxmesh/facts";
import type { FactRecord, Policy } from "@ctxmesh/facts";
import { issueGrant, publishSchema, setPolicy } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, toHex } from "@ctxmesh/model";
import type { JsonValue, Logger } from "@ctxmesh/model";
import { moduleName } from "@ctxmesh/replica";
import type { Replica } from "@ctxmesh/replica";
import { encodeModuleEntry } from "@ctxmesh/schema";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { follow } from "./changes-kit.ts";
import type { Follower } from "./changes-kit.ts";
import { resolving, withInterface } from "../../sandbox/test/wat.ts";
import {
  DOC,
  START_MS,
  actsSince,
  creator,
  deviceOf,
  forge,
  hlcAt,
  incarnationOf,
  open,
  space,
  writer,
} from "./mesh.ts";

const LATER = { clock: createVirtualClock(START_MS + 60_000) };
const withEntry = (before: Space, entry: JsonValue): Space =>
  publishSchema(before, creator.signer, canonicalJson(entry), START_MS);
const withModule = (before: Space, bytes: Uint8Array): Space =>
  withEntry(before, encodeModuleEntry({ name: "test", bytes }));
const withRule = (before: Space, bytes: Uint8Array, epoch = 1): Space =>
  setPolicy(before, creator.signer, policyOf(bytes, epoch), START_MS);
const policyOf = (bytes: Uint8Array, epoch: number): Policy => ({
  epoch,
  rules: [{ prefix: "", resolver: "module", module: moduleName(bytes) }],
});
const admitting = (before: Space, bytes: Uint8Array, version = "1.0.0"): Space =>
  withEntry(before, {
    admit: moduleName(bytes),
    compatibility: "backward",
    docs: "**",
    prefix: "t",
    schema: true,
    version,
  });

/** The oldest statement: the last one. */
const OLDEST = resolving("(i32.sub (i32.load offset=4 (i32.const 1024)) (i32.const 1))");
/** Traps for a key of one letter, and never ends for one of two; else the oldest. */
const MOODY = resolving(`
  (if (i32.eq (i32.load offset=20 (i32.const 1024)) (i32.const 1)) (then (unreachable)))
  (if (i32.eq (i32.load offset=20 (i32.const 1024)) (i32.const 2)) (then (loop $l (br $l))))
  (i32.sub (i32.load offset=4 (i32.const 1024)) (i32.const 1))`);
/** Admits numbers alone, and traps for an object. */
const NUMBERS = withInterface(`(data (i32.const 64) "no number")
  (func (export "admit") (param i32) (result i32)
    (if (i32.eq (i32.load offset=48 (i32.const 1024)) (i32.const 7)) (then (unreachable)))
    (global.set $out (i32.const 64)) (global.set $outLength (i32.const 9))
    (i32.mul (i32.const 3) (i32.ne (i32.load offset=48 (i32.const 1024)) (i32.const 4))))`);
/** A value: what the first statement says, twice, as a list. */
const TWICE = resolving(`(local $from i32) (local $n i32)
  (local.set $from (i32.add (i32.const 1024) (i32.load offset=52 (i32.const 1024))))
  (local.set $n (i32.load offset=56 (i32.const 1024)))
  (i32.store8 (i32.const 32768) (i32.const 91))
  (memory.copy (i32.const 32769) (local.get $from) (local.get $n))
  (i32.store16 (i32.add (i32.const 32769) (local.get $n)) (i32.const 0x202c))
  (memory.copy (i32.add (i32.const 32771) (local.get $n)) (local.get $from) (local.get $n))
  (i32.store8 (i32.add (i32.const 32771) (i32.mul (local.get $n) (i32.const 2))) (i32.const 93))
  (global.set $out (i32.const 32768))
  (global.set $outLength (i32.add (i32.const 4) (i32.mul (local.get $n) (i32.const 2))))
  (i32.const -2)`);

const record = (key: string, seq: number, valueJson: string): FactRecord => ({
  key,
  seq,
  hlc: hlcAt(seq),
  valueJson,
});
const said = (...records: readonly FactRecord[]): Uint8Array =>
  forge({ records, hlc: records.at(-1)?.hlc ?? hlcAt(1) }).bytes;
const give = (replica: Replica, after: Space): Promise<unknown> =>
  replica.addRecords({ acts: actsSince(space, after) });
const stateOf = (replica: Replica): unknown => [
  toHex(replica.frontierDigest()),
  toHex(replica.recordsDigest()),
  replica.snapshot().leaves,
  replica.list({}).map(({ key, value, resolver, contested }) => [key, value, resolver, contested]),
];
const candidates = (replica: Replica, key: string): readonly unknown[] =>
  replica.candidates(DOC, key).map(({ value, standing }) => [value, standing]);

/** Three who write, beside whose replica it is. */
const WRITERS = [writer, deviceOf(10), deviceOf(11)];
const many = WRITERS.slice(1).reduce(
  (grown, { key }) =>
    issueGrant(grown, creator.signer, {
      device: key,
      service: "agent",
      role: "write",
      notBefore: START_MS - 1,
    }),
  space,
);

const ignore = (): void => undefined;

describe("a module as resolver", () => {
  test("picks among all statements, and a policy with another one holds at once", async () => {
    const first = withRule(withModule(withModule(space, OLDEST), TWICE), OLDEST);
    const replica = await open({ ...LATER, space: first });
    await replica.receive(said(record("key", 1, "1")));
    await replica.put(DOC, [{ key: "key", value: { b: 1 } }]);
    const name = moduleName(OLDEST).slice(0, 17);
    expect(replica.get(DOC, "key")).toMatchObject({ value: 1, contested: true, resolver: name });
    expect(candidates(replica, "key")).toEqual([
      [{ b: 1 }, "undominated"],
      [1, "shown"],
    ]);
    await give(replica, withRule(first, TWICE, 2));
    expect(replica.get(DOC, "key")).toMatchObject({
      value: [{ b: 1 }, { b: 1 }],
      contested: false,
    });
    const now = START_MS + 60_000;
    expect((await replica.getAt(DOC, "key", now))?.value).toEqual([{ b: 1 }, { b: 1 }]);
    await replica.delete(DOC, ["key"]);
    await replica.close();
  });

  test("shows nothing where it says so, and its values are bounded like others", async () => {
    const none = resolving("(global.set $outLength (i32.const 3)) (i32.const -2)");
    const answers: readonly (readonly [Uint8Array, unknown])[] = [
      [resolving("(i32.const -1)"), undefined],
      [resolving("(i32.const 0)"), "newest"],
      [resolving("(i32.const 2)"), "newest"],
      [resolving("(i32.const -3)"), "newest"],
      [none, "newest"],
    ];
    for (const [bytes, value] of answers) {
      const replica = await open({ ...LATER, space: withRule(withModule(space, bytes), bytes) });
      await replica.receive(said(record("key", 1, '"old"')));
      await replica.put(DOC, [{ key: "key", value: "newest" }]);
      expect(replica.get(DOC, "key")?.value).toBe(value);
      await replica.close();
    }
  });

  test("is cut off where it traps or does not end: latest decides there, on every replica, and it is named", async () => {
    const warned: unknown[] = [];
    const logger: Logger = {
      debug: ignore,
      info: ignore,
      warn: (event, fields) => void warned.push([event, fields]),
      error: ignore,
    };
    const clock = createVirtualClock(START_MS + 60_000);
    const moody = withRule(withModule(space, MOODY), MOODY);
    const replica = await open({ clock, space: moody, logger });
    await replica.receive(said(record("a", 1, "1"), record("ab", 2, "1"), record("abc", 3, "1")));
    await replica.put(
      DOC,
      ["a", "ab", "abc"].map((key) => ({ key, value: 2 })),
    );
    expect(replica.list({}).map(({ key, value, resolver }) => [key, value, resolver])).toEqual([
      ["a", 2, "latest"],
      ["ab", 2, "latest"],
      ["abc", 1, moduleName(MOODY).slice(0, 17)],
    ]);
    expect(replica.modules()).toEqual([
      {
        module: moduleName(MOODY),
        name: "test",
        calls: 3,
        failures: 2,
        slow: 0,
        last: expect.objectContaining({ doc: DOC, key: "ab", reason: "steps" }) as unknown,
      },
    ]);
    // Named once; not again for every key.
    expect(warned).toEqual([
      [
        "replica.module-cut-off",
        expect.objectContaining({
          module: moduleName(MOODY),
          key: "a",
          reason: "trap",
          failures: 1,
        }),
      ],
    ]);
    // And what comes is taken as before.
    expect(
      await replica.receive(
        forge({ incarnation: incarnationOf(8), records: [record("b", 9, "7")], hlc: hlcAt(9) })
          .bytes,
      ),
    ).toEqual({ kind: "accepted" });
    await replica.close();
  });

  test("that is not there leaves the keys to latest, until it comes", async () => {
    const replica = await open({ ...LATER, space: withRule(space, OLDEST) });
    await replica.receive(said(record("key", 1, "1")));
    await replica.put(DOC, [{ key: "key", value: 2 }]);
    expect(replica.get(DOC, "key")).toMatchObject({ value: 2, resolver: "latest" });
    expect(replica.modules()).toMatchObject([{ failures: 1, last: { reason: "missing" } }]);
    const told: string[] = [];
    replica.onRecords(({ changed }) => told.push(...changed.map(({ key }) => key)));
    await replica.addRecords({ acts: actsSince(replica.space, withModule(replica.space, OLDEST)) });
    expect(told).toEqual(["key"]);
    expect(replica.get(DOC, "key")?.value).toBe(1);
    await replica.close();
  });

  test("that this machine can't run keeps readers of its keys waiting, and nothing else", async () => {
    const odd = resolving("(i32.sub (i32.load offset=4 (i32.const 1024)) (i32.const 1)) (nop)");
    const replica = await open({ ...LATER, factEngine: JS_ENGINE });
    await replica.put(DOC, [{ key: "key", value: 2 }]);
    const [follower, told]: [Follower, string[]] = [follow(replica), []];
    await follower.ready;
    replica.onRecords(({ changed }) => told.push(...changed.map(({ key }) => key)));
    const unrunnable = {
      code: "INTERNAL",
      message: expect.stringContaining("WebAssembly") as unknown,
    };
    vi.stubGlobal("WebAssembly", undefined);
    try {
      await give(replica, withRule(withModule(space, odd), odd));
      expect(told).toEqual(["key"]);
      expect(() => replica.get(DOC, "key")).toThrow(expect.objectContaining(unrunnable));
      expect(await replica.receive(said(record("key", 1, "1")))).toEqual({ kind: "accepted" });
      const proposal = replica.proposals.prepare(DOC, { key: "key", value: 3 }, null);
      await expect(replica.proposals.make(proposal)).rejects.toMatchObject(unrunnable);
      expect(replica.failure).toBeUndefined();
      expect(replica.count().facts).toBe(0);
      expect(replica.modules()).toMatchObject([{ last: { key: "key", reason: "machine" } }]);
    } finally {
      vi.unstubAllGlobals();
      follower.stop();
    }
    await follower.ended;
    expect(replica.get(DOC, "key")?.value).toBe(1);
    await replica.close();
  });

  test("lets others have their turn while many keys are decided anew, and is asked but once for each", async () => {
    const slow = resolving(`(local $i i32) (local.set $i (i32.const 20000))
      (loop $l (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $l (local.get $i)))
      (i32.const 0)`);
    let turns = 0;
    const rest = (): Promise<void> => {
      turns++;
      return Promise.resolve();
    };
    const replica = await open({ ...LATER, rest });
    await replica.put(
      DOC,
      Array.from({ length: 200 }, (_, i) => ({ key: String(i), value: i })),
    );
    await give(replica, withRule(withModule(space, slow), slow));
    expect(turns).toBeGreaterThan(1);
    expect(replica.count().facts).toBe(200);
    expect(replica.modules()).toMatchObject([{ calls: 200, failures: 0 }]);
    await replica.close();
  });

  test("that is no module has no effect, nor have more than a space may have", async () => {
    const broken = new Uint8Array([0, 0x61, 0x73, 0x6d]);
    const replica = await open({ ...LATER, space: withRule(withModule(space, broken), broken) });
    await replica.put(DOC, [{ key: "key", value: 2 }]);
    expect(replica.get(DOC, "key")).toMatchObject({ value: 2, resolver: "latest" });
    expect(replica.modules()).toMatchObject([
      { last: { reason: "missing", problem: expect.stringContaining("byte 0") as unknown } },
    ]);
    await replica.close();
  });

  test("decides the same on replicas that hear of acts and batches in any order, and after a restart", async () => {
    const before = withModule(withModule(many, OLDEST), MOODY);
    const full = withRule(withRule(before, OLDEST), MOODY, 2);
    const batches = WRITERS.map(
      (device, i) =>
        forge({
          device,
          records: ["a", "ab", "abc", "abcd"].map((key, k) => ({
            ...record(key, k + 1, String(i)),
            hlc: hlcAt(10 * i + k),
          })),
          hlc: hlcAt(10 * i + 3),
        }).bytes,
    );
    const acts = actsSince(many, full);
    const steps: readonly ((replica: Replica) => Promise<unknown>)[] = [
      ...acts.map((act) => (replica: Replica) => replica.addRecords({ acts: [act] })),
      ...batches.map((bytes) => (replica: Replica) => replica.receive(bytes)),
      // Reads in between remember answers, and have the modules called.
      (replica) => Promise.resolve(replica.list({})),
      (replica) => Promise.resolve(replica.snapshot()),
    ];
    const store = createMemoryStore();
    const here = await open({ ...LATER, space: many, store });
    for (const step of steps) await step(here);
    const expected = stateOf(here);
    await here.close();
    const again = await open({ ...LATER, space: many, store });
    expect(stateOf(again)).toEqual(expected);
    await again.close();
    const order = fc.shuffledSubarray([...steps], { minLength: steps.length });
    await fc.assert(
      fc.asyncProperty(order, async (mixed) => {
        const there = await open({ ...LATER, space: many });
        for (const step of mixed) await step(there);
        // Acts whose parents had not come are not kept: they are sent again.
        await there.addRecords({ acts });
        for (const bytes of batches) await there.receive(bytes);
        expect(stateOf(there)).toEqual(expected);
        await there.close();
      }),
      { numRuns: 15 },
    );
  });
});

describe("a module that admits", () => {
  const rules = admitting(withModule(space, NUMBERS), NUMBERS);

  test("refuses a local write with its reason, and one at which it fails", async () => {
    const replica = await open({ ...LATER, space: rules });
    const put = (value: JsonValue): Promise<unknown> => replica.put(DOC, [{ key: "t", value }]);
    await expect(put("warm")).rejects.toMatchObject({
      code: "SCHEMA_INVALID",
      message: expect.stringMatching(/^t: no number; code 3 .*wasm:/u) as unknown,
    });
    await expect(put({})).rejects.toMatchObject({ code: "MODULE_FAILED" });
    expect(replica.list({})).toEqual([]);
    await put(20);
    await replica.put(DOC, [{ key: "t", value: 1, increment: true }]);
    expect(replica.get(DOC, "t")?.value).toBe(21);
    await replica.delete(DOC, ["t"]);
    await replica.close();
  });

  test("does not count what peers said that it refuses or fails at, and takes their batches", async () => {
    const replica = await open({ ...LATER, space: rules });
    const bytes = said(
      record("t1", 1, '"warm"'),
      record("t2", 2, "{}"),
      record("t3", 3, "3"),
      record("u", 4, "{}"),
    );
    expect(await replica.receive(bytes)).toEqual({ kind: "accepted" });
    expect(replica.list({}).map(({ key }) => key)).toEqual(["t3", "u"]);
    expect([...candidates(replica, "t1"), ...candidates(replica, "t2")]).toEqual([
      ["warm", "invalid"],
      [{}, "invalid"],
    ]);
    expect(replica.snapshot().leaves).toHaveLength(2);
    expect(replica.modules()).toMatchObject([{ last: { key: "t2", reason: "trap" } }]);
    await replica.close();
  });

  test("admits nothing until it is there", async () => {
    const replica = await open({ ...LATER, space: admitting(space, NUMBERS) });
    await replica.receive(said(record("t", 1, "1")));
    expect(replica.get(DOC, "t")).toBeUndefined();
    await expect(replica.put(DOC, [{ key: "t", value: 1 }])).rejects.toMatchObject({
      code: "MODULE_FAILED",
    });
    await replica.addRecords({
      acts: actsSince(replica.space, withModule(replica.space, NUMBERS)),
    });
    expect(replica.get(DOC, "t")?.value).toBe(1);
    await replica.close();
  });
});

describe("the act of a module", () => {
  test("has room for the largest one beside as many parents as an act may name", () => {
    const entry = canonicalJson(
      encodeModuleEntry({
        name: "x".repeat(LIMITS.moduleText),
        bytes: new Uint8Array(LIMITS.moduleBytes),
      }),
    );
    expect(entry.length + 34 * LIMITS.actParents + 512).toBeLessThan(LIMITS.actBytes);
  });
});
