// SPDX-License-Identifier: Apache-2.0
/** `npm run hubs`: see {@link HELP}. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { PostgresServer, serverPrograms } from "../../packages/engine-postgres/test/server.ts";
import { HubMesh } from "../../test/hubs/hub-mesh.ts";

const HELP = `Usage: npm run hubs -- [options]

Three hubs on a PostgreSQL of their own and three agents, as processes, with writers that wait for each acknowledgement of
a hub. Hubs and the database are killed in turn; then the hub that seals is suspended until another one has taken
over, and both seal. Prints one JSON object in the end.

Options:
  --kills N    kill a hub, and then the database, that many times (default: 2)
  --pauses N   suspend the hub that seals that many times (default: 2)
  --help       this text

Exit codes: 0 nothing was lost and no seal made twice, 1 something was, 3 wrong command line or no PostgreSQL.
`;

const EXIT_INPUT = 3;

function fail(problem: string): never {
  process.stderr.write(`hubs: ${problem}; see npm run hubs -- --help\n`);
  process.exit(EXIT_INPUT);
}

function countOf(text: string | undefined, name: string): number {
  const count = Number(text ?? "2");
  return Number.isSafeInteger(count) && count >= 0 ? count : fail(`${name} is a whole number`);
}

function parseOptions(): { readonly kills: number; readonly pauses: number } {
  let values: { kills?: string; pauses?: string; help?: boolean };
  try {
    ({ values } = parseArgs({
      options: {
        kills: { type: "string" },
        pauses: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    }));
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
  if (values.help === true) {
    process.stdout.write(HELP);
    process.exit(0);
  }
  return { kills: countOf(values.kills, "--kills"), pauses: countOf(values.pauses, "--pauses") };
}

async function main(): Promise<void> {
  const { kills, pauses } = parseOptions();
  const programs = serverPrograms() ?? fail("no PostgreSQL server is installed");
  const dir = mkdtempSync(join(tmpdir(), "ctxmesh-hubs-"));
  const since = performance.now();
  try {
    await using server = await PostgresServer.start(programs);
    await using mesh = await HubMesh.start(dir, server);
    mesh.write();
    await mesh.progress(50);
    let late = 0;
    for (let kill = 1; kill <= kills; kill++) {
      await mesh.killHub(kill);
      ({ late } = await mesh.killDatabase());
      if (late > 0) break;
      process.stderr.write(`kill ${String(kill)}: ${String(mesh.count)} acknowledged\n`);
    }
    let doubled = 0;
    let slowestMs = 0;
    for (let pause = 1; pause <= pauses; pause++) {
      const { tookMs, outcomes } = await mesh.pauseSealer();
      slowestMs = Math.max(slowestMs, tookMs);
      if (outcomes[0] === outcomes[1] && typeof outcomes[0] === "number") doubled++;
      process.stderr.write(`pause ${String(pause)}: ${JSON.stringify(outcomes)}\n`);
    }
    const checked = await mesh.check();
    const seals = await mesh.checkSeals();
    const isSound = checked.lost + checked.gaps + doubled + late === 0 && checked.digests === 1;
    const seconds = Math.round((performance.now() - since) / 1_000);
    const report = {
      kills,
      pauses,
      ...checked,
      late,
      seals,
      doubled,
      slowestTakeoverMs: Math.round(slowestMs),
      seconds,
    };
    process.stdout.write(`${JSON.stringify(report)}\n`);
    if (!isSound) process.exitCode = 1;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

await main();
