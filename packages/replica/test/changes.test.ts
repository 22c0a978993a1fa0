// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the changes that a replica tells are all that it applied, in that order, each once, whether they are heard as they come or read from
 * the log, from wherever one goes on; folded, they are its state.
 * Method: random writes of several replicas, delivered in random order; the plainest model keeps a list of everything that reached a
 * replica. Replicas are opened again without having been closed.
 */
import { LIMITS, hlcToMs } from "@ctxmesh/model";
import type { EventQuery, Priority } from "@ctxmesh/model";
import { formatPosition, isRejudged } from "@ctxmesh/replica";
import type { FactChange, Replica } from "@ctxmesh/replica";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  DEVICES,
  DOCS,
  KEYS,
  SPACE,
  expectedOf,
  follow,
  isChange,
  openNode,
  read,
  run,
  steps,
  told,
} from "./changes-kit.ts";
import type { Follower } from "./changes-kit.ts";
import { DOCS as BASE_DOCS, feed, fillHub, fresh, piecesOf } from "./base-kit.ts";
import { DOC, START_MS, forge, forgeChain, hlcAt, open, us } from "./mesh.ts";

test("are the list of all that was applied: heard, read, and gone on with from any of them, after a restart, too", async () => {
  await fc.assert(
    fc.asyncProperty(steps(true), fc.array(fc.nat(), { maxLength: 5 }), async (all, cuts) => {
      const clock = createVirtualClock(START_MS);
      const nodes = await Promise.all(DEVICES.map((_, n) => openNode(n, clock)));
      for (const next of all) await run(nodes, clock, next);
      for (const [n, { replica, store, said, follower }] of nodes.entries()) {
        const expected = expectedOf(said);
        await follower.has(expected.length);
        expect(told(follower.items.filter(isChange))).toEqual(expected);
        const whole = await read(replica);
        expect(told(whole)).toEqual(expected);
        follower.stop();
        // As a killed process leaves it.
        const again = await open({
          device: DEVICES[n] ?? us,
          space: SPACE,
          clock,
          store: await store.reopen(),
        });
        for (const cut of cuts) {
          const change = whole[cut % Math.max(1, whole.length)];
          if (change === undefined) continue;
          const index = whole.indexOf(change);
          const since = formatPosition(replica.changes.name, change);
          expect(told(await read(again, { since }))).toEqual(expected.slice(index + 1));
          expect(told(await read(again, { until: since }))).toEqual(expected.slice(0, index + 1));
          const rest = follow(again, { since });
          await rest.has(expected.length - index - 1);
          expect(told(rest.items.filter(isChange))).toEqual(expected.slice(index + 1));
          rest.stop();
        }
      }
    }),
    { numRuns: 40 },
  );
});

test("folded, the values after them are the state", async () => {
  await fc.assert(
    fc.asyncProperty(steps(false), async (all) => {
      const clock = createVirtualClock(START_MS);
      const nodes = await Promise.all(DEVICES.map((_, n) => openNode(n, clock)));
      for (const next of all) await run(nodes, clock, next);
      for (const { replica, follower } of nodes) {
        const state = new Map<string, string | undefined>();
        for (const { doc: name, record, previousJson, currentJson } of await read(replica)) {
          const fact = `${name} ${record.key}`;
          expect(previousJson).toBe(state.get(fact));
          state.set(fact, currentJson);
        }
        for (const name of DOCS) {
          for (const about of KEYS) {
            const value = replica.get(name, about)?.value;
            const folded = state.get(`${name} ${about}`);
            expect(folded === undefined ? undefined : JSON.parse(folded)).toEqual(value);
          }
        }
        follower.stop();
      }
    }),
    { numRuns: 40 },
  );
});

const filter: fc.Arbitrary<EventQuery> = fc.record(
  {
    doc: fc.constantFrom(...DOCS),
    prefix: fc.constantFrom("", "u/", "t"),
    pattern: fc.constantFrom("*", "**", "u/*"),
    source: fc.constantFrom("m", "other"),
    minConfidence: fc.constantFrom(0, 0.5, 1),
    priority: fc.constantFrom<Priority>("high", "normal", "low"),
    model: fc.constantFrom("x", "y", "z"),
    since: fc.nat(9_000).map((ms) => START_MS + ms),
    until: fc.nat(9_000).map((ms) => START_MS + ms),
  },
  { requiredKeys: [], noNullPrototype: true },
);

