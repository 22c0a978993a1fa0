// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: an engine that fails takes the facts of one document with it, for a moment, and nothing else; and it fails once.
 * Method: real instances of WebAssembly whose memory is overwritten, so that the next call traps or goes astray; what comes of it is
 * held against a replica in JavaScript that was given the same batches.
 */
import { JS_ENGINE, WasmStore } from "@ctxmesh/facts";
import type { FactEngine } from "@ctxmesh/facts";
import { parseDocumentName } from "@ctxmesh/model";
import type { DocumentName, Store } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createMemoryStore, createRecordingLogger, createSeededRandom } from "@ctxmesh/testing";
import { describe, expect, test, vi } from "vitest";
import { follow, read } from "./changes-kit.ts";
import { DOC, applied, open, writer } from "./mesh.ts";

const OTHER = parseDocumentName("line-2/press-8");
const behind = expect.objectContaining({ code: "READ_BEHIND" }) as Error;

interface CoreInstance {
  readonly exports: { readonly memory: { readonly buffer: ArrayBuffer } };
}
interface Platform {
  readonly WebAssembly: { Instance: new (module: object) => CoreInstance };
}

/** An engine of real instances, in the order in which documents were first written, and what breaks one. */
function fragile(): { engine: FactEngine; made: () => number; ruin: (i?: number) => void } {
  const instances: CoreInstance[] = [];
  const { WebAssembly } = globalThis as unknown as Platform;
  const { Instance } = WebAssembly;
  return {
    engine: () => {
      const spy = vi.spyOn(WebAssembly, "Instance").mockImplementation(function (module) {
        const instance = new Instance(module);
        instances.push(instance);
        return instance;
      });
      const store = new WasmStore(new Uint8Array(WasmStore.seedBytes));
      spy.mockRestore();
      return store;
    },
    made: () => instances.length,
    ruin: (i = 0) => {
      const { buffer } = instances[i]?.exports.memory ?? { buffer: new ArrayBuffer() };
      new Uint8Array(buffer).fill(0xff);
    },
  };
}

const factsOf = (from: number, count = 5) =>
  Array.from({ length: count }, (_, i) => ({ key: `k${String(from + i)}`, value: from + i }));

/** Everything that can be read of documents. */
const readsOf = (replica: Replica): unknown => ({
  leaves: replica.snapshot().leaves,
  facts: replica.list({}),
  count: replica.count(),
});

/** A replica with such an engine, one in JavaScript, and what gives both of them a write of a third. */
async function pair(options: { store?: Store } = {}) {
  const weak = fragile();
  const logger = createRecordingLogger();
  const { entries } = logger;
  const replica = await open({ ...options, factEngine: weak.engine, logger });
  const twin = await open({ factEngine: JS_ENGINE });
  const source = await open({ device: writer, factEngine: JS_ENGINE });
  const sent = applied(source);
  const deliver = async (doc: DocumentName, from: number) => {
    await source.put(doc, factsOf(from));
    const batch = sent.at(-1) ?? new Uint8Array();
    const outcomes = [await replica.receive(batch), await twin.receive(batch)];
    expect(outcomes).toEqual([{ kind: "accepted" }, { kind: "accepted" }]);
  };
  const reloads = () => entries.filter(({ event }) => event === "replica.facts-reloaded").length;
  return { replica, twin, deliver, weak, entries, reloads };
}

/** Waits until what the replica has to do is done. */
const settled = async (replica: Replica): Promise<void> => {
  await replica.addRecords({});
};

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

  test("a platform without WebAssembly is told of, and documents are kept in JavaScript", async () => {
    vi.stubGlobal("WebAssembly", undefined);
    // The module that was compiled before is not asked for.
    vi.resetModules();
    const { hasWasm } = await import("@ctxmesh/facts");
    expect(hasWasm()).toBe(false);
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
