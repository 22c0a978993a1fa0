// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what a hub has acknowledged survives the death of hubs and of the database that they share.
 * Method: three hubs and three agents as processes on a real PostgreSQL, killed or suspended under load. `npm run hubs -- kills` and `pauses` are the long forms.
 */
import { tempDir } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { PostgresServer, serverPrograms } from "../../packages/engine-postgres/test/server.ts";
import { HubMesh } from "./hub-mesh.ts";
import { SealerTrial } from "./sealer-trial.ts";

const programs = serverPrograms();
const needs = programs === undefined ? " (skipped: no PostgreSQL server is installed)" : "";
const KILLS = 2;
const PAUSES = 2;
const SAMPLES = 2;

describe.skipIf(programs === undefined)(`three hubs on one PostgreSQL${needs}`, () => {
  test(
    "lose nothing that they have acknowledged when hubs and the database are killed, acknowledge nothing without it, and seal once each",
    { timeout: 240_000 },
    async () => {
      await using dir = await tempDir();
      await using server = await PostgresServer.start(programs ?? "");
      await using mesh = await HubMesh.start(dir.path, server);
      mesh.write();
      await mesh.progress(50);
      for (let kill = 0; kill < KILLS; kill++) {
        await mesh.killHub(kill);
        const { late, said, reads, local } = await mesh.killDatabase();
        expect([late, reads, local]).toEqual([0, true, true]);
        expect(said?.failure).toMatch(/the database at 127\.0\.0\.1:\d+ failed: /u);
        expect(said?.failure).not.toContain("secret-password");
      }
      const { acknowledged, lost, gaps, digests, raises } = await mesh.check();
      expect({ lost, gaps, digests }).toEqual({ lost: 0, gaps: 0, digests: 1 });
      // What was decided in the log's order, whichever hub was asked, and whichever died over it.
      expect(raises).toMatchObject({ doubled: 0, off: 0 });
      expect(raises.made).toBeGreaterThan(4);
      expect(acknowledged).toBeGreaterThan(50 + KILLS * 60);
      const trial = new SealerTrial(mesh, server);
      for (let pause = 0; pause < PAUSES; pause++) await trial.pause();
      await trial.kill();
      const { seals, epoch, ...found } = await trial.audit(SAMPLES);
      expect(found).toEqual({ verified: SAMPLES, doubled: 0, faults: [] });
      // Each takeover has a seal of its own, and a lease.
      expect(seals).toBeGreaterThan(PAUSES);
      expect(epoch).toBeGreaterThan(PAUSES + 1);
    },
  );
});
