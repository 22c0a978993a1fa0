// SPDX-License-Identifier: Apache-2.0
import type { PolicyRule } from "@ctxmesh/facts";
import { LIMITS } from "@ctxmesh/model";
import type { FactInput } from "@ctxmesh/model";
import { setPolicy } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import {
  DOC,
  START_MS,
  applied,
  creator,
  forge,
  hlcAt,
  open,
  spaceWith,
  us,
  writer,
} from "./mesh.ts";

const spaceUnder = (...rules: PolicyRule[]): Space =>
  setPolicy(
    spaceWith([
      [us, "manage"],
      [writer, "append"],
    ]),
    creator.signer,
    { epoch: 1, rules },
  );

interface Pair {
  readonly ours: Replica;
  readonly theirs: Replica;
  readonly clock: VirtualClock;
  /** Brings what either wrote to the other. */
  sync(): Promise<void>;
}

/** Two replicas with one clock: ours may retract, theirs not. */
async function pair(...rules: PolicyRule[]): Promise<Pair> {
  const [clock, under] = [createVirtualClock(START_MS), spaceUnder(...rules)];
  const ours = await open({ clock, space: under });
  const theirs = await open({ clock, space: under, device: writer });
  const [fromUs, fromThem] = [applied(ours, "local"), applied(theirs, "local")];
  const sync = async (): Promise<void> => {
    for (const bytes of fromUs.splice(0)) await theirs.receive(bytes);
    for (const bytes of fromThem.splice(0)) await ours.receive(bytes);
  };
  return { ours, theirs, clock, sync };
}

const fact = (value: FactInput["value"], members: Partial<FactInput> = {}): FactInput => ({
  key: "k",
  value,
  ...members,
});
const standings = (replica: Replica): unknown =>
  replica.candidates(DOC, "k").map(({ value = null, standing }) => [value, standing]);

describe("a candidate stands as", () => {
  test("shown, dominated, undominated, expired or retracted", async () => {
    const { ours, theirs, clock, sync } = await pair();
    await ours.put(DOC, [fact(1, { confidence: 0.9 })]);
    clock.advance(1);
    await theirs.put(DOC, [fact(2, { confidence: 0.5, ttlMs: 10 })]);
    await sync();
    for (const replica of [ours, theirs]) {
      expect(standings(replica)).toEqual([
        [2, "shown"],
        [1, "undominated"],
      ]);
    }
    clock.advance(10);
    expect(standings(ours)).toEqual([
      [2, "expired"],
      [1, "shown"],
    ]);
    await theirs.put(DOC, [fact(3)]);
    await sync();
    expect(standings(ours)).toEqual([
      [3, "shown"],
      [1, "dominated"],
    ]);
    await ours.retract(DOC, "k", writer.key, "drifts");
    await sync();
    for (const replica of [ours, theirs]) {
      expect(standings(replica)).toEqual([
        [3, "retracted"],
        [1, "shown"],
      ]);
      expect(replica.candidates(DOC, "k")[0]?.retraction).toEqual({ by: us.key, reason: "drifts" });
    }
  });

  test("part of a merged value only when it has one", async () => {
    const { ours, theirs, sync } = await pair({ prefix: "", resolver: "sum" });
    await ours.put(DOC, [fact(1)]);
    await theirs.put(DOC, [fact(2)]);
    await theirs.delete(DOC, ["k"]);
    await sync();
    expect(ours.get(DOC, "k")?.value).toBe(1);
    expect(standings(ours)).toEqual([
      [null, "undominated"],
      [1, "shown"],
    ]);
  });
});

const retract = (replica: Replica, reason: string, key = "k"): Promise<unknown> =>
  replica.retract(DOC, key, us.key, reason);

