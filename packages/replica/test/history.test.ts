// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what a replica tells of the past is what was said by then, all of it, and nothing else.
 * Method: random writes of several replicas at random times, delivered in random order; the plainest model keeps
 * the list of everything that reached a replica and replays it up to a moment.
 */
import { canonicalJson, decodeBatch, decodeBody } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { decodeFrame } from "@ctxmesh/facts";
import type { FactRecord } from "@ctxmesh/facts";
import { hlcToMs, parseDocumentName, toHex } from "@ctxmesh/model";
import type {
  DocumentName,
  FactInput,
  HistoryEntry,
  JsonValue,
  Reach,
  Vault,
  VaultScope,
} from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createVirtualClock } from "@ctxmesh/testing";
import type { MemoryStore, VirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  DOC,
  START_MS,
  deviceOf,
  forge,
  forgeChain,
  hlcAt,
  open,
  spaceWith,
  writer,
} from "./mesh.ts";

const DOCS = ["a", "b/c"].map(parseDocumentName);
const KEYS = ["t", "u"];
const DEVICES = [10, 11, 12].map(deviceOf);
const SPACE = spaceWith(DEVICES.map((device) => [device, "manage"] as const));

type Step =
  | { readonly kind: "put"; readonly at: number; readonly doc: number; readonly facts: FactInput[] }
  | { readonly kind: "delete"; readonly at: number; readonly doc: number; readonly key: number }
  | {
      readonly kind: "retract";
      readonly at: number;
      readonly doc: number;
      readonly key: number;
      readonly writer: number;
    }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "deliver"; readonly at: number; readonly from: number };

const at = fc.nat(DEVICES.length - 1);
const [doc, key] = [fc.nat(1), fc.nat(1)];
const fact: fc.Arbitrary<FactInput> = fc.record(
  {
    key: fc.constantFrom(...KEYS),
    value: fc.nat(9),
    confidence: fc.constantFrom(0.25, 0.5, 1),
    ttlMs: fc.integer({ min: 1, max: 3_000 }),
    tags: fc.constantFrom(["x"], ["x", "y"]),
    source: fc.constant({ model: "m", version: "2" }),
    basis: fc.constant(["id"]),
  },
  { requiredKeys: ["key", "value"], noNullPrototype: true },
);
const kind = <K extends string>(name: K): fc.Arbitrary<K> => fc.constant(name);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: kind("put"),
      at,
      doc,
      facts: fc.array(fact, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: kind("delete"), at, doc, key }) },
  { weight: 1, arbitrary: fc.record({ kind: kind("retract"), at, doc, key, writer: at }) },
  { weight: 3, arbitrary: fc.record({ kind: kind("wait"), ms: fc.nat(2_000) }) },
  { weight: 3, arbitrary: fc.record({ kind: kind("deliver"), at, from: at }) },
);

/** A fact that reached a replica. */
interface Said {
  readonly doc: string;
  readonly writer: string;
  readonly incarnation: string;
  readonly batch: { readonly seq: number; readonly hash: string };
  readonly record: FactRecord;
}

function saidIn(bytes: Uint8Array): Said[] {
  const { header, headerBytes, bodies } = decodeBatch(bytes);
  const batch = { seq: header.seq, hash: toHex(sha256(headerBytes)) };
  return header.sections.flatMap((section, i) =>
    decodeFrame(decodeBody(bodies[i] ?? new Uint8Array())).records.map((record) => ({
      doc: section.doc,
      writer: header.replica,
      incarnation: header.incarnation,
      batch,
      record,
    })),
  );
}

/** The visible value by the plain reading of the rules for `latest`: of each writer the newest, then the newest of all. */
function modelAt(all: readonly Said[], name: string, about: string, ms: number): unknown {
  const known = all.filter(
    (each) => each.doc === name && each.record.key === about && hlcToMs(each.record.hlc) <= ms,
  );
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
      (each) =>
        !rulings.some((ruling) => ruling.writer === each.writer && each.record.hlc <= ruling.upTo),
    )
    .toSorted((a, b) => b.record.hlc - a.record.hlc || (a.writer < b.writer ? 1 : -1));
  return winner?.record.valueJson;
}

