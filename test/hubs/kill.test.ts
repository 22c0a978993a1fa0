// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what a hub has acknowledged survives the death of hubs and of the database that they share.
 * Method: three hubs and three agents as processes on a real PostgreSQL, killed or suspended under load. `npm run hubs -- --kills 20 --pauses 200` is the long form.
 */
import { tempDir } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { PostgresServer, serverPrograms } from "../../packages/engine-postgres/test/server.ts";
import { HubMesh } from "./hub-mesh.ts";

const programs = serverPrograms();
const needs = programs === undefined ? " (skipped: no PostgreSQL server is installed)" : "";
const KILLS = 2;

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
        const { late, said, reads } = await mesh.killDatabase();
        expect([late, reads]).toEqual([0, true]);
        expect(said?.failure).toMatch(/the database at 127\.0\.0\.1:\d+ failed: /u);
        expect(said?.failure).not.toContain("secret-password");
      }
      const { outcomes } = await mesh.pauseSealer();
      expect(new Set(outcomes).size).toBe(2);
      expect(await mesh.checkSeals()).toBeGreaterThan(0);
      const { acknowledged, lost, gaps, digests } = await mesh.check();
      expect({ lost, gaps, digests }).toEqual({ lost: 0, gaps: 0, digests: 1 });
      expect(acknowledged).toBeGreaterThan(50 + KILLS * 60);
    },
  );
});
