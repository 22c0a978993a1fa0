// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: reading the past costs the rest of the node little, ends when nobody wants it, and knows where it begins.
 * Method: the reader over a real log whose scans are held back, and over logs that are pruned, also while it reads.
 */
import { JS_ENGINE } from "@ctxmesh/facts";
import { LIMITS, MeshError, parseDocumentName } from "@ctxmesh/model";
import type { Store } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createVirtualClock, silentLogger } from "@ctxmesh/testing";
import type { MemoryStore, VirtualClock } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { DocumentEngines } from "../src/document-engines.ts";
import { History } from "../src/history.ts";
import { documentRange, logKey } from "../src/layout.ts";
import { openState } from "../src/open.ts";
import { DOC, START_MS, forge, forgeChain, hlcAt, open, space, us, verifier } from "./mesh.ts";

/** The history of a store with one fact, read through a store whose scans wait until they are let go. */
async function slowHistory(): Promise<{
  history: History;
  running: () => number;
  peak: () => number;
  release: () => void;
}> {
  const store = createMemoryStore();
  const replica = await open({ store });
  for (const value of [1, 2, 3]) await replica.put(DOC, [{ key: "k", value }]);
  await replica.close();
  const engines = new DocumentEngines(JS_ENGINE, silentLogger);
  const logger = silentLogger;
  const core = await openState({ store, space, self: us.key, verifier, logger, engines });
  const { promise, resolve } = Promise.withResolvers<void>();
  let running = 0;
  let peak = 0;
  const slow: Store = {
    write: (changes) => store.write(changes),
    get: (name) => store.get(name),
    close: () => store.close(),
    async *scan(range) {
      peak = Math.max(peak, ++running);
      try {
        for await (const entry of store.scan(range)) {
          await promise;
          yield entry;
        }
      } finally {
        running--;
      }
    },
  };
  const clock = createVirtualClock(START_MS);
  const history = new History({ store: slow, clock, core: () => core });
  return { history, running: () => running, peak: () => peak, release: resolve };
}

describe("reads of the past", () => {
  test("are two at a time; the others wait in order, and past the limit are told to come again", async () => {
    const { history, running, peak, release } = await slowHistory();
    const ended: number[] = [];
    const most = LIMITS.historyScans + LIMITS.queuedHistoryScans;
    const reads = Array.from({ length: most }, async (_, i) => {
      await history.page(DOC, "k", {});
      ended.push(i);
    });
    await expect(history.page(DOC, "k", {})).rejects.toMatchObject({ code: "ABORTED" });
    expect(running()).toBe(LIMITS.historyScans);
    release();
    await Promise.all(reads);
    expect(peak()).toBe(LIMITS.historyScans);
    expect(ended).toEqual(reads.map((_, i) => i));
    expect(await history.page(DOC, "k", { limit: 1 })).toMatchObject({ entries: [{ value: 3 }] });
  });

  test("end when nobody wants them any more, whether they run or wait, and leave their turn to the next", async () => {
    const { history, running, release } = await slowHistory();
    const why = new MeshError("CLOSED", "the node is shutting down");
    const calls = [why, "gone", undefined, why].map((reason) => {
      const controller = new AbortController();
      const { signal } = controller;
      const call = history.factsAt(DOC, "k", START_MS, { signal });
      return { call, abort: () => controller.abort(reason) };
    });
    const left = history.page(DOC, "k", {});
    const ends = calls.map(({ call }) => call.catch((error: unknown) => error));
    for (const { abort } of calls) abort();
    const waited = await Promise.all(ends.slice(LIMITS.historyScans));
    expect(waited).toMatchObject([{ code: "ABORTED" }, why]);
    expect(running()).toBe(LIMITS.historyScans);
    release();
    expect(await Promise.all(ends)).toMatchObject([why, { code: "ABORTED" }, ...waited]);
    expect((await left).entries).toHaveLength(3);
    expect(running()).toBe(0);
    const aborted = { signal: AbortSignal.abort(why) };
    await expect(history.page(DOC, "k", {}, aborted)).rejects.toBe(why);
  });
});

/** Opens our replica on a store whose reads of documents' states go through `around`. */
async function openAround(
  store: MemoryStore,
  clock: VirtualClock,
  around: (read: () => ReturnType<Store["get"]>) => ReturnType<Store["get"]>,
): Promise<Replica> {
  const watched: Store = {
    write: (changes) => store.write(changes),
    scan: (range) => store.scan(range),
    close: () => store.close(),
    get: (key) => (key[0] === documentRange.gte[0] ? around(() => store.get(key)) : store.get(key)),
  };
  return open({ store: watched, clock });
}

const everything = (): number => Infinity;

