// SPDX-License-Identifier: Apache-2.0
/** What one granted device may do to the memory of another, and to those that the other serves. */
import { ATTACKERS } from "./cast.ts";
import { Crew } from "./crew.ts";
import { agree, lasting, numbers, quantile, until, writeUntil } from "./scene.ts";
import type { Size } from "./scene.ts";

/** What is sent; see `attackers.ts` and `raw-floods.ts`. */
export const FLOODS = ["subscriptions", "iwant", "giant-frames", "held", "flood"] as const;

/** One of {@link FLOODS}. */
export type Flood = (typeof FLOODS)[number];

const SECONDS: Readonly<Record<Size, number>> = { short: 1, full: 30 };
const [VICTIM, HONEST] = [0, 1];
const PER_SECOND = 20;
const SAMPLE_MS = 250;
const BOUND_MS = 30_000;
const MEGABYTE = 1_048_576;

/** How one flood went. */
export interface FloodReport {
  readonly flood: Flood;
  readonly sentBytes: number;
  /** Bytes in use at most, over those before; garbage does not count. */
  readonly growthBytes: number;
  /** The same once the attacker had gone. */
  readonly leftBytes: number;
  /** Batches of the attacker that still wait for one that never comes. */
  readonly held: number;
  /** What the honest peer wrote meanwhile, and how long it took to the victim. */
  readonly written: number;
  readonly p99Ms: number;
  readonly quietP99Ms: number;
}

/** Writes for a while; resolves to how many writes there were and how long they took at the victim. */
async function measure(
  crew: Crew,
  seconds: number,
  meanwhile: () => Promise<void>,
): Promise<{ readonly written: number; readonly latencies: readonly number[] }> {
  await crew.latencies(VICTIM);
  const stop = new AbortController();
  const writing = writeUntil(crew, [HONEST], PER_SECOND, stop.signal);
  const endMs = performance.now() + seconds * 1_000;
  while (performance.now() < endMs) {
    await lasting(SAMPLE_MS);
    await meanwhile();
  }
  stop.abort();
  const written = await writing;
  return { written, latencies: await crew.latencies(VICTIM) };
}

async function runOne(
  crew: Crew,
  size: Size,
  flood: Flood,
  n: number,
  address: string,
): Promise<FloodReport> {
  const before = await crew.memory(VICTIM);
  if (flood === "held" || flood === "flood") await crew.startAttacker(n, flood, [address]);
  else await crew.startRawFlood(n, flood, [address]);
  let most = before;
  const { written, latencies } = await measure(crew, SECONDS[size], async () => {
    most = Math.max(most, await crew.memory(VICTIM));
  });
  const { sentBytes } = await crew.report(n);
  await crew.stop(n);
  await until("the honest peer was served", BOUND_MS, async () => agree(crew, [VICTIM, HONEST]));
  let left = await crew.memory(VICTIM);
  await until(`memory is back after ${flood}`, BOUND_MS, async () => {
    left = await crew.memory(VICTIM);
    return left - before < 5 * MEGABYTE;
  }).catch(() => undefined);
  const { held } = await crew.status(VICTIM);
  return {
    flood,
    sentBytes,
    growthBytes: most - before,
    leftBytes: left - before,
    held,
    written,
    p99Ms: quantile(latencies, 0.99),
    quietP99Ms: 0,
  };
}

/** Runs them one after another against one victim. Rejects when an honest peer is not served. */
export async function runFloods(size: Size): Promise<readonly FloodReport[]> {
  const attackers = numbers(ATTACKERS, FLOODS.length);
  const cast = { startMs: Date.now(), agents: [VICTIM, HONEST, ...attackers], hubs: [] };
  await using crew = new Crew(cast);
  crew.house(VICTIM);
  if (size === "short") crew.house(HONEST, ...attackers);
  else {
    crew.house(HONEST);
    crew.house(...attackers);
  }
  const [address = ""] = await crew.startNode(VICTIM);
  await crew.startNode(HONEST, { peers: [address] });
  await until("the honest peer is connected", BOUND_MS, async () => {
    return (await crew.status(HONEST)).peers.length === 1;
  });
  // The first seconds of a process are not like the others.
  const quiet = await measure(crew, SECONDS[size], async () => {
    await crew.memory(VICTIM);
  });
  const quietP99Ms = quantile(quiet.latencies, 0.99);
  const reports: FloodReport[] = [];
  for (const [i, flood] of FLOODS.entries()) {
    reports.push({ ...(await runOne(crew, size, flood, ATTACKERS + i, address)), quietP99Ms });
  }
  return reports;
}