/** A replica with all that reached it, in order. */
interface Node {
  readonly store: MemoryStore;
  readonly replica: Replica;
  readonly said: Said[];
  /** Hashes of the batches that carried it. */
  readonly batches: string[];
  /** Its own batches. */
  readonly made: Uint8Array[];
}

async function openNode(n: number, clock: VirtualClock): Promise<Node> {
  const [said, batches, made]: [Said[], string[], Uint8Array[]] = [[], [], []];
  const store = createMemoryStore();
  const device = DEVICES[n] ?? deviceOf(10);
  const replica = await open({ device, space: SPACE, clock, store });
  replica.onApplied(({ bytes, head, origin }) => {
    said.push(...saidIn(bytes));
    batches.push(head.hash);
    if (origin === "local") made.push(bytes);
  });
  return { replica, store, said, batches, made };
}

async function run(nodes: readonly Node[], clock: VirtualClock, next: Step): Promise<void> {
  if (next.kind === "wait") {
    clock.advance(next.ms);
    return;
  }
  const { replica } = nodes[next.at] as Node;
  if (next.kind === "deliver") {
    for (const bytes of nodes[next.from]?.made ?? []) await replica.receive(bytes);
    return;
  }
  const name = DOCS[next.doc] as DocumentName;
  if (next.kind === "put") await replica.put(name, next.facts);
  else if (next.kind === "delete") await replica.delete(name, [KEYS[next.key] ?? ""]);
  else {
    const whose = DEVICES[next.writer]?.key ?? writer.key;
    const known = replica.candidates(name, KEYS[next.key] ?? "");
    if (!known.some((candidate) => candidate.writer === whose)) return;
    await replica.retract(name, KEYS[next.key] ?? "", whose, "why");
  }
}

function entryOf({ writer: who, incarnation, batch, record }: Said): unknown {
  const { key: _, valueJson, retract, ...rest } = record;
  const said =
    retract === undefined
      ? {
          kind: "statement",
          deleted: valueJson === undefined,
          ...(valueJson === undefined ? {} : { value: JSON.parse(valueJson) as JsonValue }),
        }
      : { kind: "retraction", retracts: retract };
  return { ...said, ...rest, writer: who, incarnation, batch, counts: true };
}

/** The whole history of a key in the first document, and how far it reaches back. */
async function historyOf(
  replica: Replica,
  about: string,
  limit: number,
): Promise<{ readonly entries: readonly HistoryEntry[]; readonly reach: Reach }> {
  const entries: HistoryEntry[] = [];
  let before: string | undefined;
  for (;;) {
    const query = { limit, ...(before === undefined ? {} : { before }) };
    const page = await replica.history(DOCS[0] as DocumentName, about, query);
    expect(page.entries.length <= limit).toBe(true);
    expect(page.next !== undefined).toBe(page.entries.length === limit);
    entries.push(...page.entries);
    if (page.next === undefined) return { entries, reach: page.reachesBack };
    expect(page.next).not.toBe(before);
    before = page.next;
  }
}

/** Everything that a replica tells of some moments is what the list comes to. */
async function compareMoments({ replica, said }: Node, moments: readonly number[]): Promise<void> {
  for (const name of DOCS) {
    for (const ms of moments) {
      const listed = await replica.listAt({ doc: name }, ms);
      const told = listed.map((each) => [each.key, canonicalJson(each.value)]);
      const expected = KEYS.map((about) => [about, modelAt(said, name, about, ms)]);
      expect(told).toEqual(expected.filter(([, value]) => value !== undefined));
      for (const about of KEYS) {
        const one = await replica.getAt(name, about, ms);
        expect(one).toEqual(listed.find((each) => each.key === about));
      }
    }
  }
}