const isWanted = ({ doc: name, priority, record }: FactChange, query: EventQuery): boolean => {
  const { key: about, hlc, confidence = 1, source, targets } = record;
  const patterns: Readonly<Record<string, RegExp>> = { "*": /^[^/]*$/u, "u/*": /^u\/[^/]*$/u };
  return (
    (query.doc ?? name) === name &&
    about.startsWith(query.prefix ?? "") &&
    (patterns[query.pattern ?? "**"]?.test(about) ?? true) &&
    (query.source ?? source?.model) === source?.model &&
    confidence >= (query.minConfidence ?? 0) &&
    (query.priority ?? priority) === priority &&
    (query.model === undefined || targets === undefined || targets.includes(query.model)) &&
    hlcToMs(hlc) >= Number(query.since ?? 0) &&
    hlcToMs(hlc) <= Number(query.until ?? Infinity)
  );
};

test("of a query are those of all that it names, heard or read", async () => {
  await fc.assert(
    fc.asyncProperty(steps(true), filter, async (all, query) => {
      const clock = createVirtualClock(START_MS);
      const nodes = await Promise.all(DEVICES.map((_, n) => openNode(n, clock)));
      const { until: _, ...endless } = query;
      const followers = nodes.map(({ replica }) => follow(replica, endless));
      await Promise.all(followers.map(({ ready }) => ready));
      for (const next of all) await run(nodes, clock, next);
      for (const [n, { replica, follower }] of nodes.entries()) {
        const whole = await read(replica);
        const wanted = (of: EventQuery): unknown[] =>
          told(whole.filter((each) => isWanted(each, of)));
        expect(told(await read(replica, query))).toEqual(wanted(query));
        const heard = followers[n] as Follower;
        await heard.has(wanted(endless).length);
        expect(told(heard.items.filter(isChange))).toEqual(wanted(endless));
        follower.stop();
        heard.stop();
      }
    }),
    { numRuns: 60 },
  );
});

/** What is written behind the first so many values. */
const after = (count: number): number[] => [0, 1, 2, 3, 4].slice(count);

test("who follows is told where it begins, and misses nothing from there on, in a log that is empty or pruned, too", async () => {
  const [clock, store] = [createVirtualClock(START_MS), createMemoryStore()];
  const replica = await open({ clock, store });
  const begins: [string, number][] = [];
  for (let value = 0; value < 6; value++) {
    const follower = follow(replica);
    await follower.ready;
    begins.push([follower.began() ?? "", value]);
    follower.stop();
    if (value < 5) await replica.put(DOC, [{ key: "k", value }]);
    clock.advance(1_000);
  }
  const valuesSince = async (since: string): Promise<unknown[]> =>
    (await read(replica, { since })).map(({ record }) => Number(record.valueJson));
  for (const [since, value] of begins) expect(await valuesSince(since)).toEqual(after(value));
  await replica.prune({ upTo: () => Infinity, beforeMs: START_MS + 3_000 });
  const gone = expect.objectContaining({ code: "HISTORY_PRUNED" }) as Error;
  for (const [since] of begins.slice(0, 3)) {
    await expect(valuesSince(since)).rejects.toThrow(gone);
  }
  for (const [since, value] of begins.slice(3)) {
    expect(await valuesSince(since)).toEqual(after(value));
  }
  const [last] = begins.at(-1) ?? [""];
  await replica.prune({ upTo: () => Infinity, beforeMs: clock.now() });
  expect(await valuesSince(last)).toEqual([]);
  const { began, ready, stop } = follow(replica);
  await ready;
  await replica.put(DOC, [{ key: "k", value: 9 }]);
  expect(await valuesSince(began() ?? "")).toEqual([9]);
  stop();
});

const invalid = expect.objectContaining({ code: "INPUT_INVALID" }) as Error;

/** A replica that three facts were written to, and the position of the last. */
async function some(
  store = createMemoryStore(),
): Promise<{ readonly replica: Replica; readonly last: string }> {
  const replica = await open({ store });
  for (const value of [1, 2, 3]) await replica.put(DOC, [{ key: "k", value }]);
  const change = (await read(replica)).at(-1) as FactChange;
  return { replica, last: formatPosition(replica.changes.name, change) };
}

