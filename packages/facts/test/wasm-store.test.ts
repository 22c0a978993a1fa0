// SPDX-License-Identifier: Apache-2.0
import { WasmStore, decodeFrame, encodeFrame, encodeState } from "@ctxmesh/facts";
import type { FactFrame, FactRecord } from "@ctxmesh/facts";
import { LIMITS } from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import { describe, expect, test, vi } from "vitest";
import { deviceOf, incarnationOf } from "./arbitraries.ts";
import { compareEngines, leavesOf, rootOf } from "./differential.ts";

const seed = new Uint8Array(WasmStore.seedBytes).fill(3);
const chain = { writer: deviceOf(1), incarnation: incarnationOf(1) };
const fact = (seq: number, key: string, valueJson = "1"): FactRecord => ({
  key,
  seq,
  hlc: seq as Hlc,
  valueJson,
});
const frameOf = (...records: FactRecord[]): FactFrame => ({
  from: (records[0]?.seq ?? 1) - 1,
  to: records.at(-1)?.seq ?? 1,
  records,
});
const withCode = (code: string): Error => expect.objectContaining({ code }) as Error;
const everything = new Map<string, number>();

test("says and refuses what the engine in TypeScript does, word for word and byte for byte, over 20,000 operations", () => {
  expect(() => {
    compareEngines(20_000, 1);
  }).not.toThrow();
}, 120_000);

describe("the digest", () => {
  test.each([0, 1, 2, 3, 7, 8, 9, 100])("of %i slots is the tree hash of their leaves", (count) => {
    const store = new WasmStore(seed);
    // Values of every length around the blocks of SHA-256.
    const records = Array.from({ length: count }, (_, i) =>
      fact(i + 1, `k${i}`, "1".repeat(i + 1)),
    );
    if (count > 0) store.applyFrame(chain, frameOf(...records));
    const leaves = leavesOf(store);
    expect(leaves).toHaveLength(count);
    expect(store.leaves()).toEqual(Uint8Array.from(leaves.flatMap((leaf) => [...leaf])));
    expect(store.digest()).toEqual(Uint8Array.from(rootOf(leaves)));
  });

  test("is the same in whatever order the frames came, and another when a value is another", () => {
    const frames = Array.from({ length: 20 }, (_, i) => frameOf(fact(i + 1, `k${i % 7}`)));
    const [one, other] = [new WasmStore(seed), new WasmStore(new Uint8Array(16))];
    for (const frame of frames) one.applyFrame(chain, frame);
    for (const frame of frames.toReversed()) other.applyFrame(chain, frame);
    expect(other.digest()).toEqual(one.digest());
    other.applyFrame(chain, frameOf(fact(21, "k0", "2")));
    expect(other.digest()).not.toEqual(one.digest());
  });
});

/** 10,000 facts of keys that nobody else has, as bytes. */
function freshKeys(round: number): Uint8Array {
  const records = Array.from({ length: LIMITS.factsPerFrame }, (_, i) => {
    const n = round * LIMITS.factsPerFrame + i;
    return fact(n + 1, `k${n.toString(36)}`);
  });
  return encodeFrame(frameOf(...records));
}

describe("what a document has no memory for", () => {
  const limit = 4_194_304;

  test("is no question: what is longer than keys and terms can be has no slots, and comes to nothing", () => {
    const store = new WasmStore(seed, limit);
    store.applyFrame(chain, frameOf({ ...fact(1, "k"), tags: ["t"], source: { model: "m" } }));
    const before = store.memoryBytes;
    const long = "k".repeat(2 * limit);
    expect(store.slots(long).statements).toEqual([]);
    const found = [
      store.keys({ prefix: long }),
      store.keysByTag(long),
      store.keysBySource(long),
      store.keys({ after: long }),
      store.keys({ after: `j${long}` }),
    ];
    expect(found.map((keys) => [...keys])).toEqual([[], [], [], [], ["k"]]);
    expect(store.memoryBytes - before).toBeLessThan(LIMITS.keyBytes * 8);
  });

  test("is refused whole, with the limit's name, however often it comes; what was there stays and can be read", () => {
    const store = new WasmStore(seed, limit);
    let round = 0;
    const fill = (): void => {
      for (; round < 1_000; round++) store.applyBytes(chain, freshKeys(round));
    };
    // Of the 10 million keys, no more are made than it takes.
    expect(fill).toThrow(/wasmDocumentBytes/u);
    expect(round).toBeGreaterThan(1);
    const before = [store.keyCount, store.slotCount, store.bytes, store.gaps, store.digest()];
    expect(store.keyCount).toBe(round * LIMITS.factsPerFrame);
    for (let again = 0; again < 50; again++) expect(fill).toThrow(withCode("LIMIT_EXCEEDED"));
    expect([store.keyCount, store.slotCount, store.bytes, store.gaps, store.digest()]).toEqual(
      before,
    );
    expect(store.memoryBytes).toBeLessThanOrEqual(limit);
    expect(store.slots("k0").statements).toHaveLength(1);
    expect(store.summary().get(chain.writer + chain.incarnation)).toBe(store.keyCount);
  });

  test("is refused as an input too, before it is looked at", () => {
    const store = new WasmStore(seed, limit);
    expect(() => store.applyBytes(chain, new Uint8Array(limit))).toThrow(
      withCode("LIMIT_EXCEEDED"),
    );
    expect(() => store.applyBytes(chain, new Uint8Array(1_000))).toThrow(
      withCode("FORMAT_INVALID"),
    );
    expect(store.applyBytes(chain, encodeFrame(frameOf(fact(1, "k"))))).toEqual(["k"]);
  });

  test("is not what was overwritten: memory stays that of the live slots", () => {
    const store = new WasmStore(seed, limit);
    for (let round = 0; round < 400; round++) {
      const records = Array.from({ length: 100 }, (_, i) =>
        fact(round * 100 + i + 1, `k${i}`, `"${"v".repeat((round * 37) % 900)}"`),
      );
      store.applyBytes(chain, encodeFrame(frameOf(...records)));
    }
    expect(store.slotCount).toBe(100);
    expect(store.memoryBytes).toBeLessThan(1_000_000);
  });
});