/** A replica's histories are the list without what the first `gone` batches brought. */
async function compareHistories(node: Node, limit: number, gone: number): Promise<void> {
  const kept = new Set(node.batches.slice(gone));
  const reach = gone === 0 ? "all" : { sinceMs: node.replica.retention().prunedBeforeMs };
  for (const about of KEYS) {
    const entries = node.said
      .filter(
        ({ doc: name, record, batch }) =>
          name === DOCS[0] && record.key === about && kept.has(batch.hash),
      )
      .toReversed()
      .map(entryOf);
    expect(await historyOf(node.replica, about, limit)).toEqual({ entries, reach });
  }
}

test("a replica tells of every moment what the list of all that was said comes to, and tells that list; pruned, as far as it is kept", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 40 }),
      fc.array(fc.nat(20_000), { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.nat(15_000), { maxLength: 2 }),
      async (steps, ago, limit, prunings) => {
        const clock = createVirtualClock(START_MS);
        const nodes = await Promise.all(DEVICES.map((_, n) => openNode(n, clock)));
        for (const next of steps) await run(nodes, clock, next);
        const now = clock.now();
        const moments = [...ago.map((back) => now - back), now];
        for (const node of nodes) {
          const { replica } = node;
          await compareMoments(node, moments);
          for (const name of DOCS) {
            expect(await replica.listAt({ doc: name }, now)).toEqual(replica.list({ doc: name }));
          }
          await compareHistories(node, limit, 0);
          let gone = 0;
          for (const back of prunings.toSorted((a, b) => b - a)) {
            gone += (await replica.prune({ upTo: () => Infinity, beforeMs: now - back })).batches;
            const { prunedBeforeMs = 1 } = replica.retention();
            const kept = moments.filter((ms) => ms >= prunedBeforeMs - 1);
            await compareMoments(node, kept);
            const tooEarly = replica.getAt(DOCS[0] as DocumentName, "t", prunedBeforeMs - 2);
            const code = prunedBeforeMs === 1 ? "INPUT_INVALID" : "HISTORY_PRUNED";
            await expect(tooEarly).rejects.toMatchObject({ code });
            await compareHistories(node, limit, gone);
          }
        }
      },
    ),
    { numRuns: 50 },
  );
});

const past = async (from: Replica): Promise<unknown> => ({
  history: await from.history(DOC, "k"),
  moments: await Promise.all(
    [0, 999, 1_000, 9_000].map((ms) => from.getAt(DOC, "k", START_MS + ms)),
  ),
});

test("the past is the same after a restart", async () => {
  const [clock, store] = [createVirtualClock(START_MS), createMemoryStore()];
  const replica = await open({ clock, store });
  for (let value = 0; value < 5; value++) {
    await replica.put(DOC, [{ key: "k", value, ttlMs: 2_500 }]);
    clock.advance(1_000);
  }
  clock.advance(4_000);
  const before = await past(replica);
  expect(before).toMatchObject({
    moments: [{ value: 0 }, { value: 0, ageMs: 999 }, { value: 1, ageMs: 0 }, undefined],
  });
  await replica.close();
  expect(await past(await open({ clock, store: await store.reopen() }))).toEqual(before);
});

describe("a batch that does not count", () => {
  test("is in the history with the reason, and in no moment's answer", async () => {
    const clock = createVirtualClock(START_MS + 60_000);
    const replica = await open({ clock });
    const trunk = forgeChain(4);
    for (const { bytes } of trunk) await replica.receive(bytes);
    expect((await replica.getAt(DOC, "forged", clock.now()))?.value).toBe(4);
    const records = [{ key: "other", seq: 3, hlc: hlcAt(3), valueJson: "3" }];
    await replica.receive(forge({ seq: 3, prev: trunk[1]?.hash ?? null, records }).bytes);
    await replica.addRecords({});
    const { entries } = await replica.history(DOC, "forged");
    expect(entries.map((each) => [each.seq, each.counts, each.reason])).toEqual([
      [4, false, "equivocation"],
      [3, false, "equivocation"],
      [2, true, undefined],
      [1, true, undefined],
    ]);
    expect((await replica.getAt(DOC, "forged", clock.now()))?.value).toBe(2);
    expect((await replica.getAt(DOC, "forged", START_MS + 1))?.value).toBe(1);
  });
});

