// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a database that can't be used is named, with the reason and without the password; and one that goes away stops what needs it, and no more.
 * Method: the commands as an operator runs them, and a real PostgreSQL that is killed.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@ctxmesh/sdk";
import { tempDir, waitFor } from "@ctxmesh/testing";
import type { TempDir } from "@ctxmesh/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PostgresServer, serverPrograms } from "../../packages/engine-postgres/test/server.ts";
import { initMesh, run, startDaemon } from "../e2e/processes.ts";

const programs = serverPrograms();
const needs = programs === undefined ? " (skipped: no PostgreSQL server is installed)" : "";
const START_MS = 30_000;
const WAIT_MS = 20_000;
const PASSWORD = "secret-password";
/** After so long without the database no hub acknowledges anything any more. */
const LAST_ACK_MS = 2_000;

let dir: TempDir;
beforeAll(async () => {
  dir = await tempDir();
  await initMesh(dir.path, 1);
}, START_MS);
afterAll(async () => {
  await dir.remove();
});

test.each([
  [
    "where nothing listens",
    "postgres://u:secret-password@127.0.0.1:1/db",
    4,
    /at 127\.0\.0\.1:1 failed: .*ECONNREFUSED/u,
  ],
  [
    "of no host",
    "postgres://u:secret-password@no-such-host.invalid/db",
    4,
    /at no-such-host\.invalid:5432 failed: getaddrinfo E/u,
  ],
  ["of another protocol", "mysql://u:secret-password@127.0.0.1/db", 3, /begins with mysql:/u],
  ["without form", "postgres://u:secret-password@127.0.0.1:99999/db", 3, /is not a URL/u],
])("an address %s is refused in one line, without the password", async (_, url, exit, says) => {
  const outcome = await run(dir.path, "hub", "hub.yaml", "--engine", url);
  expect([outcome.exit, outcome.stderr.trim().split("\n").length]).toEqual([exit, 1]);
  expect(outcome.stderr).toMatch(says);
  expect(outcome.stdout + outcome.stderr).not.toContain(PASSWORD);
});

describe.skipIf(programs === undefined)(`a hub on PostgreSQL${needs}`, () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start(programs ?? "");
    const config = await readFile(join(dir.path, "hub.yaml"), "utf8");
    await writeFile(join(dir.path, "shared.yaml"), `${config}engine:\n  url: ${server.url}\n`);
  }, START_MS);
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });

  test("does not start on a database that is not there, or on tables of a newer version, which stay as they are", async () => {
    const elsewhere = server.url.replace(/postgres$/u, "nowhere");
    const away = await run(dir.path, "hub", "hub.yaml", "--engine", elsewhere);
    expect([away.exit, away.stderr]).toEqual([
      4,
      expect.stringMatching(/at 127\.0\.0\.1:\d+ failed: database "nowhere" does not exist/u),
    ]);
    await server.sql(
      "CREATE TABLE ctxmesh_format (only_row SMALLINT PRIMARY KEY, version INTEGER NOT NULL); INSERT INTO ctxmesh_format VALUES (1, 99)",
    );
    const newer = await run(dir.path, "hub", "shared.yaml");
    expect([newer.exit, newer.stderr]).toEqual([
      3,
      expect.stringMatching(/tables of version 99; .*; run a newer ctxmesh/u),
    ]);
    expect(newer.stdout + newer.stderr + away.stdout + away.stderr).not.toContain(PASSWORD);
    expect(await server.sql("SELECT version FROM ctxmesh_format")).toEqual([{ version: 99 }]);
    await server.sql("DROP TABLE ctxmesh_format");
  });

  test("acknowledges nothing while the database is away, says why, and goes on with the rest", async () => {
    await using hub = await startDaemon(dir.path, "hub", "shared.yaml");
    await using agent = await startDaemon(dir.path, "agent", "agent-1.yaml");
    const client = connect({ socketPath: join(dir.path, "agent-1", "agent.sock") });
    const put = async (key: string, ackMs: number): Promise<unknown> =>
      client.put("doc", { key, value: 1 }, { ack: "hub", timeoutMs: ackMs });
    await put("before", WAIT_MS);
    await server.stop("SIGKILL");
    await expect(put("meanwhile", LAST_ACK_MS)).rejects.toMatchObject({ code: "ACK_TIMEOUT" });
    await client.put("doc", { key: "local", value: 1 });
    const status = async (): Promise<string> =>
      (await run(dir.path, "status", "--socket", "hub/hub.sock")).stdout;
    let said = "";
    await waitFor(async () => (said = await status()).includes("failed"), {
      timeoutMs: WAIT_MS,
      what: "the hub to say that the engine is away",
    });
    expect(said).toMatch(/engine .*the database at 127\.0\.0\.1:\d+ failed: /u);
    expect(said).not.toContain(PASSWORD);
    const read = await run(dir.path, "get", "doc", "before", "--socket", "hub/hub.sock");
    expect([read.exit, read.stdout]).toEqual([0, expect.stringContaining("1")]);
    await server.resume();
    await put("after", WAIT_MS);
    for (const key of ["meanwhile", "local"]) {
      const { exit } = await run(dir.path, "get", "doc", key, "--socket", "hub/hub.sock");
      expect([key, exit]).toEqual([key, 0]);
    }
    client.close();
    expect(agent.events("agent.ready").length + hub.events("hub.ready").length).toBe(2);
  });
});