test("ten million records announced in a few bytes are refused", () => {
  const bytes = Uint8Array.of(1, 0, 0xff, 0xff, 0xff, 0x7f, 0x80, 0xad, 0xe2, 0x04, 0);
  const store = new WasmStore(seed);
  expect(() => store.applyBytes(chain, bytes)).toThrow(/record count/u);
  expect(() => store.merge(Uint8Array.of(1, 0xff, 0xff, 0xff, 0x7f))).toThrow(/chain count/u);
});

test("of a difference with a bad last frame, none is merged", () => {
  const source = new WasmStore(seed);
  for (let n = 1; n <= 3; n++) {
    source.applyFrame({ ...chain, incarnation: incarnationOf(n) }, frameOf(fact(n, `k${n}`)));
  }
  const bytes = source.encodeDiff(everything);
  const store = new WasmStore(seed);
  const bad = bytes.slice(0, -1);
  expect(() => store.merge(bad)).toThrow(withCode("FORMAT_INVALID"));
  expect(encodeState(store)).toEqual(encodeState(new WasmStore(seed)));
  expect(store.merge(bytes)).toHaveLength(3);
});

test("keys and terms with half a character are found nowhere, and prefixes that end in one find what begins so", () => {
  const store = new WasmStore(seed);
  store.applyFrame(chain, frameOf(fact(1, "a\u{1F980}"), fact(2, "a\uFFFD"), fact(3, "b")));
  expect(store.slots("a\uD83E")).toEqual({ statements: [], retractions: [] });
  expect([...store.keys({ prefix: "a\uD83E" })]).toEqual(["a\u{1F980}"]);
  expect([...store.keys({ after: "a\uD83E" })]).toEqual(["a\u{1F980}", "a\uFFFD", "b"]);
  expect([...store.keysByTag("\uD83E")]).toEqual([]);
});

test("a scan of thousands of keys is one of the moment when it began, though it is made in parts", () => {
  const store = new WasmStore(seed);
  const names = Array.from({ length: 1_000 }, (_, i) => `k${String(i).padStart(4, "0")}`);
  store.applyFrame(chain, frameOf(...names.map((name, i) => fact(i + 1, name))));
  const seen: string[] = [];
  for (const key of store.keys()) {
    seen.push(key);
    if (seen.length % 100 === 0) {
      store.applyFrame(chain, frameOf(fact(1_000 + seen.length, `${key}x`), fact(3_000, "kzz")));
    }
  }
  expect(seen).toEqual(names);
  expect([...store.keys()]).toHaveLength(1_011);
});

interface CoreInstance {
  readonly exports: { readonly memory: { readonly buffer: ArrayBuffer } };
}
/** The part of the platform that the compiler's libraries have for pages alone. */
interface Platform {
  readonly WebAssembly: { Instance: new (module: object) => CoreInstance };
}

test("a trap ends one document, which says so from then on, and no other", () => {
  const instances: CoreInstance[] = [];
  const { WebAssembly } = globalThis as unknown as Platform;
  const { Instance } = WebAssembly;
  vi.spyOn(WebAssembly, "Instance").mockImplementation(function (module) {
    const instance = new Instance(module);
    instances.push(instance);
    return instance;
  });
  const [broken, sound] = [new WasmStore(seed), new WasmStore(seed)];
  vi.restoreAllMocks();
  const frame = encodeFrame(frameOf(fact(1, "k")));
  for (const store of [broken, sound]) store.applyBytes(chain, frame);
  new Uint8Array(instances[0]?.exports.memory.buffer ?? new ArrayBuffer()).fill(0xff);
  const failed = expect.objectContaining({
    code: "INTERNAL",
    message: "facts: the engine of this document has failed",
    remedy: "open the document again from the log",
  }) as Error;
  const another = encodeFrame(frameOf(fact(2, "l")));
  expect(() => broken.applyBytes(chain, another)).toThrow(failed);
  for (const ask of [
    () => broken.keyCount,
    () => broken.slots("k"),
    () => [...broken.keys()],
    () => broken.applyBytes(chain, frame),
    () => broken.encodeDiff(everything),
  ]) {
    expect(ask).toThrow(failed);
  }
  expect(sound.applyBytes(chain, another)).toEqual(["l"]);
  expect(decodeFrame(frame).records).toHaveLength(1);
});
