// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: an engine that fails takes the facts of one document with it, for a moment, and nothing else; and it fails once.
 * Method: real instances of WebAssembly whose memory is overwritten, so that the next call traps or goes astray; what comes of it is
 * held against a replica in JavaScript that was given the same batches.
 */
import { JS_ENGINE, WasmStore, hasWasm } from "@ctxmesh/facts";
import type { ChainId, ChangedKeys, FactEngine, KeySlots, PackedFrame } from "@ctxmesh/facts";
import { MeshError, parseDocumentName } from "@ctxmesh/model";
import type { Store } from "@ctxmesh/model";
import { createMemoryStore, createRecordingLogger, createSeededRandom } from "@ctxmesh/testing";
import { describe, expect, test, vi } from "vitest";
import { Documents } from "../src/documents.ts";
import { documentRange } from "../src/layout.ts";
import { follow, read } from "./changes-kit.ts";
import { OTHER, behind, factsOf, fragile, pair, readsOf, settled } from "./engine-kit.ts";
import type { Platform } from "./engine-kit.ts";
import { DOC, applied, open, writer } from "./mesh.ts";

describe("when the engine of a document fails", () => {
  test("in taking a batch: the batch is kept, sync goes on, and the document is read again from the log", async () => {
    const { replica, twin, deliver, weak, reloads } = await pair();
    await deliver(DOC, 1);
    await deliver(OTHER, 1);
    weak.ruin();
    await deliver(DOC, 4);
    await deliver(OTHER, 4);
    await deliver(DOC, 20);
    await settled(replica);
    expect(reloads()).toBe(1);
    expect(readsOf(replica)).toEqual(readsOf(twin));
    expect(replica.frontierDigest()).toEqual(twin.frontierDigest());
  });

  test("in reading: that document says so, others answer, and so does it a moment later", async () => {
    const { replica, twin, deliver, weak, reloads } = await pair();
    await deliver(DOC, 1);
    await deliver(OTHER, 1);
    weak.ruin();
    expect(() => replica.candidates(DOC, "k1")).toThrow(behind);
    for (const ask of [
      () => replica.get(DOC, "k1"),
      () => replica.list({ doc: DOC }),
      () => replica.snapshot(),
    ]) {
      expect(ask).toThrow(behind);
    }
    expect(replica.get(OTHER, "k1")?.value).toBe(1);
    expect(replica.count()).toMatchObject({ facts: 5 });
    await settled(replica);
    expect(reloads()).toBe(1);
    expect(readsOf(replica)).toEqual(readsOf(twin));
  });

  test("it is not tried again: the other engine keeps the document from then on", async () => {
    const { replica, twin, deliver, weak, reloads } = await pair();
    await deliver(DOC, 1);
    for (let i = 0; i < 5; i++) {
      weak.ruin();
      await deliver(DOC, 10 * i);
      await settled(replica);
    }
    expect([weak.made(), reloads()]).toEqual([1, 1]);
    expect(readsOf(replica)).toEqual(readsOf(twin));
  });

  test("watchers are told the keys of the document once it is there again", async () => {
    const { replica, deliver, weak } = await pair();
    const told: string[] = [];
    replica.omitted.onAdded(({ changed }) => told.push(...changed.map(({ key }) => key)));
    await deliver(DOC, 1);
    weak.ruin();
    await deliver(DOC, 6);
    await settled(replica);
    expect(told.toSorted()).toEqual(
      factsOf(1, 10)
        .map(({ key }) => key)
        .toSorted(),
    );
  });

  test("a write that adds to a number there is refused, and those beside it are made", async () => {
    const { replica, weak } = await pair();
    await replica.put(DOC, [{ key: "n", value: 2, increment: true }]);
    await replica.put(OTHER, [{ key: "n", value: 1 }]);
    weak.ruin();
    const [added, put] = await Promise.allSettled([
      replica.put(DOC, [{ key: "n", value: 3, increment: true }]),
      replica.put(OTHER, [{ key: "m", value: 1 }]),
    ]);
    expect(added).toMatchObject({ status: "rejected", reason: { code: "READ_BEHIND" } });
    expect(put).toMatchObject({ status: "fulfilled" });
    await replica.put(DOC, [{ key: "n", value: 3, increment: true }]);
    expect(replica.get(DOC, "n")?.value).toBe(5);
  });

  test("while a group of writes is made: a write whose number was read before is made, and the others are refused", async () => {
    let isWeak = false;
    class Weak extends WasmStore {
      override slots(key: string): KeySlots {
        if (isWeak && key === "b") throw new Error("unreachable");
        return super.slots(key);
      }
    }
    const replica = await open({ factEngine: () => new Weak(new Uint8Array(16)) });
    const add = async (key: string) => replica.put(DOC, [{ key, value: 3, increment: true }]);
    await Promise.all([add("a"), add("b")]);
    isWeak = true;
    const outcomes = await Promise.allSettled([add("a"), add("b"), add("a")]);
    expect(outcomes).toMatchObject([
      { status: "fulfilled" },
      { status: "rejected", reason: { code: "READ_BEHIND" } },
      { status: "rejected", reason: { code: "READ_BEHIND" } },
    ]);
    await settled(replica);
    expect(["a", "b"].map((key) => replica.get(DOC, key)?.value)).toEqual([6, 3]);
  });

  test("with a checkpoint under way or due: none is made of what is lost, and the next one is whole", async () => {
    const store = createMemoryStore();
    const { replica, twin, deliver, weak } = await pair({ store });
    for (let i = 0; i < 3; i++) {
      await deliver(DOC, 10 * i);
      await deliver(OTHER, 10 * i);
    }
    await replica.checkpoint();
    await deliver(DOC, 50);
    weak.ruin();
    await replica.checkpoint();
    await deliver(DOC, 60);
    await settled(replica);
    await replica.checkpoint();
    expect(readsOf(replica)).toEqual(readsOf(twin));
    await replica.close();
    const again = await open({ store, factEngine: JS_ENGINE });
    expect(readsOf(again)).toEqual(readsOf(twin));
    await again.verify();
  });

  test("and a checkpoint is asked for before the document is there again: the next one has all documents", async () => {
    const store = createMemoryStore();
    const { replica, twin, deliver, weak } = await pair({ store });
    await deliver(DOC, 1);
    await deliver(OTHER, 1);
    await replica.checkpoint();
    await deliver(OTHER, 50);
    weak.ruin();
    const asked: Promise<void>[] = [];
    replica.onApplied(() => asked.push(replica.checkpoint()));
    await deliver(DOC, 60);
    await Promise.all(asked);
    await replica.close();
    const again = await open({ store, factEngine: JS_ENGINE });
    expect(readsOf(again)).toEqual(readsOf(twin));
  });

  test.each([0, 1, 2, 3, 4, 5])(
    "%i steps before a checkpoint is begun, or behind that: the next one has all documents",
    async (steps) => {
      const store = createMemoryStore();
      const { replica, twin, deliver, weak } = await pair({ store });
      await deliver(DOC, 1);
      await deliver(OTHER, 1);
      await replica.checkpoint();
      await deliver(OTHER, 50);
      await deliver(DOC, 50);
      weak.ruin();
      const asked = replica.checkpoint();
      for (let i = 0; i < steps; i++) await Promise.resolve();
      expect(() => replica.candidates(DOC, "k1")).toThrow(behind);
      await asked;
      await replica.checkpoint();
      await replica.close();
      const again = await open({ store, factEngine: JS_ENGINE });
      expect(readsOf(again)).toEqual(readsOf(twin));
    },
  );

  test("and the log is pruned while the document is read again: nothing of it is missed", async () => {
    const memory = createMemoryStore();
    // What is read of a checkpoint is answered late, once this is set.
    let late: Promise<void> | undefined;
    const asked = Promise.withResolvers<void>();
    const store: Store = {
      write: async (changes) => memory.write(changes),
      scan: (range) => memory.scan(range),
      close: async () => memory.close(),
      get: async (key) => {
        const found = await memory.get(key);
        if (late !== undefined && key[0] === documentRange.gte?.[0]) {
          asked.resolve();
          await late;
        }
        return found;
      },
    };
    const { replica, twin, deliver, weak } = await pair({ store });
    await deliver(DOC, 1);
    await replica.checkpoint();
    await deliver(DOC, 20);
    await deliver(DOC, 40);
    const { promise, resolve } = Promise.withResolvers<void>();
    late = promise;
    weak.ruin();
    expect(() => replica.candidates(DOC, "k1")).toThrow(behind);
    await asked.promise;
    const everything = { upTo: () => Infinity, beforeMs: Infinity };
    expect(await replica.prune(everything)).toMatchObject({ batches: 3 });
    late = undefined;
    resolve();
    await settled(replica);
    expect(readsOf(replica)).toEqual(readsOf(twin));
  });

  test("no reader is told what was so before, once a batch that says otherwise is there", async () => {
    const { replica, deliver, weak, twin } = await pair();
    await deliver(DOC, 1);
    expect(replica.get(DOC, "k1")?.value).toBe(1);
    weak.ruin();
    const found: unknown[] = [];
    replica.onApplied(() => {
      expect(() => replica.get(DOC, "k1")).toThrow(behind);
      found.push("behind");
    });
    await deliver(DOC, 1);
    expect(found).toEqual(["behind"]);
    await settled(replica);
    expect(readsOf(replica)).toEqual(readsOf(twin));
  });

  test("so does one that refuses the form of what the checks have taken, now and whenever the store is opened", async () => {
    class Strict extends WasmStore {
      override applyPacked(chain: ChainId, frame: PackedFrame): ChangedKeys {
        if (frame.from > 0) throw new MeshError("FORMAT_INVALID", "not by me");
        return super.applyPacked(chain, frame);
      }
      override merge(frames: Uint8Array): readonly string[] {
        if (frames.length > 0) throw new MeshError("FORMAT_INVALID", "not by me");
        return super.merge(frames);
      }
    }
    const engine: FactEngine = () => new Strict(new Uint8Array(WasmStore.seedBytes));
    const store = createMemoryStore();
    const source = await open({ device: writer, factEngine: JS_ENGINE });
    const sent = applied(source);
    const replica = await open({ store, factEngine: engine });
    for (const from of [1, 4]) {
      await source.put(DOC, factsOf(from));
      expect(await replica.receive(sent.at(-1) ?? new Uint8Array())).toEqual({ kind: "accepted" });
    }
    await settled(replica);
    expect(readsOf(replica)).toEqual(readsOf(source));
    await replica.checkpoint();
    await replica.close();
    const again = await open({ store, factEngine: engine });
    expect(readsOf(again)).toEqual(readsOf(source));
  });

  test("after a write with a condition was made: whoever asked is told that the outcome is not known, and the replica goes on", async () => {
    const { replica, weak } = await pair();
    await replica.put(DOC, [{ key: "n", value: 1 }]);
    const version = replica.get(DOC, "n")?.version ?? null;
    replica.onApplied(() => {
      weak.ruin();
    });
    const proposal = replica.proposals.prepare(DOC, { key: "n", value: 2 }, version);
    await expect(replica.proposals.make(proposal)).rejects.toMatchObject({
      code: "OUTCOME_UNKNOWN",
    });
    await settled(replica);
    expect(replica.failure).toBeUndefined();
    expect(replica.get(DOC, "n")?.value).toBe(2);
  });

  test("when a store is opened: the documents that it can't take are in the other one at once", async () => {
    const store = createMemoryStore();
    const { replica, twin, deliver } = await pair({ store });
    await deliver(DOC, 1);
    await replica.checkpoint();
    await replica.close();
    const weak = fragile();
    const broken: FactEngine = () => {
      const made = weak.engine();
      weak.ruin(weak.made() - 1);
      return made;
    };
    const again = await open({ store, factEngine: broken });
    expect(readsOf(again)).toEqual(readsOf(twin));
    expect(weak.made()).toBe(1);
  });

  test("those who follow the changes are sent to the log, where they miss none", async () => {
    const { replica, deliver, weak } = await pair();
    await deliver(DOC, 1);
    const follower = follow(replica, { doc: DOC });
    await follower.ready;
    weak.ruin();
    await deliver(DOC, 6);
    expect(await follower.ended).toMatchObject({ code: "LIMIT_EXCEEDED" });
    await settled(replica);
    const found = (await read(replica)).map(({ record }) => record.key);
    expect(found).toEqual(factsOf(1, 10).map(({ key }) => key));
  });

  test("for want of memory: the document goes on in the other one, and is there at once when the store is opened", async () => {
    const seed = new Uint8Array(WasmStore.seedBytes);
    const engine: FactEngine = () => new WasmStore(seed, 131_072);
    const store = createMemoryStore();
    const logger = createRecordingLogger();
    const source = await open({ device: writer, factEngine: JS_ENGINE });
    const sent = applied(source);
    const replica = await open({ store, factEngine: engine, logger });
    for (let i = 0; i < 10; i++) {
      await source.put(DOC, factsOf(200 * i, 200));
      expect(await replica.receive(sent.at(-1) ?? new Uint8Array())).toEqual({ kind: "accepted" });
    }
    await settled(replica);
    const failures = logger.entries.filter(({ event }) => event === "replica.fact-engine-failed");
    expect(failures).toMatchObject([{ fields: { error: { code: "LIMIT_EXCEEDED" } } }]);
    expect(readsOf(replica)).toEqual(readsOf(source));
    await replica.checkpoint();
    await replica.close();
    const again = await open({ store, factEngine: engine });
    expect(readsOf(again)).toEqual(readsOf(source));
  });

  test("many at once: all are read again in one walk over the log", async () => {
    const store = createMemoryStore();
    const { replica, twin, deliver, weak, reloads } = await pair({ store });
    const docs = [1, 2, 3, 4].map((n) => parseDocumentName(`line-2/press-${String(n)}`));
    for (const doc of docs) await deliver(doc, 1);
    for (const i of docs.keys()) weak.ruin(i);
    const scan = vi.spyOn(store, "scan");
    for (const doc of docs) expect(() => replica.candidates(doc, "k1")).toThrow(behind);
    await settled(replica);
    expect([reloads(), scan.mock.calls.length]).toEqual([4, 1]);
    expect(readsOf(replica)).toEqual(readsOf(twin));
  });

  test("a platform where no instance can be made is one without WebAssembly", () => {
    const { WebAssembly } = globalThis as unknown as Platform;
    const spy = vi.spyOn(WebAssembly, "Instance").mockImplementation(function () {
      throw new RangeError("WebAssembly.Instance(): Out of memory: Cannot allocate Wasm memory");
    });
    expect(hasWasm()).toBe(false);
    spy.mockRestore();
    expect(hasWasm()).toBe(true);
  });

  test("a platform without WebAssembly is told of, and documents are kept in JavaScript", async () => {
    vi.stubGlobal("WebAssembly", undefined);
    // The module that was compiled before is not asked for.
    vi.resetModules();
    const without = await import("@ctxmesh/facts");
    expect(without.hasWasm()).toBe(false);
    const { DocumentEngines } = await import("../src/document-engines.ts");
    const logger = createRecordingLogger();
    const engines = DocumentEngines.of({
      factEngine: "wasm",
      logger,
      random: createSeededRandom(1),
    });
    expect([engines.name, logger.entries.map(({ event }) => event)]).toEqual([
      "js",
      ["replica.no-wasm"],
    ]);
    vi.unstubAllGlobals();
    vi.resetModules();
  });
});

test("what is durable and can't be applied stops the replica with a code that no caller takes for a refusal", async () => {
  const store = createMemoryStore();
  const replica = await open({ store });
  await replica.put(DOC, [{ key: "n", value: 1 }]);
  const version = replica.get(DOC, "n")?.version ?? null;
  const proposal = replica.proposals.prepare(DOC, { key: "n", value: 2 }, version);
  const spy = vi.spyOn(Documents.prototype, "apply").mockImplementationOnce(() => {
    throw new MeshError("LIMIT_EXCEEDED", "no room");
  });
  await expect(replica.proposals.make(proposal)).rejects.toMatchObject({ code: "INTERNAL" });
  expect(replica.failure).toMatchObject({ code: "INTERNAL" });
  spy.mockRestore();
  await replica.close();
  expect((await open({ store })).get(DOC, "n")?.value).toBe(2);
});
