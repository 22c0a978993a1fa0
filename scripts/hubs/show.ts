// SPDX-License-Identifier: Apache-2.0
/** What hubs that share a database are good for, told as it happens. */
import type { PostgresServer } from "../../packages/engine-postgres/test/server.ts";
import type { HubMesh } from "../../test/hubs/hub-mesh.ts";
import { SealerTrial } from "../../test/hubs/sealer-trial.ts";
import { say, withMesh } from "./trial.ts";
import type { Trial } from "./trial.ts";

/** Acknowledged writes that count as going on. */
const SOME = 50;

/** Tells how long something took. */
async function timed(text: string, act: () => Promise<unknown>): Promise<void> {
  const sinceMs = performance.now();
  await act();
  say(`  ${text} (${String(Math.round(performance.now() - sinceMs))} ms)`);
}

/** A hub dies, and comes back. */
async function loseHub(mesh: HubMesh): Promise<void> {
  const hub = mesh.hubs[1];
  say("kill -9 of hub-2");
  await hub?.kill();
  await timed(`${String(SOME)} more writes are acknowledged by the others`, async () =>
    mesh.progress(SOME),
  );
  await timed("hub-2 is started again, has read what it lacked, and is ready", async () =>
    hub?.start(),
  );
}

/** The database dies, and comes back. */
async function loseDatabase(mesh: HubMesh): Promise<number> {
  say("kill -9 of PostgreSQL, for two seconds and until the hubs have noticed");
  const before = mesh.count;
  const { late, said, reads, local } = await mesh.killDatabase();
  say(`  acknowledged later than two seconds after its death: ${String(late)}`);
  say(`  a hub says: ${said?.failure ?? ""}`);
  say(`  hubs answer reads: ${String(reads)}; edges write on their own: ${String(local)}`);
  say(`  back: ${String(mesh.count - before)} more writes are acknowledged`);
  return late;
}

/** The hub that seals dies. */
async function loseSealer(mesh: HubMesh, server: PostgresServer): Promise<readonly string[]> {
  say("kill -9 of the hub that seals, in the midst of a seal");
  const trial = new SealerTrial(mesh, server);
  const { tookMs, outcomes } = await trial.kill();
  say(`  another one has taken over and sealed after ${String(Math.round(tookMs))} ms`);
  say(`  its seal that was under way, and two at once when it is back: ${outcomes.join(", ")}`);
  const { seals, verified, doubled, faults } = await trial.audit(2);
  say(
    `  ${String(seals)} seals in one chain, ${String(doubled)} made twice; ctxmesh verify: ${String(verified)} of 2 valid`,
  );
  return doubled > 0 ? [...faults, "a seal was made twice"] : faults;
}

export const show: Trial = {
  name: "show",
  what: "the same in short, told as it happens: a hub, the database and the hub that seals die, and come back",
  counts: "rounds",
  count: 1,
  run: async (count) =>
    withMesh(async (mesh, server) => {
      say("three hubs on one PostgreSQL, three edges, each with two of the hubs");
      mesh.write();
      await timed(`${String(SOME)} writes of edges are acknowledged by a hub`, async () =>
        mesh.progress(SOME),
      );
      let late = 0;
      for (let round = 0; round < count; round++) {
        await loseHub(mesh);
        late += await loseDatabase(mesh);
      }
      const { acknowledged, lost, gaps, digests } = await mesh.check();
      say("the edges stop writing");
      say(
        `  ${String(acknowledged)} writes were acknowledged, ${String(lost)} are missing at a hub; gaps in the log: ${String(gaps)}`,
      );
      say(`  digests of three hubs and three edges: ${digests === 1 ? "all equal" : "not equal"}`);
      const faults = await loseSealer(mesh, server);
      const isSound = lost + gaps + late + faults.length === 0 && digests === 1;
      return { isSound, figures: { acknowledged, lost, gaps, digests, late, faults } };
    }),
};
