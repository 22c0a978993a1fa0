// SPDX-License-Identifier: Apache-2.0
/** Ten agents that see each other, beside plain gossipsub with and without Yjs, and a bare relay with nine readers. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { aimed, measured } from "./figure.ts";
import type { BenchOptions, Figure, Report } from "./figure.ts";
import {
  costOf,
  spread,
  startAgents,
  startGossip,
  startRelay,
  sustained,
  waitForPeers,
} from "./mesh-crowd.ts";
import type { Crowd, CrowdOptions, Spread } from "./mesh-crowd.ts";
import { alone, figuresOf } from "./mesh-ten-figures.ts";
import { residentMb } from "./network.ts";
import { median } from "./stats.ts";

const NODES = 10;
const READERS = NODES - 1;
const RATE = 1_000;
/** All ten write at once at this rate each. */
const RATE_OF_ALL = 100;
/** Facts that an agent holds when its memory is measured. */
const HELD = 20_000;
const BATCH = 100;
const AT_ONCE = 4;
/** Agents that come from one address at the same moment. */
const MANY = 12;
const MINUTE = 60;

/** How long each part is measured, in seconds. */
interface Durations {
  readonly rounds: number;
  /** Of the agents and the relay. */
  readonly load: number;
  /** Of gossipsub, which works it off for many times as long. */
  readonly heavy: number;
  readonly idle: number;
  /** Facts of the flood of the agents, and of plain gossipsub with Yjs. */
  readonly flood: readonly [number, number];
}

const QUICK: Durations = { rounds: 1, load: 5, heavy: 2, idle: 20, flood: [50_000, 10_000] };
const FULL: Durations = { rounds: 3, load: 10, heavy: 5, idle: 60, flood: [200_000, 40_000] };
/** How long what is late may take; gossipsub works off what it could not take in time. */
const DRAIN_MS = 15_000;

/** Deals out what is written, so that nothing is written twice. */
class Writes {
  #next = 0;

  take(count: number): number {
    const from = this.#next;
    this.#next += count;
    return from;
  }
}

/** Warms a crowd up, and measures a single writer at 1,000 facts a second. */
async function oneWriter(
  crowd: Crowd,
  { network }: CrowdOptions,
  writes: Writes,
  { rounds }: Durations,
  load: number,
): Promise<readonly Spread[]> {
  const run = async (seconds: number): Promise<Spread> => {
    const count = RATE * seconds;
    const from = writes.take(count);
    return spread(crowd, network, { from, count, rate: RATE }, { drainMs: DRAIN_MS });
  };
  await run(load / 2);
  const spreads: Spread[] = [];
  for (let round = 0; round < rounds; round++) spreads.push(await run(load));
  return spreads;
}

/** What ten agents take while nothing happens. */
async function idle(crowd: Crowd, { network }: CrowdOptions, seconds: number): Promise<Figure[]> {
  const { cpuSeconds, bytes } = await costOf(crowd, network, async () => sleep(1_000 * seconds));
  const cpu = (100 * cpuSeconds) / seconds / NODES;
  const links = (NODES * READERS) / 2;
  const rate = bytes === undefined ? undefined : (bytes * MINUTE) / seconds / links;
  return [
    aimed("an idle agent of ten, part of a core", alone(cpu), "%", "lower", 1),
    ...(rate === undefined
      ? []
      : [aimed("idle agents, both ways of a link", alone(rate / 1_024), "KB/min", "lower", 2)]),
  ];
}

/** What an agent that holds 20,000 facts needs while 1,000 a second come. */
async function memory(
  crowd: Crowd,
  { network }: CrowdOptions,
  writes: Writes,
  seconds: number,
): Promise<Figure> {
  await sustained(
    crowd,
    { from: writes.take(HELD), count: HELD, batch: BATCH, atOnce: 1 },
    DRAIN_MS,
  );
  const count = RATE * seconds;
  const load = { from: writes.take(count), count, rate: RATE };
  const sizes: number[] = [];
  const timer = setInterval(() => {
    sizes.push(...crowd.processes.slice(1).map(({ pid }) => residentMb(pid)));
  }, 1_000);
  await spread(crowd, network, load, { drainMs: DRAIN_MS });
  clearInterval(timer);
  const name = "memory of an agent with 20,000 facts under 1,000 facts/s";
  return aimed(name, alone(median(sizes)), "MB", "lower", 128);
}

