// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the oracle finds nothing wrong with documents that the core in WebAssembly keeps.
 * Method: histories of the oracle with the same replicas as ever, in which every document's store is one of that engine.
 */
import type * as Facts from "@ctxmesh/facts";
import { expect, test, vi } from "vitest";

const MINUTES = 60_000;
const made = vi.hoisted(() => vi.fn<() => void>());

vi.mock("@ctxmesh/facts", async (load) => {
  const facts = await load<typeof Facts>();
  class SlotStore extends facts.WasmStore {
    constructor() {
      super(new Uint8Array(facts.WasmStore.seedBytes));
      made();
    }
  }
  const decodeState = (bytes: Uint8Array) => facts.decodeState(bytes, () => new SlotStore());
  return { ...facts, SlotStore, decodeState };
});

test(
  "150 random histories come out as the naive model has them",
  async () => {
    const { runHistories } = await import("../scripts/oracle/run.ts");
    const { failure, histories, comparisons } = await runHistories(150, 11);
    expect(failure?.problem).toBeUndefined();
    expect(histories).toBe(150);
    expect(comparisons).toBeGreaterThan(500);
    expect(made.mock.calls.length).toBeGreaterThan(150);
  },
  2 * MINUTES,
);
