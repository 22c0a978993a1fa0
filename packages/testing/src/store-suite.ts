// SPDX-License-Identifier: Apache-2.0
/** The acceptance suite of the `Store` port. */
import { hash } from "node:crypto";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Store, StoreRange } from "@ctxmesh/model";
import { checkAgainstModel, storeCommands } from "./store-model.ts";

/** A store under test. */
export interface StoreUnderTest {
  /** Empty, and open. */
  readonly store: Store;
  /** Closes the store, or the one reopened last, and opens the same data again. */
  reopen(): Promise<Store>;
  /** Closes it and removes all that was made for it. */
  destroy(): Promise<void>;
}

/** Range of every key a caller may use. */
const ALL: StoreRange = { gte: Uint8Array.of(1), lt: new Uint8Array(64).fill(0xff) };
/** Keys in the order of unsigned bytes. */
const SORTED_KEYS = [
  [0x01],
  [0x01, 0x00],
  [0x7f],
  [0x7f, 0xff],
  [0x80],
  [0x80, 0x00, 0x00],
  [0xc3, 0xa9],
  [0xff],
  [0xff, 0x00],
  [0xff, 0xff],
].map((key) => Uint8Array.from(key));
const LARGE_VALUE_BYTES = 1_048_576;
const MODEL_RUNS = 40;
const SLOW_MS = 60_000;

/**
 * Registers the acceptance tests of the `Store` port with Vitest, under `name`. `open` is called
 * before each test (and for each run of the model property, of which there are `modelRuns`) and returns an empty store.
 */
export function runStoreTests(
  name: string,
  open: () => Promise<StoreUnderTest>,
  modelRuns: number = MODEL_RUNS,
): void {
  describe(`store port: ${name}`, () => {
    let opened: StoreUnderTest;
    beforeEach(async () => {
      opened = await open();
    });
    afterEach(() => opened.destroy());

    describe("writes", () => {
      writeTests(() => opened);
    });
    describe("records", () => {
      recordTests(() => opened.store);
    });
    describe("order and bounds of scans", () => {
      boundsTests(() => opened.store);
    });
    describe("scans beside writes", () => {
      viewTests(() => opened.store);
    });
    describe("closing", () => {
      closeTests(() => opened);
    });

    test(
      "any run of writes, reads, scans and reopens equals a sorted map",
      { timeout: SLOW_MS },
      async () => {
        const property = fc.asyncProperty(storeCommands(), async (commands) => {
          const fresh = await open();
          try {
            await checkAgainstModel(fresh, commands);
          } finally {
            await fresh.destroy();
          }
        });
        await fc.assert(property, { numRuns: modelRuns });
        expect.hasAssertions();
      },
    );
  });
}

function writeTests(opened: () => StoreUnderTest): void {
  test("a read sees every acknowledged write, also after a reopen", async () => {
    let { store } = opened();
    await store.write([put("a", "1"), put("b", "2"), put("c", "")]);
    await store.write([put("a", "3"), del("b")]);
    for (const reopened of [false, true]) {
      if (reopened) store = await opened().reopen();
      expect(text(await store.get(bytes("a")))).toBe("3");
      expect(await store.get(bytes("b"))).toBeUndefined();
      expect(text(await store.get(bytes("c")))).toBe("");
      expect(await store.get(bytes("never"))).toBeUndefined();
    }
  });

  test("the changes of one write apply in order, and writes in call order without waiting", async () => {
    const { store } = opened();
    const writes = Array.from({ length: 60 }, (_, i) =>
      store.write([
        put("k", `${String(i)}-first`),
        put("k", String(i)),
        put(`own-${String(i)}`, "x"),
      ]),
    );
    writes.push(store.write([put("gone", "x"), del("gone")]), store.write([]));
    await Promise.all(writes);
    expect(text(await store.get(bytes("k")))).toBe("59");
    expect(await store.get(bytes("gone"))).toBeUndefined();
    expect(await keysOf(store, { gte: bytes("own-"), lt: bytes("own.") })).toHaveLength(60);
  });

  test("a write with a key that is not allowed changes nothing, and the store goes on", async () => {
    const { store } = opened();
    for (const key of [new Uint8Array(0), Uint8Array.of(0), Uint8Array.of(0, 1)]) {
      const write = store.write([put("a", "1"), { key, value: bytes("x") }, put("b", "1")]);
      await expect(write).rejects.toMatchObject({ code: "INPUT_INVALID" });
      await expect(store.get(key)).rejects.toMatchObject({ code: "INPUT_INVALID" });
    }
    expect(await keysOf(store, ALL)).toEqual([]);
    await store.write([put("a", "2")]);
    expect(text(await store.get(bytes("a")))).toBe("2");
  });
}

