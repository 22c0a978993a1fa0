// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what is urgent and what can wait are in chains of their own, and nothing else about facts changes: the last word of a
 * writer about a key wins, increments add up, and no batch waits for one of another lane.
 * Method: random writes in random groups; another replica gets each chain in order and the chains in any interleaving.
 */
import { decodeBatch } from "@ctxmesh/codec";
import type { Lane } from "@ctxmesh/codec";
import { parseDocumentName, toHex } from "@ctxmesh/model";
import type { Priority, RandomSource } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DOC, START_MS, applied, forge, open, spaceWith, us, writer } from "./mesh.ts";

const DOCS = [DOC, parseDocumentName("line-2/press-8")];
const PRIORITIES: readonly Priority[] = ["high", "normal", "low"];
const LANES: readonly (Lane | undefined)[] = ["high", undefined, "low"];

const write = fc.record({
  doc: fc.nat({ max: 1 }),
  key: fc.nat({ max: 3 }),
  priority: fc.nat({ max: 2 }),
  kind: fc.constantFrom("put", "delete", "increment"),
  /** Whether it is waited for before the next one. */
  waits: fc.boolean(),
});
type Write = typeof write extends fc.Arbitrary<infer T> ? T : never;

/** What a key holds after all writes, made one after the other. */
function modelOf(writes: readonly Write[]): Map<string, number | undefined> {
  const model = new Map<string, number | undefined>();
  for (const [i, { doc, key, kind }] of writes.entries()) {
    const name = `${String(doc)} ${String(key)}`;
    if (kind === "put") model.set(name, i);
    else if (kind === "delete") model.set(name, undefined);
    else model.set(name, (model.get(name) ?? 0) + 1);
  }
  return model;
}

async function make(
  replica: Replica,
  clock: VirtualClock,
  writes: readonly Write[],
): Promise<void> {
  let made: Promise<unknown>[] = [];
  for (const [i, { doc, key, priority, kind, waits }] of writes.entries()) {
    const name = `k${String(key)}`;
    const at = DOCS[doc] ?? DOC;
    const options = { priority: PRIORITIES[priority] ?? "normal" };
    made.push(
      kind === "delete"
        ? replica.delete(at, [name], options)
        : replica.put(
            at,
            [kind === "put" ? { key: name, value: i } : { key: name, value: 1, increment: true }],
            options,
          ),
    );
    if (!waits) continue;
    await Promise.all(made);
    made = [];
    clock.advance(1);
  }
  await Promise.all(made);
}

const answers = (replica: Replica): Map<string, unknown> =>
  new Map(
    DOCS.flatMap((doc, d) =>
      [0, 1, 2, 3].map((key) => [
        `${String(d)} ${String(key)}`,
        replica.get(doc, `k${String(key)}`)?.value,
      ]),
    ),
  );

const incarnationsOf = (replica: Replica): string[] =>
  replica.heads().map(({ incarnation }) => incarnation);

test("whatever the lanes, the last write of a key wins, increments add up, and any interleaving of the chains leads there", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(write, { minLength: 1, maxLength: 25 }),
      fc.infiniteStream(fc.nat()),
      async (writes, order) => {
        const clock = createVirtualClock(START_MS);
        const store = createMemoryStore();
        const replica = await open({ clock, store });
        const batches = applied(replica, "local");
        await make(replica, clock, writes);
        const expected = modelOf(writes);
        for (const [name, value] of answers(replica)) expect(value).toBe(expected.get(name));

        const chains = Map.groupBy(batches, (bytes) => decodeBatch(bytes).header.incarnation);
        const other = await open({ device: writer, clock });
        while (chains.size > 0) {
          const names = [...chains.keys()];
          const name = names[(order.next().value ?? 0) % names.length];
          const chain = name === undefined ? undefined : chains.get(name);
          if (name === undefined || chain === undefined) break;
          const next = chain.shift() ?? new Uint8Array();
          if (chain.length === 0) chains.delete(name);
          expect(await other.receive(next)).toEqual({ kind: "accepted" });
        }
        expect(toHex(other.frontierDigest())).toBe(toHex(replica.frontierDigest()));
        expect(other.snapshot().leaves).toEqual(replica.snapshot().leaves);
        await replica.close();
        const again = await open({ clock, store: await store.reopen() });
        expect(answers(again)).toEqual(answers(other));
      },
    ),
    { numRuns: 60 },
  );
});

