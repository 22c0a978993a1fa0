// SPDX-License-Identifier: Apache-2.0
/**
 * Propagation from one agent to another over libp2p on loopback, against a bare WebSocket relay: a writer
 * and a reader as processes of their own, the same load in turn, each write measured from the moment
 * it was due to the reader's callback.
 */
import { join } from "node:path";
import { measured } from "./figure.ts";
import type { BenchOptions, Figure, Report } from "./figure.ts";
import { startAgents, startRelay } from "./mesh-crowd.ts";
import type { Crowd, CrowdOptions } from "./mesh-crowd.ts";
import { median, percentile } from "./stats.ts";
import type { Load, WriteResult } from "./workers/load.ts";

/** How long the last writes of a load may take to arrive. */
const DRAIN_MS = 3_000;

interface Round {
  readonly p50: number;
  readonly p95: number;
  readonly deliveredPercent: number;
  readonly failed: number;
  readonly lateP50: number;
}

/** Has the writer write a load and the reader measure it. */
async function runLoad({ nodes: [writer, reader] }: Crowd, load: Load): Promise<Round> {
  if (writer === undefined || reader === undefined) throw new Error("a pair has two nodes");
  await reader.call("expect", { load });
  const { failed, lateMs } = (await writer.call("write", load)) as WriteResult;
  const latencies = (await reader.call("collect", DRAIN_MS)) as Float64Array;
  const arrived = latencies.filter((latency) => !Number.isNaN(latency));
  return {
    p50: percentile(arrived, 0.5),
    p95: percentile(arrived, 0.95),
    deliveredPercent: (100 * arrived.length) / load.count,
    failed,
    lateP50: percentile(lateMs, 0.5),
  };
}

function figuresAt(rate: number, ours: readonly Round[], relay: readonly Round[]): Figure[] {
  const pair = (of: (round: Round) => number) => ({
    value: median(ours.map(of)),
    baseline: median(relay.map(of)),
  });
  const name = `propagation agent to agent, ${String(rate)} facts/s`;
  // Of what was written in all rounds, so that no loss hides behind a median.
  const share = (rounds: readonly Round[]): number =>
    rounds.reduce((sum, { deliveredPercent }) => sum + deliveredPercent, 0) / rounds.length;
  const delivered = { value: share(ours), baseline: share(relay) };
  return [
    measured(
      `${name}, p50`,
      pair(({ p50 }) => p50),
      "ms",
      "lower",
    ),
    measured(
      `${name}, p95`,
      pair(({ p95 }) => p95),
      "ms",
      "lower",
    ),
    measured(`${name}, delivered`, delivered, "%", "higher"),
  ];
}

/** What the figures do not show of one rate. */
function noteOn(rate: number, ours: readonly Round[], relay: readonly Round[]): string {
  const late = (rounds: readonly Round[]): string =>
    median(rounds.map(({ lateP50 }) => lateP50)).toFixed(2);
  const failed = ours.reduce((sum, round) => sum + round.failed, 0);
  const refused = failed === 0 ? "" : `; ${String(failed)} writes were refused`;
  return `${String(rate)} facts/s: the writers' timer started writes ${late(ours)} ms (agent) and ${late(relay)} ms (relay) after they were due (p50), which is in the figures${refused}.`;
}

/** Measures a pair of agents beside a relay with two clients, at each rate. */
export async function measurePairs(
  { quick, rates, progress }: BenchOptions,
  options: CrowdOptions,
): Promise<Report> {
  const [rounds, totalSeconds] = quick ? [3, 10] : [5, 64];
  const seconds = totalSeconds / (rounds * rates.length * 2);
  await using stack = new AsyncDisposableStack();
  progress("starting two agents, a relay and its two clients");
  const folder = join(options.folder, "pair");
  const systems = [
    stack.use(await startAgents(2, { ...options, folder })),
    stack.use(await startRelay(2, options)),
  ] as const;
  let from = 0;
  const next = (rate: number): Load => {
    const load = { from, count: Math.ceil(rate * seconds), rate };
    from += load.count;
    return load;
  };
  progress("warming up");
  const fastest = Math.max(...rates);
  for (const system of systems) await runLoad(system, next(fastest));
  const figures: Figure[] = [];
  const timerNotes: string[] = [];
  for (const rate of rates) {
    const [ours, relay]: [Round[], Round[]] = [[], []];
    for (let round = 1; round <= rounds; round++) {
      progress(`${String(rate)} facts/s, round ${String(round)} of ${String(rounds)}`);
      ours.push(await runLoad(systems[0], next(rate)));
      relay.push(await runLoad(systems[1], next(rate)));
    }
    figures.push(...figuresAt(rate, ours, relay));
    timerNotes.push(noteOn(rate, ours, relay));
  }
  return {
    figures,
    notes: [
      "Baseline of agent to agent: a bare ws relay between a writing and a reading process (three processes; an agent mesh is two).",
      "Medians over rounds of the percentiles of a round, delivered over all rounds.",
      ...timerNotes,
    ],
  };
}