function recordTests(store: () => Store): void {
  test("the caller may use its buffers again after the call, and what it gets is its own", async () => {
    const key = bytes("key");
    const value = bytes("value");
    const first = store().write([put("other", "x")]);
    const second = store().write([{ key, value }]);
    key.fill(0x7a);
    value.fill(0x7a);
    await Promise.all([first, second]);
    const got = await store().get(bytes("key"));
    expect(text(got)).toBe("value");
    got?.fill(0);
    expect(text(await store().get(bytes("key")))).toBe("value");
  });

  test("a value of 1 MiB comes back byte for byte", async () => {
    const large = Uint8Array.from(
      { length: LARGE_VALUE_BYTES },
      (_, i) => (i * 31 + (i >> 9)) & 0xff,
    );
    await store().write([{ key: bytes("large"), value: large }]);
    const got = await store().get(bytes("large"));
    expect(got?.length).toBe(LARGE_VALUE_BYTES);
    expect(hash("sha256", got ?? "")).toBe(hash("sha256", large));
  });
}

function boundsTests(store: () => Store): void {
  const fill = (): Promise<void> => fillSorted(store());

  test("keys come in the order of unsigned bytes, or the reverse", async () => {
    await fill();
    expect(await keysOf(store(), ALL)).toEqual(SORTED_KEYS.map(hexOf));
    expect(await keysOf(store(), { ...ALL, reverse: true })).toEqual(
      SORTED_KEYS.map(hexOf).toReversed(),
    );
  });

  test("a range has its lower bound and not its upper one", async () => {
    await fill();
    const [low = ALL.gte, high = ALL.lt] = [SORTED_KEYS[2], SORTED_KEYS[7]];
    const expected = SORTED_KEYS.slice(2, 7).map(hexOf);
    expect(await keysOf(store(), { gte: low, lt: high })).toEqual(expected);
    expect(await keysOf(store(), { gte: low, lt: high, reverse: true })).toEqual(
      expected.toReversed(),
    );
    expect(await keysOf(store(), { gte: low, lt: low })).toEqual([]);
    expect(await keysOf(store(), { gte: high, lt: low })).toEqual([]);
    expect(await keysOf(store(), { gte: high, lt: low, reverse: true })).toEqual([]);
  });

  test("empty bounds and bounds in the reserved prefix show the caller's keys only", async () => {
    await fill();
    const empty = new Uint8Array(0);
    expect(await keysOf(store(), { gte: empty, lt: ALL.lt })).toEqual(SORTED_KEYS.map(hexOf));
    expect(await keysOf(store(), { gte: Uint8Array.of(0), lt: Uint8Array.of(1) })).toEqual([]);
    expect(await keysOf(store(), { gte: empty, lt: empty })).toEqual([]);
  });

  test("limit cuts the range at its first entries in scan order; other limits than counts are refused", async () => {
    await fill();
    const all = SORTED_KEYS.map(hexOf);
    for (const limit of [0, 1, 3, SORTED_KEYS.length, SORTED_KEYS.length + 5]) {
      expect(await keysOf(store(), { ...ALL, limit })).toEqual(all.slice(0, limit));
      expect(await keysOf(store(), { ...ALL, limit, reverse: true })).toEqual(
        all.toReversed().slice(0, limit),
      );
    }
    for (const limit of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      const scanned = keysOf(store(), { ...ALL, limit });
      await expect(scanned).rejects.toMatchObject({ code: "INPUT_INVALID" });
    }
  });
}

