// SPDX-License-Identifier: Apache-2.0
/** Agents over links that are far, lossy or thin, as an emulator between them makes them. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeSpaceFile } from "@ctxmesh/membership";
import { createLinkEmulator } from "@ctxmesh/testing";
import type { LinkSettings } from "@ctxmesh/testing";
import { everyPair, freePorts } from "../lab/emulated.ts";
import { startChild } from "./children.ts";
import type { Child } from "./children.ts";
import { aimed, measured } from "./figure.ts";
import type { BenchOptions, Figure, Report } from "./figure.ts";
import { spread, waitForPeers } from "./mesh-crowd.ts";
import type { Crowd, CrowdOptions } from "./mesh-crowd.ts";
import { foundSpace } from "./space.ts";
import { percentile } from "./stats.ts";
import type { AgentStart } from "./workers/agent.ts";
import type { Load } from "./workers/load.ts";

const FAR: Partial<LinkSettings> = { delayMs: 50, loss: 0.02 };
const FAR_AGENTS = 4;
const FAR_RATE = 100;
const THIN: Partial<LinkSettings> = { bytesPerSecond: 32_000 };
const THIN_BUDGET = "256kbit";
/** Twice what the thin link carries. */
const LOW_RATE = 800;
const HIGH_RATE = 5;
/** Until the link is full. */
const FILL_MS = 2_000;
const DRAIN_MS = 15_000;

/** Starts agents that reach each other over links with these settings alone. */
async function startFar(
  count: number,
  settings: Partial<LinkSettings>,
  options: CrowdOptions,
  budget?: string,
): Promise<Crowd> {
  const { folder, signal, program } = options;
  await using stack = new AsyncDisposableStack();
  const { space, seeds } = foundSpace(count);
  const ports = await freePorts(count);
  const peers: string[][] = ports.map(() => []);
  for (const [i, [a, b]] of everyPair(count).entries()) {
    const link = stack.use(createLinkEmulator({ seed: i + 1, settings }));
    const target = { host: "127.0.0.1", port: ports[a] ?? 0 };
    const { port } = await link.forward({ target, from: "b" });
    peers[b]?.push(`/ip4/127.0.0.1/tcp/${String(port)}`);
  }
  const nodes: Child[] = [];
  for (const [i, port] of ports.entries()) {
    const node = stack.use(startChild("agent", signal, { program }));
    nodes.push(node);
    const own = join(folder, `far-${String(port)}`);
    await mkdir(own);
    const start: AgentStart = {
      space: encodeSpaceFile(space),
      seed: seeds[i] ?? new Uint8Array(),
      folder: own,
      peers: peers[i] ?? [],
      // Else agents would tell each other where they listen, and dial past the links.
      announce: [],
      listen: [`/ip4/127.0.0.1/tcp/${String(port)}`],
      ...(budget === undefined ? {} : { budget }),
    };
    await node.call("start", start);
  }
  await Promise.all(nodes.map(async (node) => waitForPeers(node, count - 1)));
  const running = stack.move();
  return { nodes, processes: nodes, [Symbol.asyncDispose]: async () => running.disposeAsync() };
}

/** Four agents, 50 ms and two lost segments in a hundred between any two of them. */
async function far(options: CrowdOptions, seconds: number): Promise<Figure[]> {
  await using crowd = await startFar(FAR_AGENTS, FAR, options);
  let from = 0;
  const run = async (duration: number) => {
    const load: Load = { from, count: FAR_RATE * duration, rate: FAR_RATE };
    from += load.count;
    return spread(crowd, options.network, load, { drainMs: DRAIN_MS });
  };
  await run(2);
  const { p50, p95, deliveredPercent } = await run(seconds);
  const name = "four agents, 50 ms and 2 % loss apart, 100 facts/s";
  return [
    measured(`${name}, p50`, { value: p50, baseline: null }, "ms", "lower"),
    aimed(`${name}, p95`, { value: p95, baseline: null }, "ms", "lower", 300),
    aimed(`${name}, delivered`, { value: deliveredPercent, baseline: null }, "%", "higher", 100),
  ];
}

/** Two agents on a thin link that writes of low priority fill; how long urgent ones take. */
async function thin(options: CrowdOptions, seconds: number): Promise<Figure[]> {
  await using crowd = await startFar(2, THIN, options, THIN_BUDGET);
  const [writer, reader] = crowd.nodes;
  if (writer === undefined || reader === undefined) throw new Error("a link has two ends");
  const high: Load = { from: 0, count: HIGH_RATE * seconds, rate: HIGH_RATE, priority: "high" };
  const lowCount = LOW_RATE * (seconds + FILL_MS / 1_000);
  const low: Load = { from: high.count, count: lowCount, rate: LOW_RATE, priority: "low" };
  await reader.call("expect", { load: high });
  const filling = writer.call("write", low);
  await sleep(FILL_MS);
  await writer.call("write", high);
  const latencies = (await reader.call("collect", DRAIN_MS)) as Float64Array;
  await filling;
  const arrived = latencies.filter((latency) => !Number.isNaN(latency));
  const name = "256 kbit/s full of low priority, high priority";
  const share = (100 * arrived.length) / high.count;
  return [
    measured(`${name}, p50`, { value: percentile(arrived, 0.5), baseline: null }, "ms", "lower"),
    aimed(
      `${name}, p95`,
      { value: percentile(arrived, 0.95), baseline: null },
      "ms",
      "lower",
      1_000,
    ),
    aimed(`${name}, delivered`, { value: share, baseline: null }, "%", "higher", 100),
  ];
}

/** Measures bad links. */
export async function measureLinks(
  { quick, progress }: BenchOptions,
  options: CrowdOptions,
): Promise<Report> {
  const seconds = quick ? 8 : 20;
  progress("far links");
  const figures = await far(options, seconds);
  progress("a thin link");
  figures.push(...(await thin(options, seconds)));
  return {
    figures,
    notes: [
      "Bad links are those of the emulator in @ctxmesh/testing: a lost segment holds up those behind it, as TCP's do, for a retransmission.",
    ],
  };
}