describe("a retraction", () => {
  test("rules out what was said so far; what the writer says later counts again", async () => {
    const { ours, theirs, sync } = await pair();
    await theirs.put(DOC, [fact("poisoned")]);
    await sync();
    await ours.retract(DOC, "k", writer.key, "poisoned");
    expect(ours.get(DOC, "k")).toBeUndefined();
    await sync();
    await theirs.put(DOC, [fact("clean")]);
    await sync();
    for (const replica of [ours, theirs]) expect(replica.get(DOC, "k")?.value).toBe("clean");
    expect(ours.snapshot()).toEqual(theirs.snapshot());
  });

  test("holds whichever comes first, it or the statement, and after a restart", async () => {
    const { ours, theirs, clock, sync } = await pair();
    await theirs.put(DOC, [fact(1)]);
    await sync();
    const batches = applied(ours);
    await ours.retract(DOC, "k", writer.key, "r");
    await sync();
    const store = createMemoryStore();
    const late = await open({ clock, space: ours.space, device: writer, store });
    for (const bytes of batches) await late.receive(bytes);
    expect(late.get(DOC, "k")).toBeUndefined();
    expect(ours.snapshot().leaves).toEqual(theirs.snapshot().leaves);
    expect(ours.snapshot().leaves.some((leaf) => leaf.includes('"retracts"'))).toBe(true);
  });

  test("needs the role manage and somebody who said something, and a reason", async () => {
    const { ours, theirs, sync } = await pair();
    await ours.put(DOC, [fact(1)]);
    await sync();
    await expect(retract(theirs, "r")).rejects.toMatchObject({ code: "POLICY_REFUSED" });
    await expect(retract(ours, "r", "other")).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(retract(ours, "")).rejects.toMatchObject({
      code: "INPUT_INVALID",
      field: "reason",
    });
    await expect(retract(ours, "\uD800")).rejects.toMatchObject({ field: "reason" });
    const long = "r".repeat(LIMITS.reasonBytes + 1);
    await expect(retract(ours, long)).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
    expect(ours.get(DOC, "k")?.value).toBe(1);
    await retract(ours, long.slice(1));
    expect(ours.get(DOC, "k")).toBeUndefined();
  });

  test("from a device without the role manage is refused on arrival, whole batch", async () => {
    const { ours } = await pair();
    const ruling = { writer: us.key, upTo: hlcAt(9), reason: "r" };
    const records = [
      { key: "k", seq: 1, hlc: hlcAt(0), valueJson: "1" },
      { key: "k", seq: 2, hlc: hlcAt(1), retract: ruling },
    ];
    const { bytes } = forge({ space: ours.space, records });
    expect(await ours.receive(bytes)).toMatchObject({ kind: "refused", reason: "grant" });
    expect(ours.candidates(DOC, "k")).toEqual([]);
    const allowed = forge({ space: ours.space, records: records.slice(0, 1) });
    expect(await ours.receive(allowed.bytes)).toEqual({ kind: "accepted" });
  });
});

const plus = (value: number, members: Partial<FactInput> = {}): FactInput =>
  fact(value, { increment: true, ...members });

describe("an increment", () => {
  const sum: PolicyRule = { prefix: "", resolver: "sum" };

  test("adds to the writer's own number, in one call, in one tick and one after the other", async () => {
    const { ours, theirs, sync } = await pair(sum);
    await ours.put(DOC, [plus(1), plus(2)]);
    await Promise.all([ours.put(DOC, [plus(3)]), ours.put(DOC, [plus(4)])]);
    await theirs.put(DOC, [plus(100)]);
    await sync();
    await ours.put(DOC, [plus(5)]);
    await sync();
    for (const replica of [ours, theirs]) expect(replica.get(DOC, "k")?.value).toBe(115);
  });

  test("survives restarts, which are new incarnations", async () => {
    const clock = createVirtualClock(START_MS);
    let store = createMemoryStore();
    for (let life = 1; life <= 5; life++) {
      const replica = await open({ clock, store, space: spaceUnder(sum) });
      await replica.put(DOC, [plus(1)]);
      expect(replica.get(DOC, "k")?.value).toBe(life);
      expect(replica.candidates(DOC, "k")).toHaveLength(1);
      await replica.close();
      store = await store.reopen();
    }
  });

  test("starts again from 0 after a delete, an expiry, a retraction, or what was no number", async () => {
    const { ours, clock } = await pair(sum);
    const value = (): unknown => ours.get(DOC, "k")?.value;
    await ours.put(DOC, [plus(5)]);
    await ours.delete(DOC, ["k"]);
    await ours.put(DOC, [plus(1, { ttlMs: 10 })]);
    expect(value()).toBe(1);
    clock.advance(10);
    await ours.put(DOC, [plus(2)]);
    expect(value()).toBe(2);
    await ours.retract(DOC, "k", us.key, "wrong");
    await ours.put(DOC, [plus(3)]);
    expect(value()).toBe(3);
    await ours.put(DOC, [fact("text"), plus(4)]);
    expect(value()).toBe(4);
  });

  test("takes numbers only, and stays within them", async () => {
    const { ours } = await pair(sum);
    const text = { key: "k", value: "1", increment: true };
    await expect(ours.put(DOC, [text])).rejects.toMatchObject({
      code: "INPUT_INVALID",
      field: "value",
    });
    await ours.put(DOC, [plus(1e308), plus(1e308)]);
    expect(ours.get(DOC, "k")?.value).toBe(Number.MAX_VALUE);
  });
});

