// SPDX-License-Identifier: Apache-2.0
/**
 * Propagation from agent to agent over libp2p on loopback, against a bare WebSocket relay: a writer
 * and a reader as processes of their own, the same load in turn, each write measured from the moment
 * it was due to the reader's callback.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeSpaceFile } from "@ctxmesh/membership";
import { startChild } from "./children.ts";
import type { Child } from "./children.ts";
import { measured } from "./figure.ts";
import type { Bench, BenchOptions, Figure } from "./figure.ts";
import { benchFolder } from "./files.ts";
import { foundSpace } from "./space.ts";
import { median, percentile } from "./stats.ts";
import type { AgentStart } from "./workers/agent.ts";
import type { Load, WriteResult } from "./workers/load.ts";

/** How long the last writes of a load may take to arrive. */
const DRAIN_MS = 3_000;
const CONNECT_MS = 10_000;
const POLL_MS = 20;

interface System {
  readonly writer: Child;
  readonly reader: Child;
}

interface Round {
  readonly p50: number;
  readonly p95: number;
  readonly deliveredPercent: number;
  readonly failed: number;
  readonly lateP50: number;
}

async function waitForPeers(child: Child, count: number): Promise<void> {
  const deadline = performance.now() + CONNECT_MS;
  while (Number(await child.call("peers")) < count) {
    if (performance.now() > deadline) throw new Error("the processes do not find each other");
    await sleep(POLL_MS);
  }
}

async function startAgents(
  stack: AsyncDisposableStack,
  folder: string,
  signal: AbortSignal,
): Promise<System> {
  const { space, seeds } = foundSpace(2);
  const start = async (index: number, peers: readonly string[]) => {
    const child = stack.use(startChild("agent", signal));
    const own = join(folder, String(index));
    await mkdir(own);
    const seed = seeds[index] ?? new Uint8Array();
    const argument: AgentStart = { space: encodeSpaceFile(space), seed, folder: own, peers };
    return { child, addresses: (await child.call("start", argument)) as readonly string[] };
  };
  const writer = await start(0, []);
  const reader = await start(1, writer.addresses);
  await Promise.all([waitForPeers(writer.child, 1), waitForPeers(reader.child, 1)]);
  return { writer: writer.child, reader: reader.child };
}

async function startRelay(stack: AsyncDisposableStack, signal: AbortSignal): Promise<System> {
  const [relay, writer, reader] = [
    stack.use(startChild("relay", signal)),
    stack.use(startChild("relay-client", signal)),
    stack.use(startChild("relay-client", signal)),
  ];
  const url = await relay.call("start");
  await Promise.all([writer.call("start", url), reader.call("start", url)]);
  await waitForPeers(relay, 2);
  return { writer, reader };
}

/** Has the writer write a load and the reader measure it. */
async function runLoad({ writer, reader }: System, load: Load): Promise<Round> {
  await reader.call("expect", load);
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

async function run({ quick, rates, signal, progress }: BenchOptions) {
  const [rounds, totalSeconds] = quick ? [3, 10] : [5, 64];
  const seconds = totalSeconds / (rounds * rates.length * 2);
  await using folder = await benchFolder();
  await using stack = new AsyncDisposableStack();
  progress("starting two agents, a relay and its two clients");
  const systems = [
    await startAgents(stack, folder.path, signal),
    await startRelay(stack, signal),
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
      "Baseline: a bare ws relay between a writing and a reading process (three processes; an agent mesh is two).",
      "The agents sign each batch, sync it to disk at the writer, check and verify it and sync it to disk again at the reader, before its callback runs. The relay does none of that.",
      "From the moment each write was due (open loop) to the reader's callback; medians over rounds of the percentiles of a round, delivered over all rounds.",
      ...timerNotes,
      ...folder.notes,
    ],
  };
}

/** `mesh`: propagation. */
export const meshBench: Bench = {
  summary: "propagation agent to agent over libp2p, against a bare ws relay",
  run,
};
