// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the changes that a replica tells are all that it applied, in that order, each once, whether they are heard as they come or read from
 * the log, from wherever one goes on; folded, they are its state.
 * Method: random writes of several replicas, delivered in random order; the plainest model keeps a list of everything that reached a
 * replica. Replicas are opened again without having been closed.
 */
import { decodeBatch, decodeBody } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { decodeFrame } from "@ctxmesh/facts";
import type { FactRecord } from "@ctxmesh/facts";
import { LIMITS, MeshError, hlcToMs, parseDocumentName, toHex } from "@ctxmesh/model";
import type { DocumentName, EventQuery, FactInput, Priority } from "@ctxmesh/model";
import { formatPosition, isRejudged } from "@ctxmesh/replica";
import type { FactChange, Replica, TailItem } from "@ctxmesh/replica";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import type { MemoryStore, VirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DOC, START_MS, deviceOf, forge, forgeChain, hlcAt, open, spaceWith, us } from "./mesh.ts";

const DOCS = ["a", "b/c"].map(parseDocumentName);
const KEYS = ["t", "u/v"];
const DEVICES = [10, 11, 12].map(deviceOf);
const SPACE = spaceWith(DEVICES.map((device) => [device, "manage"] as const));

type Step =
  | {
      readonly kind: "put";
      readonly at: number;
      readonly writes: readonly { readonly doc: number; readonly facts: FactInput[] }[];
      readonly priority: Priority;
    }
  | { readonly kind: "delete"; readonly at: number; readonly doc: number; readonly key: number }
  | {
      readonly kind: "retract";
      readonly at: number;
      readonly doc: number;
      readonly key: number;
      readonly writer: number;
    }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "checkpoint"; readonly at: number }
  | { readonly kind: "deliver"; readonly at: number; readonly from: number };

const at = fc.nat(DEVICES.length - 1);
const [doc, key] = [fc.nat(1), fc.nat(1)];
const factOf = (ttls: boolean): fc.Arbitrary<FactInput> =>
  fc.record(
    {
      key: fc.constantFrom(...KEYS),
      value: fc.nat(9),
      confidence: fc.constantFrom(0.25, 0.5, 1),
      source: fc.constantFrom({ model: "m", version: "2" }, { model: "n" }),
      targets: fc.constantFrom(["x"], ["x", "y"]),
      ...(ttls ? { ttlMs: fc.integer({ min: 1, max: 3_000 }) } : {}),
    },
    { requiredKeys: ["key", "value"], noNullPrototype: true },
  );
const kind = <K extends string>(name: K): fc.Arbitrary<K> => fc.constant(name);
const stepOf = (ttls: boolean): fc.Arbitrary<Step> =>
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: kind("put"),
        at,
        writes: fc.array(
          fc.record({ doc, facts: fc.array(factOf(ttls), { minLength: 1, maxLength: 3 }) }),
          { minLength: 1, maxLength: 3 },
        ),
        priority: fc.constantFrom<Priority>("high", "normal", "low"),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: kind("delete"), at, doc, key }) },
    { weight: 1, arbitrary: fc.record({ kind: kind("retract"), at, doc, key, writer: at }) },
    { weight: 2, arbitrary: fc.record({ kind: kind("wait"), ms: fc.nat(2_000) }) },
    { weight: 1, arbitrary: fc.record({ kind: kind("checkpoint"), at }) },
    { weight: 3, arbitrary: fc.record({ kind: kind("deliver"), at, from: at }) },
  );

/** A fact that reached a replica. */
interface Said {
  readonly doc: string;
  readonly writer: string;
  readonly hash: string;
  readonly section: number;
  readonly priority: string;
  readonly record: FactRecord;
}

function saidIn(bytes: Uint8Array): Said[] {
  const { header, headerBytes, bodies } = decodeBatch(bytes);
  const hash = toHex(sha256(headerBytes));
  const { replica: writer, lane: priority = "normal" } = header;
  return header.sections.flatMap(({ doc: name }, section) =>
    decodeFrame(decodeBody(bodies[section] ?? new Uint8Array())).records.map((record) => ({
      doc: name,
      writer,
      hash,
      section,
      priority,
      record,
    })),
  );
}

/** The visible value of a key at a time by the plain reading of the rules for `latest`. */
function shownOf(known: readonly Said[], ms: number): string | undefined {
  const rulings = known.flatMap(({ record }) => record.retract ?? []);
  const newest = new Map<string, Said>();
  for (const each of known) {
    if (each.record.retract !== undefined) continue;
    const other = newest.get(each.writer);
    if (other === undefined || other.record.hlc < each.record.hlc) newest.set(each.writer, each);
  }
  const [winner] = [...newest.values()]
    .filter(({ record }) => record.ttlMs === undefined || hlcToMs(record.hlc) + record.ttlMs > ms)
    .filter(
      ({ writer, record }) =>
        !rulings.some((ruling) => ruling.writer === writer && record.hlc <= ruling.upTo),
    )
    .toSorted((a, b) => b.record.hlc - a.record.hlc || (a.writer < b.writer ? 1 : -1));
  return winner?.record.valueJson;
}

