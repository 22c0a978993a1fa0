// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { createEmbeddedEngine } from "@ctxmesh/engine-embedded";
import type { Engine } from "@ctxmesh/model";
import { openLevelStore } from "@ctxmesh/store-level";
import { runEngineTests, tempDir } from "@ctxmesh/testing";

runEngineTests(
  "LevelDB",
  async () => {
    const dir = await tempDir();
    const path = join(dir.path, "store");
    const open = async (): Promise<Engine> =>
      createEmbeddedEngine({
        store: await openLevelStore({ path }),
        clock: { now: () => Date.now() },
      });
    let current = await open();
    return {
      engine: current,
      async again() {
        await current.close();
        current = await open();
        return current;
      },
      async destroy() {
        await current.close();
        await dir.remove();
      },
    };
  },
  { runs: 20 },
);
