// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Engine } from "@ctxmesh/model";
import { openPostgresEngine } from "@ctxmesh/engine-postgres";
import { runEngineTests } from "@ctxmesh/testing";
import { PostgresServer, serverPrograms } from "./server.ts";

const START_MS = 30_000;
const programs = serverPrograms();
const needs = programs === undefined ? " (skipped: no PostgreSQL server is installed)" : "";

describe.skipIf(programs === undefined)(`PostgreSQL${needs}`, () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start(programs ?? "");
  }, START_MS);
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  runEngineTests(
    "PostgreSQL",
    async () => {
      const opened: Engine[] = [];
      const open = async (): Promise<Engine> => {
        const engine = await openPostgresEngine({ url: server.url });
        opened.push(engine);
        return engine;
      };
      return {
        engine: await open(),
        again: open,
        destroy: async () => {
          await Promise.all(opened.map(async (engine) => engine.close()));
        },
      };
    },
    { runs: 20 },
  );

  test("several that open a new database at once all get it", async () => {
    await server.sql(
      "DROP TABLE ctxmesh_format, ctxmesh_head, ctxmesh_log, ctxmesh_lease, ctxmesh_shared",
    );
    const engines = await Promise.all(
      Array.from({ length: 6 }, async () => openPostgresEngine({ url: server.url })),
    );
    expect(await server.sql("SELECT version FROM ctxmesh_format")).toEqual([{ version: 1 }]);
    await Promise.all(engines.map(async (engine) => engine.close()));
  });

  test("tables of a newer version are refused, and left as they are", async () => {
    await server.sql("UPDATE ctxmesh_format SET version = 99");
    try {
      await expect(openPostgresEngine({ url: server.url })).rejects.toMatchObject({
        code: "STORE_FORMAT",
        message: expect.stringContaining("version 99") as string,
      });
      expect(await server.sql("SELECT version FROM ctxmesh_format")).toEqual([{ version: 99 }]);
    } finally {
      await server.sql("UPDATE ctxmesh_format SET version = 1");
    }
  });
});

describe("an address", () => {
  test.each([
    ["not a URL", "not a url"],
    ["of another protocol", "mysql://u:secret-password@127.0.0.1/db"],
    ["without slashes", "postgres:u:secret-password@127.0.0.1/db"],
  ])("that is %s is refused, without the password", async (_, url) => {
    await expect(openPostgresEngine({ url })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.not.stringContaining("secret-password") as string,
    });
  });

  test("where nothing answers is named with the reason, without the password", async () => {
    const url = "postgres://u:secret-password@127.0.0.1:1/db";
    const opening = openPostgresEngine({ url });
    await expect(opening).rejects.toMatchObject({ code: "ENGINE_UNAVAILABLE" });
    await expect(opening).rejects.toThrow(/127\.0\.0\.1:1 failed: .*ECONNREFUSED/u);
    await expect(opening).rejects.not.toThrow(/secret-password/u);
  });
});