/** What the list of all that was said comes to, change by change. */
function expectedOf(said: readonly Said[]): unknown[] {
  return said.map((each, i) => {
    const { doc: name, record } = each;
    const before = said.slice(0, i).filter((e) => e.doc === name && e.record.key === record.key);
    const ms = hlcToMs(record.hlc);
    return { ...each, previous: shownOf(before, ms), current: shownOf([...before, each], ms) };
  });
}

const told = (changes: readonly FactChange[]): unknown[] =>
  changes.map((change) => {
    const { doc: name, writer, hash, section, priority, record } = change;
    const { previousJson: previous, currentJson: current } = change;
    return { doc: name, writer, hash, section, priority, record, previous, current };
  });

const isChange = (item: TailItem): item is FactChange => !isRejudged(item);

/** All changes of a query that there are. */
async function read(replica: Replica, query: EventQuery = {}): Promise<FactChange[]> {
  const changes: FactChange[] = [];
  for await (const part of replica.changes.read(query)) changes.push(...part.filter(isChange));
  return changes;
}

/** Somebody who follows. */
interface Follower {
  readonly items: TailItem[];
  /** Resolves once it is in place; rejects when the query is refused. */
  readonly ready: Promise<void>;
  /** Resolves once it has so many items. */
  readonly has: (count: number) => Promise<void>;
  readonly stop: () => void;
  /** How it ended. */
  readonly ended: Promise<unknown>;
}

function follow(replica: Replica, query: EventQuery = {}): Follower {
  const end = new AbortController();
  const items: TailItem[] = [];
  const ready = Promise.withResolvers<void>();
  let heard = Promise.withResolvers<void>();
  const listen = async (): Promise<void> => {
    const how = { follow: true, signal: end.signal };
    for await (const part of replica.changes.read(query, how)) {
      items.push(...part);
      ready.resolve();
      heard.resolve();
      heard = Promise.withResolvers();
    }
  };
  const ended = listen().catch((error: unknown) => {
    ready.reject(error);
    return error;
  });
  ready.promise.catch(() => undefined);
  return {
    items,
    ready: ready.promise,
    ended,
    stop: () => end.abort(new MeshError("ABORTED", "enough")),
    has: async (count) => {
      while (items.length < count) await heard.promise;
    },
  };
}

/** A replica with all that reached it, in order. */
interface Node {
  readonly store: MemoryStore;
  readonly replica: Replica;
  readonly said: Said[];
  readonly made: Uint8Array[];
  readonly follower: Follower;
}

async function openNode(n: number, clock: VirtualClock): Promise<Node> {
  const [said, made]: [Said[], Uint8Array[]] = [[], []];
  const store = createMemoryStore();
  const replica = await open({ device: DEVICES[n] ?? us, space: SPACE, clock, store });
  replica.onApplied(({ bytes, origin }) => {
    said.push(...saidIn(bytes));
    if (origin === "local") made.push(bytes);
  });
  const follower = follow(replica);
  await follower.ready;
  return { replica, store, said, made, follower };
}

async function run(nodes: readonly Node[], clock: VirtualClock, next: Step): Promise<void> {
  if (next.kind === "wait") {
    clock.advance(next.ms);
    return;
  }
  const { replica } = nodes[next.at] as Node;
  if (next.kind === "checkpoint") await replica.checkpoint();
  else if (next.kind === "deliver") {
    for (const bytes of nodes[next.from]?.made ?? []) await replica.receive(bytes);
  } else if (next.kind === "put") {
    // At the same time, so that one batch has several documents.
    await Promise.all(
      next.writes.map(({ doc: name, facts }) =>
        replica.put(DOCS[name] as DocumentName, facts, { priority: next.priority }),
      ),
    );
  } else {
    const [name, about] = [DOCS[next.doc] as DocumentName, KEYS[next.key] ?? ""];
    if (next.kind === "delete") {
      await replica.delete(name, [about]);
      return;
    }
    const whose = DEVICES[next.writer]?.key ?? us.key;
    const known = replica.candidates(name, about);
    if (!known.some((candidate) => candidate.writer === whose)) return;
    await replica.retract(name, about, whose, "why");
  }
}

const steps = (ttls: boolean): fc.Arbitrary<Step[]> =>
  fc.array(stepOf(ttls), { minLength: 5, maxLength: 40 });

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

const invalid = expect.objectContaining({ code: "INPUT_INVALID" }) as Error;

describe("a position is refused", () => {
  const some = async (
    store = createMemoryStore(),
  ): Promise<{ readonly replica: Replica; readonly last: string }> => {
    const replica = await open({ store });
    for (const value of [1, 2, 3]) await replica.put(DOC, [{ key: "k", value }]);
    const change = (await read(replica)).at(-1) as FactChange;
    return { replica, last: formatPosition(replica.changes.name, change) };
  };

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

test("who follows hears that what counts has changed; who reads then gets what counts", async () => {
  const replica = await open({ clock: createVirtualClock(START_MS + 60_000) });
  const follower = follow(replica);
  await follower.ready;
  const trunk = forgeChain(4);
  for (const { bytes } of trunk) await replica.receive(bytes);
  const records = [{ key: "other", seq: 3, hlc: hlcAt(3), valueJson: "3" }];
  await replica.receive(forge({ seq: 3, prev: trunk[1]?.hash ?? null, records }).bytes);
  await replica.addRecords({});
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