/** Ten agents that all write. */
async function allWrite(
  crowd: Crowd,
  { network }: CrowdOptions,
  writes: Writes,
  seconds: number,
): Promise<Figure[]> {
  const count = RATE_OF_ALL * seconds;
  const load = { from: writes.take(count * NODES), count, rate: RATE_OF_ALL };
  const { p50, p95, deliveredPercent, cpuUs } = await spread(crowd, network, load, {
    writers: NODES,
    drainMs: DRAIN_MS,
  });
  const name = "ten agents, each writes 100 facts/s";
  return [
    measured(`${name}, p50`, alone(p50), "ms", "lower"),
    measured(`${name}, p95`, alone(p95), "ms", "lower"),
    measured(`${name}, delivered`, alone(deliveredPercent), "%", "higher"),
    measured(`${name}, processor time per fact`, alone(cpuUs), "us", "lower"),
  ];
}

/** Agents of one address that come at the same moment; how many are connected to all others. */
async function manyAtOnce(options: CrowdOptions): Promise<Figure> {
  await using crowd = await startAgents(MANY, { ...options, folder: join(options.folder, "many") });
  const name = `${String(MANY)} agents behind one address, connected to all others`;
  const peers = await Promise.all(crowd.nodes.map(async (node) => node.call("peers")));
  const value = peers.filter((count) => Number(count) === MANY - 1).length;
  return aimed(name, alone(value), "agents", "higher", MANY);
}

/** Measures ten agents, and what they are compared with, in turn. */
export async function measureTen(
  { quick, progress }: BenchOptions,
  options: CrowdOptions,
): Promise<Report> {
  const durations = quick ? QUICK : FULL;
  const writes = new Writes();
  const measure = async (
    what: string,
    seconds: number,
    start: () => Promise<Crowd>,
  ): Promise<readonly Spread[]> => {
    progress(what);
    await using crowd = await start();
    // Awaited here, since the crowd goes away at the end of this block.
    return await oneWriter(crowd, options, writes, durations, seconds);
  };
  const { load, heavy } = durations;
  const relay = await measure("a relay", load, async () => startRelay(NODES, options));
  const gossip = await measure("gossipsub", heavy, async () => startGossip(NODES, options, false));
  progress("gossipsub and Yjs");
  await using yjsCrowd = await startGossip(NODES, options, true);
  const yjs = await oneWriter(yjsCrowd, options, writes, durations, heavy);
  const [count, yjsCount] = durations.flood;
  const floodOf = (facts: number) => ({
    from: writes.take(facts),
    count: facts,
    batch: BATCH,
    atOnce: AT_ONCE,
  });
  const yjsRate = await sustained(yjsCrowd, floodOf(yjsCount), DRAIN_MS);
  await yjsCrowd[Symbol.asyncDispose]();
  progress("ten agents");
  await using crowd = await startAgents(NODES, { ...options, folder: join(options.folder, "ten") });
  await Promise.all(crowd.nodes.map(async (node) => waitForPeers(node, READERS)));
  const ours = await oneWriter(crowd, options, writes, durations, load);
  const figures = figuresOf({ ours, yjs, gossip, relay });
  progress("ten agents that all write");
  figures.push(...(await allWrite(crowd, options, writes, load)));
  progress("memory");
  figures.push(await memory(crowd, options, writes, load));
  progress("a flood");
  const rate = await sustained(crowd, floodOf(count), DRAIN_MS);
  figures.push(
    aimed(
      "ten agents, one writes batches of 100, until all have all; beside gossipsub and Yjs",
      // None, if it did not deliver all of it.
      { value: rate, baseline: yjsRate === 0 ? null : yjsRate },
      "facts/s",
      "higher",
      10_000,
    ),
  );
  progress("nothing, for a while");
  figures.push(...(await idle(crowd, options, durations.idle)));
  await crowd[Symbol.asyncDispose]();
  progress("many agents of one address");
  figures.push(await manyAtOnce(options));
  return { figures, notes: notesOn(ours) };
}

function notesOn(ours: readonly Spread[]): readonly string[] {
  const failed = ours.reduce((sum, one) => sum + one.failed, 0);
  return [
    "Ten agents, gossipsub and Yjs, raw gossipsub: ten processes, each connected to all others; the relay: ten clients, eleven processes. Processor time and bytes are those of all processes together.",
    "Gossipsub as it comes, but that it keeps its connections while it is busy; one message per fact, nothing kept on disk. Late writes are part of its latency, and of its processor time.",
    ...(failed === 0 ? [] : [`${String(failed)} writes of the agent were refused.`]),
  ];
}