describe("a lane", () => {
  test("is a chain of its own, that its first write begins and that nobody names", async () => {
    const replica = await open();
    const batches = applied(replica);
    await replica.put(DOC, [{ key: "a", value: 1 }]);
    expect(incarnationsOf(replica)).toEqual([replica.incarnation]);
    const urgent = await replica.put(DOC, [{ key: "b", value: 2 }], { priority: "high" });
    const lazy = await replica.put(DOC, [{ key: "c", value: 3 }], { priority: "low" });
    await replica.receive(forge().bytes);
    await replica.put(DOC, [{ key: "d", value: 4 }]);
    const more = await replica.put(DOC, [{ key: "e", value: 5 }], { priority: "high" });
    expect([urgent.seq, lazy.seq, more.seq]).toEqual([1, 1, 2]);
    expect(more.incarnation).toBe(urgent.incarnation);
    const headers = batches.map((bytes) => decodeBatch(bytes).header);
    expect(headers.map(({ lane }) => lane)).toEqual([
      undefined,
      "high",
      "low",
      undefined,
      undefined,
      "high",
    ]);
    // The other writer's, which is in no lane.
    expect(headers.flatMap(({ deps }) => deps)).toEqual([forge().hash]);
    expect(new Set(incarnationsOf(replica))).toEqual(
      new Set([
        replica.incarnation,
        urgent.incarnation,
        lazy.incarnation,
        forge().header.incarnation,
      ]),
    );
  });

  test("is written in the order of priority when a group has all of them", async () => {
    const replica = await open();
    const batches = applied(replica);
    await Promise.all(
      (["low", "normal", "high"] as const).map((priority) =>
        replica.put(DOC, [{ key: priority, value: 1 }], { priority }),
      ),
    );
    expect(batches.map((bytes) => decodeBatch(bytes).header.lane)).toEqual(LANES);
  });

  test("has clocks that rise over all lanes, so that none is used twice", async () => {
    const replica = await open();
    const receipts = await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        replica.put(DOC, [{ key: "k", value: i }], { priority: PRIORITIES[i % 3] ?? "normal" }),
      ),
    );
    const clocks = receipts.map(({ hlc }) => hlc);
    expect(clocks).toEqual([...new Set(clocks)].toSorted((a, b) => a - b));
    expect(replica.get(DOC, "k")?.value).toBe(29);
  });

  test("is refused for a priority that there is not", async () => {
    const replica = await open();
    const put = replica.put(DOC, [{ key: "k", value: 1 }], { priority: "urgent" as Priority });
    await expect(put).rejects.toMatchObject({ code: "INPUT_INVALID", field: "priority" });
    expect(replica.heads()).toEqual([]);
  });

  test("reads like any other chain: what it said is in the history, and a reopened replica begins others", async () => {
    const store = createMemoryStore();
    const replica = await open({ store });
    await replica.put(DOC, [{ key: "k", value: 1 }], { priority: "low" });
    await replica.put(DOC, [{ key: "k", value: 2 }], { priority: "high" });
    const { entries } = await replica.history(DOC, "k");
    expect(entries).toHaveLength(2);
    await replica.close();
    const again = await open({ store: await store.reopen() });
    await again.put(DOC, [{ key: "k", value: 3 }], { priority: "low" });
    expect(again.heads()).toHaveLength(3);
    expect(again.get(DOC, "k")?.value).toBe(3);
  });
});

/** Randomness that two clones share for their first draws: the incarnation, and that of one lane. */
function clonedRandom(copy: number): RandomSource {
  const shared = createSeededRandom(77);
  const own = createSeededRandom(1_000 + copy);
  let drawn = 0;
  return { bytes: (length) => (drawn++ < 2 ? shared : own).bytes(length) };
}

test("a lane that two copies of a process have written is proven to fork, and no fact of it is lost", async () => {
  const clock = createVirtualClock(START_MS);
  const options = { clock, space: spaceWith([[us, "write"]]) };
  const a = await open({ ...options, random: clonedRandom(1) });
  const b = await open({ ...options, random: clonedRandom(2) });
  const fromB = applied(b);
  await a.put(DOC, [{ key: "from-a", value: 1 }], { priority: "high" });
  await a.put(DOC, [{ key: "lazy", value: 1 }], { priority: "low" });
  clock.advance(5);
  await b.put(DOC, [{ key: "from-b", value: 2 }], { priority: "high" });
  for (const bytes of fromB) await a.receive(bytes);
  await a.addRecords({});
  expect(a.evidence()).toHaveLength(1);
  expect(a.list({}).map(({ key }) => key)).toEqual(["from-a", "lazy"]);
  const receipt = await a.put(DOC, [{ key: "after", value: 3 }], { priority: "high" });
  expect(receipt.seq).toBe(1);
  expect(a.get(DOC, "after")?.value).toBe(3);
});