describe("a question about the past is refused", () => {
  test.each([
    ["before 2020", 0, /before 2020/u],
    ["in seconds", START_MS / 1_000, /before 2020/u],
    ["in the future", START_MS + 1, /future/u],
    ["that is no whole number", START_MS - 0.5, /whole number/u],
    ["that is no number", Number.NaN, /whole number/u],
    ["without an end", Infinity, /whole number/u],
  ])("for a moment %s", async (_, ms, message) => {
    const replica = await open();
    for (const asked of [replica.getAt(DOC, "k", ms), replica.listAt({ doc: DOC }, ms)]) {
      await expect(asked).rejects.toMatchObject({ code: "INPUT_INVALID", field: "at" });
      await expect(asked).rejects.toThrow(message);
    }
  });

  test.each([0, 1_001, 1.5, -1, Number.NaN])("for a page of %d entries", async (limit) => {
    const asked = (await open()).history(DOC, "k", { limit });
    await expect(asked).rejects.toMatchObject({ code: "INPUT_INVALID", field: "limit" });
  });

  test.each(["", "1", "x", "0.1", "1.0", "-1.1", "1.1 ", "1e3.1", `${"9".repeat(16)}.1`])(
    "for the page behind %j",
    async (before) => {
      const asked = (await open()).history(DOC, "k", { before });
      await expect(asked).rejects.toMatchObject({ code: "INPUT_INVALID", field: "before" });
    },
  );

  test("for a list of no, or too many, facts", async () => {
    const asked = (await open()).listAt({ doc: DOC, limit: 0 }, START_MS);
    await expect(asked).rejects.toMatchObject({ code: "INPUT_INVALID", field: "limit" });
  });

  test("when the log has a hole", async () => {
    const store = createMemoryStore();
    const replica = await open({ store });
    for (let value = 0; value < 4; value++) await replica.put(DOC, [{ key: "k", value }]);
    await store.write([{ key: Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 3) }]);
    const corrupt = { code: "STORE_CORRUPT" };
    await expect(replica.history(DOC, "k")).rejects.toMatchObject(corrupt);
    await expect(replica.getAt(DOC, "k", START_MS)).rejects.toMatchObject(corrupt);
    await store.write([{ key: Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 1) }]);
    await store.write([{ key: Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 2) }]);
    await expect(replica.history(DOC, "k")).rejects.toMatchObject(corrupt);
    await expect(replica.getAt(DOC, "k", START_MS)).rejects.toMatchObject(corrupt);
  });
});

test("a key that nobody wrote, and a document that is not there, have no past", async () => {
  const replica = await open();
  await replica.put(DOC, [{ key: "k", value: 1 }]);
  const nothing = { entries: [], reachesBack: "all" };
  expect(await replica.history(DOC, "K")).toEqual(nothing);
  expect(await replica.history(parseDocumentName("line-2/press"), "k")).toEqual(nothing);
  expect(await replica.getAt(DOC, "K", START_MS)).toBeUndefined();
  expect(await replica.getAt(parseDocumentName("line-2/press-77"), "k", START_MS)).toBeUndefined();
});

test("only the document's own sections are opened, though its name stands in other bodies", async () => {
  const opened: VaultScope[] = [];
  const vault: Vault = {
    seal: (_scope, _place, plain) => plain,
    open: (scope, _place, sealed) => {
      opened.push(scope);
      return sealed;
    },
    takeChanges: () => [],
  };
  const other = parseDocumentName("other");
  const replica = await open({ vault });
  await Promise.all([
    replica.put(other, [{ key: "k", value: `doc ${DOC}` }]),
    replica.put(DOC, [{ key: "k", value: 1 }]),
  ]);
  await replica.put(other, [{ key: DOC, value: `doc${String.fromCodePoint(0x6e)}${DOC}` }]);
  expect((await replica.history(DOC, "k")).entries).toMatchObject([{ value: 1 }]);
  expect((await replica.getAt(DOC, "k", START_MS))?.value).toBe(1);
  expect(opened.map((scope) => scope.doc)).toEqual([DOC, DOC]);
});
