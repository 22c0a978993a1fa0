// SPDX-License-Identifier: Apache-2.0
/** Replicas whose engines can be broken: real instances of WebAssembly, the memory of which is overwritten. */
import { JS_ENGINE, WasmStore } from "@ctxmesh/facts";
import type { FactEngine } from "@ctxmesh/facts";
import { parseDocumentName } from "@ctxmesh/model";
import type { DocumentName, FactInput, Store } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { createRecordingLogger } from "@ctxmesh/testing";
import { expect, vi } from "vitest";
import { applied, open, writer } from "./mesh.ts";

export const OTHER: DocumentName = parseDocumentName("line-2/press-8");
export const behind: Error = expect.objectContaining({ code: "READ_BEHIND" }) as Error;

interface CoreInstance {
  readonly exports: { readonly memory: { readonly buffer: ArrayBuffer } };
}
/** What the compiler has for pages alone. */
export interface Platform {
  readonly WebAssembly: { Instance: new (module: object) => CoreInstance };
}

/** See {@link fragile}. */
export interface Fragile {
  readonly engine: FactEngine;
  readonly made: () => number;
  readonly ruin: (i?: number) => void;
}

/** An engine of real instances, in the order in which documents were first written, and what breaks one. */
export function fragile(): Fragile {
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

/** Facts `k<from>` and so on. */
export const factsOf = (from: number, count = 5): readonly FactInput[] =>
  Array.from({ length: count }, (_, i) => ({ key: `k${String(from + i)}`, value: from + i }));

/** Everything that can be read of documents. */
export const readsOf = (replica: Replica): unknown => ({
  leaves: replica.snapshot().leaves,
  facts: replica.list({}),
  count: replica.count(),
});

/** See {@link pair}. */
export interface Pair {
  readonly replica: Replica;
  readonly twin: Replica;
  readonly deliver: (doc: DocumentName, from: number) => Promise<void>;
  readonly weak: Fragile;
  /** How many documents were read again. */
  readonly reloads: () => number;
}

/** A replica with such an engine, one in JavaScript, and what gives both of them a write of a third. */
export async function pair(options: { readonly store?: Store } = {}): Promise<Pair> {
  const weak = fragile();
  const logger = createRecordingLogger();
  const { entries } = logger;
  const replica = await open({ ...options, factEngine: weak.engine, logger });
  const twin = await open({ factEngine: JS_ENGINE });
  const source = await open({ device: writer, factEngine: JS_ENGINE });
  const sent = applied(source);
  const deliver = async (doc: DocumentName, from: number): Promise<void> => {
    await source.put(doc, factsOf(from));
    const batch = sent.at(-1) ?? new Uint8Array();
    const outcomes = [await replica.receive(batch), await twin.receive(batch)];
    expect(outcomes).toEqual([{ kind: "accepted" }, { kind: "accepted" }]);
  };
  const reloads = (): number =>
    entries.filter(({ event }) => event === "replica.facts-reloaded").length;
  return { replica, twin, deliver, weak, reloads };
}

/** Waits until what the replica has to do is done. */
export const settled = async (replica: Replica): Promise<void> => {
  await replica.addRecords({});
};