describe("answers", () => {
  test("are renewed when the key changes, something expires, is retracted, or the clock goes back", async () => {
    const { ours, theirs, clock, sync } = await pair();
    const value = (): unknown => ours.get(DOC, "k")?.value;
    await ours.put(DOC, [fact(1)]);
    expect(value()).toBe(1);
    clock.advance(1000);
    await theirs.put(DOC, [fact(2, { ttlMs: 50 })]);
    expect(value()).toBe(1);
    await sync();
    expect(value()).toBe(2);
    clock.advance(50);
    expect(value()).toBe(1);
    clock.advance(-50);
    expect(value()).toBe(2);
    await ours.retract(DOC, "k", writer.key, "r");
    expect(value()).toBe(1);
    await ours.delete(DOC, ["k"]);
    expect(value()).toBeUndefined();
  });

  test("age with the clock between renewals", async () => {
    const { ours, clock } = await pair();
    await ours.put(DOC, [fact(1)]);
    for (const age of [0, 1, 2]) {
      expect(ours.get(DOC, "k")?.ageMs).toBe(age);
      clock.advance(1);
    }
  });

  test("cannot be changed through what a reader was given", async () => {
    const { ours } = await pair();
    const source = { model: "m" };
    await ours.put(DOC, [fact({ list: [{ x: 1 }] }, { tags: ["t"], source })]);
    const read = ours.get(DOC, "k");
    const [candidate] = ours.candidates(DOC, "k");
    const { list = [] } = (read?.value ?? {}) as { list?: { x: number }[] };
    expect(() => list.push({ x: 2 })).toThrow(TypeError);
    expect(() => Object.assign(list[0] ?? {}, { x: 2 })).toThrow(TypeError);
    for (const given of [read, candidate]) {
      const tags = given?.tags as string[] | undefined;
      expect(() => tags?.push("u")).toThrow(TypeError);
      expect(() => Object.assign(given?.source ?? {}, { model: "n" })).toThrow(TypeError);
    }
    expect(ours.get(DOC, "k")).toEqual(read);
    expect(ours.candidates(DOC, "k")).toMatchObject([{ tags: ["t"], source }]);
  });
});

test("a list is narrowed by prefix, pattern, source, tag and start, each alone and all together", async () => {
  const { ours } = await pair();
  const tagged = { tags: ["t"], source: { model: "m" } };
  for (const [i, key] of ["a/1", "a/2", "a/b/3", "b/1", "b/2"].entries()) {
    await ours.put(DOC, [{ key, value: i, ...(i % 2 === 0 ? tagged : {}) }]);
  }
  const keys = (query: Parameters<Replica["list"]>[0]): string[] =>
    ours.list({ doc: DOC, ...query }).map(({ key }) => key);
  expect(keys({ prefix: "a/" })).toEqual(["a/1", "a/2", "a/b/3"]);
  expect(keys({ pattern: "a/*" })).toEqual(["a/1", "a/2"]);
  expect(keys({ pattern: "*/1" })).toEqual(["a/1", "b/1"]);
  expect(keys({ source: "m" })).toEqual(["a/1", "a/b/3", "b/2"]);
  expect(keys({ tag: "t", source: "m", prefix: "a", pattern: "**", after: "a/1" })).toEqual([
    "a/b/3",
  ]);
  expect(keys({ tag: "none" })).toEqual([]);
  await ours.delete(DOC, ["a/1"]);
  expect(keys({ source: "m" })).toEqual(["a/b/3", "b/2"]);
  expect(() => keys({ pattern: "" })).toThrow(
    expect.objectContaining({ field: "pattern" }) as Error,
  );
});
