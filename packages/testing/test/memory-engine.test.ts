// SPDX-License-Identifier: Apache-2.0
import { MemoryEngineData, createMemoryEngine, runEngineTests } from "@ctxmesh/testing";

runEngineTests(
  "memory",
  async () => {
    const data = new MemoryEngineData();
    const clock = { now: () => Date.now() };
    const engine = createMemoryEngine(data, clock);
    return {
      engine,
      again: async () => createMemoryEngine(data, clock),
      destroy: async () => engine.close(),
    };
  },
  { runs: 20 },
);
