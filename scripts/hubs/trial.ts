// SPDX-License-Identifier: Apache-2.0
/** What the trials of `npm run hubs` have in common. */
import process from "node:process";
import { tempDir } from "@ctxmesh/testing";
import { PostgresServer, serverPrograms } from "../../packages/engine-postgres/test/server.ts";
import { HubMesh } from "../../test/hubs/hub-mesh.ts";

/** One trial. */
export interface Trial {
  readonly name: string;
  readonly what: string;
  /** What `--count` counts, and how many there are by default. */
  readonly counts: string;
  readonly count: number;
  readonly run: (count: number) => Promise<TrialReport>;
}

/** What came of it. */
export interface TrialReport {
  /** Whether all held that must; times are only reported. */
  readonly isSound: boolean;
  readonly figures: Readonly<Record<string, unknown>>;
}

/** Tells how far a trial has got. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** A PostgreSQL of the trial's own. Throws where none is installed. */
export async function startPostgres(): Promise<PostgresServer> {
  const programs = serverPrograms();
  if (programs === undefined) throw new Error("no PostgreSQL server is installed");
  return PostgresServer.start(programs);
}

/** Three hubs on a PostgreSQL of their own and three agents, as processes, until `use` is done. */
export async function withMesh<Result>(
  use: (mesh: HubMesh, server: PostgresServer) => Promise<Result>,
): Promise<Result> {
  await using dir = await tempDir();
  await using server = await startPostgres();
  await using mesh = await HubMesh.start(dir.path, server);
  return await use(mesh, server);
}

/** The nearest-rank percentile, `fraction` in 0..1, in whole milliseconds; undefined of nothing. */
export function percentileMs(samples: readonly number[], fraction: number): number | undefined {
  const sorted = samples.toSorted((a, b) => a - b);
  const found = sorted[Math.max(0, Math.ceil(sorted.length * fraction) - 1)];
  return found === undefined ? undefined : Math.round(found);
}
