// SPDX-License-Identifier: Apache-2.0
/** Hubs and the database are killed under load. */
import { say, withMesh } from "./trial.ts";
import type { Trial } from "./trial.ts";

const FIRST_WRITES = 50;

export const kills: Trial = {
  name: "kills",
  what: "a hub, and then the database, is killed under load: nothing that was acknowledged is lost, nothing is acknowledged without the database",
  counts: "kills of each",
  count: 2,
  run: async (count) =>
    withMesh(async (mesh) => {
      mesh.write();
      await mesh.progress(FIRST_WRITES);
      let late = 0;
      for (let kill = 1; kill <= count; kill++) {
        await mesh.killHub(kill);
        late += (await mesh.killDatabase()).late;
        say(`kill ${String(kill)}: ${String(mesh.count)} acknowledged`);
      }
      const checked = await mesh.check();
      const { lost, gaps, digests } = checked;
      return {
        isSound: lost + gaps + late === 0 && digests === 1,
        figures: { hubsKilled: count, databasesKilled: count, ...checked, late },
      };
    }),
};