function viewTests(store: () => Store): void {
  test("a reader sees a write as a whole or not at all", async () => {
    const progress = { done: false };
    const writing = (async () => {
      for (let i = 0; i < 40; i++) await store().write([put("x", String(i)), put("y", String(i))]);
      progress.done = true;
    })();
    const seen: string[][] = [];
    while (!progress.done) seen.push(await valuesOf(store(), ALL));
    await writing;
    expect(seen.filter(([x, y]) => x !== y)).toEqual([]);
    expect(await valuesOf(store(), ALL)).toEqual(["39", "39"]);
  });

  test("a scan shows the store as of the call, whatever is written while it runs", async () => {
    const count = 3_000;
    await store().write(Array.from({ length: count }, (_, i) => put(numbered(i), "old")));
    const scan = store().scan(ALL);
    await store().write(
      Array.from({ length: count }, (_, i) =>
        i % 2 === 0 ? put(numbered(i), "new") : del(numbered(i)),
      ),
    );
    const values: string[] = [];
    for await (const [, value] of scan) {
      values.push(text(value) ?? "");
      if (values.length === 1_000) await store().write([put("key-late", "new")]);
    }
    expect(values).toHaveLength(count);
    expect(new Set(values)).toEqual(new Set(["old"]));
    expect(await valuesOf(store(), ALL)).toHaveLength(count / 2 + 1);
  });

  test("a scan left early leaves the store usable", async () => {
    await fillSorted(store());
    for await (const [key] of store().scan(ALL)) {
      expect(hexOf(key)).toBe("01");
      break;
    }
    expect(await keysOf(store(), ALL)).toHaveLength(SORTED_KEYS.length);
  });
}

function closeTests(opened: () => StoreUnderTest): void {
  test("close waits for the writes under way, which are kept", async () => {
    const { store } = opened();
    const writes = Array.from({ length: 20 }, (_, i) => store.write([put(`k${String(i)}`, "x")]));
    let settled = 0;
    for (const write of writes) void write.then(() => (settled += 1));
    await store.close();
    expect(settled).toBe(writes.length);
    expect(await keysOf(await opened().reopen(), ALL)).toHaveLength(20);
  });

  test("closing again, also at the same time, does nothing", async () => {
    const { store } = opened();
    await Promise.all([store.close(), store.close()]);
    await expect(store.close()).resolves.toBeUndefined();
  });

  test("after close, every call is refused with CLOSED", async () => {
    const { store } = opened();
    await store.write([put("a", "1")]);
    const started = store.scan(ALL)[Symbol.asyncIterator]();
    await store.close();
    const closed = { code: "CLOSED" };
    await expect(store.write([put("a", "2")])).rejects.toMatchObject(closed);
    await expect(store.get(bytes("a"))).rejects.toMatchObject(closed);
    await expect(keysOf(store, ALL)).rejects.toMatchObject(closed);
    await expect(started.next()).rejects.toMatchObject(closed);
  });
}

const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);
const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : new TextDecoder().decode(value);
const put = (key: string, value: string): { key: Uint8Array; value: Uint8Array } => ({
  key: bytes(key),
  value: bytes(value),
});
const del = (key: string): { key: Uint8Array } => ({ key: bytes(key) });
const hexOf = (value: Uint8Array): string => Buffer.from(value).toString("hex");

const numbered = (i: number): string => `key-${String(i).padStart(5, "0")}`;
const fillSorted = (store: Store): Promise<void> =>
  store.write(SORTED_KEYS.toReversed().map((key) => ({ key, value: key })));

async function keysOf(store: Store, range: StoreRange): Promise<string[]> {
  const keys: string[] = [];
  for await (const [key] of store.scan(range)) keys.push(hexOf(key));
  return keys;
}

async function valuesOf(store: Store, range: StoreRange): Promise<string[]> {
  const values: string[] = [];
  for await (const [, value] of store.scan(range)) values.push(text(value) ?? "");
  return values;
}
