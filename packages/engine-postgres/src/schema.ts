// SPDX-License-Identifier: Apache-2.0
/**
 * The tables, and how they came to be. Plain SQL without extensions, so that engines that speak PostgreSQL's protocol have them, too.
 *
 * ```
 * ctxmesh_format  (only: always 1, version)          what the tables are like
 * ctxmesh_head    (space, position)                  the newest position of each space's log; its row is locked by whoever appends
 * ctxmesh_log     (space, position, id, kind, bytes) the log; kind 0 batch, 1 act, 2 proof, 3 signed header
 * ctxmesh_lease   (space, holder, epoch, ends_at)    who may seal
 * ctxmesh_shared  (space, key, value)                what the holder of the lease has written
 * ```
 */
import { MeshError } from "@ctxmesh/model";
import type { Database, Query } from "./database.ts";

/** Each takes the tables from its index to the next version. What was released is never changed. */
const MIGRATIONS: readonly (readonly string[])[] = [
  [
    `CREATE TABLE ctxmesh_head (
       space BYTEA PRIMARY KEY,
       position BIGINT NOT NULL
     )`,
    `CREATE TABLE ctxmesh_log (
       space BYTEA NOT NULL,
       position BIGINT NOT NULL,
       id BYTEA NOT NULL,
       kind SMALLINT NOT NULL,
       bytes BYTEA NOT NULL,
       PRIMARY KEY (space, position),
       UNIQUE (space, id)
     )`,
    `CREATE TABLE ctxmesh_lease (
       space BYTEA PRIMARY KEY,
       holder TEXT NOT NULL,
       epoch BIGINT NOT NULL,
       ends_at TIMESTAMPTZ NOT NULL
     )`,
    `CREATE TABLE ctxmesh_shared (
       space BYTEA NOT NULL,
       key BYTEA NOT NULL,
       value BYTEA NOT NULL,
       PRIMARY KEY (space, key)
     )`,
  ],
];

/** The version of the tables that this program reads and writes. */
const VERSION = MIGRATIONS.length;

async function versionOf(query: Query): Promise<number> {
  await query(
    `CREATE TABLE IF NOT EXISTS ctxmesh_format (
       only_row SMALLINT PRIMARY KEY CHECK (only_row = 1),
       version INTEGER NOT NULL
     )`,
  );
  await query("INSERT INTO ctxmesh_format VALUES (1, 0) ON CONFLICT DO NOTHING");
  // Two hubs that start at once migrate one after the other.
  const rows = await query<{ version: number }>("SELECT version FROM ctxmesh_format FOR UPDATE");
  return rows[0]?.version ?? 0;
}

/** Makes the tables, or brings them up to date. Throws `STORE_FORMAT` when they are of a newer version, and is done in one transaction. */
export async function migrate(database: Database): Promise<void> {
  await database.transaction(async (query) => {
    const found = await versionOf(query);
    if (found > VERSION) {
      throw new MeshError(
        "STORE_FORMAT",
        `the database has tables of version ${String(found)}; this program knows up to ${String(VERSION)}`,
        { field: "engine", remedy: "run a newer ctxmesh, as the other hubs do" },
      );
    }
    for (const statement of MIGRATIONS.slice(found).flat()) await query(statement);
    await query("UPDATE ctxmesh_format SET version = $1", [VERSION]);
  });
}