describe("a position is refused", () => {
  test("that is none, of another node, or to come", async () => {
    const [{ replica, last }, { last: other }] = [await some(), await some()];
    const [log = "", position = "", ...rest] = last.split(".");
    const ahead = [log, String(Number(position) + 1), ...rest].join(".");
    for (const since of ["", "5", `${last}0`, last.toUpperCase(), other, ahead]) {
      await expect(read(replica, { since })).rejects.toThrow(invalid);
      await expect(read(replica, { until: since })).rejects.toThrow(invalid);
      await expect(follow(replica, { since }).ready).rejects.toThrow(invalid);
    }
  });

  test("of a copy of the store that went its own way", async () => {
    const store = createMemoryStore();
    const { replica } = await some(store);
    const copied = createMemoryStore();
    const all = { gte: Uint8Array.of(0), lt: Uint8Array.of(0xff) };
    for await (const [name, value] of store.scan(all)) await copied.write([{ key: name, value }]);
    const copy = await open({ store: copied });
    expect(copy.changes.name).toBe(replica.changes.name);
    await copy.put(DOC, [{ key: "k", value: "copy" }]);
    await replica.put(DOC, [{ key: "k", value: "original" }]);
    const change = (await read(replica)).at(-1) as FactChange;
    const since = formatPosition(replica.changes.name, change);
    expect(await read(replica, { since })).toEqual([]);
    await expect(read(copy, { since })).rejects.toThrow(invalid);
  });

  test("that was pruned, and a time that was", async () => {
    const clock = createVirtualClock(START_MS);
    const replica = await open({ clock });
    for (let value = 0; value < 6; value++) {
      await replica.put(DOC, [{ key: "k", value }]);
      clock.advance(1_000);
    }
    const whole = await read(replica);
    await replica.prune({ upTo: () => Infinity, beforeMs: START_MS + 3_000 });
    const left = whole.slice(3);
    expect(told(await read(replica))).toEqual(told(left));
    const since = (i: number): string =>
      formatPosition(replica.changes.name, whole[i] as FactChange);
    expect(told(await read(replica, { since: since(3) }))).toEqual(told(left.slice(1)));
    expect(told(await read(replica, { since: START_MS + 2_001 }))).toEqual(told(left));
    const gone = expect.objectContaining({ code: "HISTORY_PRUNED" }) as Error;
    for (const early of [since(0), since(2), START_MS, START_MS + 2_000]) {
      await expect(read(replica, { since: early })).rejects.toThrow(gone);
    }
    await expect(read(replica, { until: since(0) })).rejects.toThrow(gone);
  });
});

test.each<[string, EventQuery, string]>([
  ["a document's name", { doc: "" }, "INPUT_INVALID"],
  ["a pattern", { pattern: "" }, "INPUT_INVALID"],
  ["a long pattern", { pattern: "k".repeat(513) }, "LIMIT_EXCEEDED"],
  ["a confidence", { minConfidence: 1.5 }, "INPUT_INVALID"],
  ["no number for a confidence", { minConfidence: Number.NaN }, "INPUT_INVALID"],
  ["a priority", { priority: "urgent" as Priority }, "INPUT_INVALID"],
  ["a time", { since: -1 }, "INPUT_INVALID"],
  ["half a millisecond", { until: 0.5 }, "INPUT_INVALID"],
])("%s that is wrong is refused", async (_, query, code) => {
  await expect(read(await open(), query)).rejects.toMatchObject({ code });
});

test("to follow and to end are not asked for at once", async () => {
  await expect(follow(await open(), { until: START_MS }).ready).rejects.toThrow(invalid);
});

/** Shows a second history behind the second batch of `forgeChain(4)`. */
async function fork(replica: Replica): Promise<void> {
  const prev = forgeChain(4)[1]?.hash ?? null;
  const records = [{ key: "other", seq: 3, hlc: hlcAt(3), valueJson: "3" }];
  await replica.receive(forge({ seq: 3, prev, records }).bytes);
  await replica.addRecords({});
}