describe("with a pruned log", () => {
  test("a moment since then is told from the state that was left, an earlier one is refused; the history starts behind", async () => {
    const clock = createVirtualClock(START_MS);
    const replica = await open({ clock });
    for (let value = 0; value < 4; value++) {
      await replica.put(DOC, [{ key: "k", value }]);
      clock.advance(10);
    }
    const valueAt = async (ms: number): Promise<unknown> =>
      (await replica.getAt(DOC, "k", START_MS + ms))?.value;
    expect(await replica.prune({ upTo: everything, beforeMs: START_MS + 20 })).toMatchObject({
      batches: 2,
    });
    expect(await Promise.all([10, 19, 20, 29, 30].map(valueAt))).toEqual([1, 1, 2, 2, 3]);
    await expect(valueAt(9)).rejects.toMatchObject({
      code: "HISTORY_PRUNED",
      field: "at",
      remedy: expect.stringContaining("2026-01-01T00:00:00.010Z") as string,
    });
    await expect(replica.listAt({ doc: DOC }, START_MS)).rejects.toMatchObject({
      code: "HISTORY_PRUNED",
    });
    expect(await replica.history(DOC, "k")).toMatchObject({
      entries: [{ value: 3 }, { value: 2 }],
      reachesBack: { sinceMs: START_MS + 11 },
    });
    expect(await replica.getAt(parseDocumentName("other"), "k", START_MS + 11)).toBeUndefined();
  });

  test("what did not count stays in the history", async () => {
    const clock = createVirtualClock(START_MS + 1_000);
    const replica = await open({ clock });
    const trunk = forgeChain(4);
    for (const { bytes } of trunk) await replica.receive(bytes);
    const records = [{ key: "other", seq: 3, hlc: hlcAt(3), valueJson: "3" }];
    await replica.receive(forge({ seq: 3, prev: trunk[1]?.hash ?? null, records }).bytes);
    await replica.addRecords({});
    await replica.put(DOC, [{ key: "forged", value: "ours" }]);
    expect(await replica.prune({ upTo: everything, beforeMs: Infinity })).toMatchObject({
      batches: 3,
    });
    const { entries } = await replica.history(DOC, "forged");
    expect(entries).toMatchObject([
      { seq: 4, counts: false, reason: "equivocation" },
      { seq: 3, counts: false, reason: "equivocation" },
    ]);
    expect((await replica.getAt(DOC, "forged", clock.now()))?.value).toBe("ours");
  });

  test("what is pruned and not removed yet is not told any more", async () => {
    const [store, clock] = [createMemoryStore(), createVirtualClock(START_MS)];
    const replica = await open({ store, clock });
    for (const value of [1, 2, 3]) {
      await replica.put(DOC, [{ key: "k", value }]);
      clock.advance(10);
    }
    const left = [logKey(1), logKey(2)];
    const values = await Promise.all(left.map((key) => store.get(key)));
    await replica.prune({ upTo: everything, beforeMs: START_MS + 20 });
    const past = async (): Promise<unknown> => [
      await replica.history(DOC, "k"),
      await replica.getAt(DOC, "k", START_MS + 10),
    ];
    const before = await past();
    await store.write(left.map((key, i) => ({ key, value: values[i] ?? new Uint8Array() })));
    expect(await past()).toEqual(before);
    expect(before).toMatchObject([{ entries: [{ value: 3 }] }, { value: 2 }]);
  });

  test.each([
    [
      "while",
      async (read: () => ReturnType<Store["get"]>, prune: () => Promise<unknown>) => {
        const state = await read();
        await prune();
        return state;
      },
    ],
    [
      "before",
      async (read: () => ReturnType<Store["get"]>, prune: () => Promise<unknown>) => {
        await prune();
        return read();
      },
    ],
  ])("a read begins anew when more is pruned %s it reads that state", async (_, order) => {
    const [store, clock] = [createMemoryStore(), createVirtualClock(START_MS)];
    let prune: (() => Promise<unknown>) | undefined;
    const replica = await openAround(store, clock, (read) => {
      const now = prune;
      prune = undefined;
      return now === undefined ? read() : order(read, now);
    });
    for (let value = 0; value < 5; value++) {
      await replica.put(DOC, [{ key: `k${String(value)}`, value }]);
      clock.advance(10);
    }
    const before = replica.list({ doc: DOC });
    const pruneTo = (ms: number): Promise<unknown> =>
      replica.prune({ upTo: everything, beforeMs: START_MS + ms });
    await pruneTo(20);
    prune = () => pruneTo(40);
    expect(await replica.listAt({ doc: DOC }, clock.now())).toEqual(before);
    expect(prune).toBeUndefined();
    expect(replica.retention().prunedBatches).toBe(4);
    prune = () => pruneTo(50);
    const since = { code: "HISTORY_PRUNED" };
    await expect(replica.getAt(DOC, "k0", START_MS + 35)).rejects.toMatchObject(since);
  });
});