test("who follows hears that what counts has changed; who reads then gets what counts", async () => {
  const replica = await open({ clock: createVirtualClock(START_MS + 60_000) });
  const follower = follow(replica);
  await follower.ready;
  for (const { bytes } of forgeChain(4)) await replica.receive(bytes);
  await fork(replica);
  await follower.has(5);
  expect(follower.items.map((item) => (isRejudged(item) ? "rejudged" : item.record.seq))).toEqual([
    1,
    2,
    3,
    4,
    "rejudged",
  ]);
  expect((await read(replica)).map(({ record }) => record.seq)).toEqual([1, 2]);
  follower.stop();
});

test("who follows hears that what counts has changed since it began, though nothing else has come", async () => {
  const replica = await open({ clock: createVirtualClock(START_MS + 60_000) });
  for (const { bytes } of forgeChain(4)) await replica.receive(bytes);
  const stream = replica.changes.read({}, { follow: true });
  await stream.next();
  await fork(replica);
  await replica.put(DOC, [{ key: "after", value: 1 }]);
  const items = (await stream.next()).value ?? [];
  expect(items.map((item) => (isChange(item) ? item.record.key : item))).toEqual([
    { kind: "rejudged", position: 4, isGap: false },
    "after",
  ]);
  await stream.return();
});

test("who reads while what counts changes gets nothing more that was judged before", async () => {
  const replica = await open({ clock: createVirtualClock(START_MS + 60_000) });
  const facts = Array.from({ length: 300 }, (_, i) => ({ key: `k${String(i)}`, value: i }));
  await replica.put(DOC, facts);
  for (const { bytes } of forgeChain(4)) await replica.receive(bytes);
  const stream = replica.changes.read({});
  await stream.next();
  expect((await stream.next()).value).toHaveLength(300);
  await fork(replica);
  await expect(stream.next()).rejects.toMatchObject({ code: "ABORTED" });
});

test("a base that is taken over ends who follows, and a position from before it is refused; what comes behind it is told, and replaces what the base has", async () => {
  const source = await fillHub();
  const { pieces } = await piecesOf(source);
  const replica = await fresh();
  const follower = follow(replica);
  await follower.ready;
  await replica.put(DOC, [{ key: "before", value: 1 }]);
  await follower.has(1);
  const [before] = follower.items.filter(isChange);
  const since = formatPosition(replica.changes.name, before as FactChange);
  expect(await feed(replica, pieces)).toBe("installed");
  expect(await follower.ended).toMatchObject({ code: "HISTORY_PRUNED" });
  await expect(read(replica, { since })).rejects.toMatchObject({ code: "HISTORY_PRUNED" });
  const [name = DOC] = BASE_DOCS;
  const { value } = replica.get(name, "temperature") ?? {};
  await replica.put(name, [{ key: "temperature", value: "new" }]);
  const last = (await read(replica)).at(-1);
  expect(last).toMatchObject({ previousJson: JSON.stringify(value), currentJson: '"new"' });
});

test("who follows and does not read is told so, and goes on from its last position without a gap", async () => {
  const replica = await open();
  const stream = replica.changes.read({}, { follow: true });
  await stream.next();
  const writes = LIMITS.eventTailChanges / LIMITS.factsPerWrite + 2;
  const facts = Array.from({ length: LIMITS.factsPerWrite }, (_, i) => ({
    key: `k${String(i)}`,
    value: i,
  }));
  await replica.put(DOC, [{ key: "first", value: 0 }]);
  const first = (await stream.next()).value?.find(isChange) as FactChange;
  for (let i = 0; i < writes; i++) await replica.put(DOC, facts);
  await expect(stream.next()).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  const rest = follow(replica, { since: formatPosition(replica.changes.name, first) });
  await rest.has(writes * facts.length);
  expect(rest.items.filter(isChange).map(({ record }) => record.seq)).toEqual(
    Array.from({ length: writes * facts.length }, (_, i) => i + 2),
  );
  rest.stop();
});

test("a closed replica ends who follows, and so does the caller", async () => {
  const replica = await open();
  const [one, other] = [follow(replica), follow(replica)];
  await Promise.all([one.ready, other.ready]);
  other.stop();
  expect(await other.ended).toMatchObject({ code: "ABORTED", message: "enough" });
  await replica.close();
  expect(await one.ended).toMatchObject({ code: "CLOSED" });
});
