// SPDX-License-Identifier: Apache-2.0
/** Ten nodes, each a process, that all talk to each other: agents, what they are compared with, and what is measured of them. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeSpaceFile } from "@ctxmesh/membership";
import { startChild } from "./children.ts";
import type { Child } from "./children.ts";
import { cpuSeconds } from "./network.ts";
import type { Network } from "./network.ts";
import { foundSpace } from "./space.ts";
import { percentile } from "./stats.ts";
import type { AgentStart } from "./workers/agent.ts";
import type { Flood, Load, Span, WriteResult } from "./workers/load.ts";

const CONNECT_MS = 30_000;
const POLL_MS = 20;

/** What a crowd is started with. */
export interface CrowdOptions {
  readonly network: Network;
  /** For what its nodes store. */
  readonly folder: string;
  /** The agent's program, bundled as the command is: so it is as large, and starts as fast, as what users run. */
  readonly program: string;
  readonly signal: AbortSignal;
}

/** Nodes that are connected each to each, or all to one relay. */
export interface Crowd extends AsyncDisposable {
  /** The first one is the one that writes where only one does. */
  readonly nodes: readonly Child[];
  /** With those that only pass on. */
  readonly processes: readonly Child[];
}

/** Waits until a node, or a relay, has so many peers. */
export async function waitForPeers(child: Child, count: number): Promise<void> {
  const deadline = performance.now() + CONNECT_MS;
  while (Number(await child.call("peers")) < count) {
    if (performance.now() > deadline) throw new Error("the processes do not find each other");
    await sleep(POLL_MS);
  }
}

/** Starts agents of one space. Each is told of those before it. */
export async function startAgents(count: number, options: CrowdOptions): Promise<Crowd> {
  const { network, folder, signal, program } = options;
  const { within } = network;
  await using stack = new AsyncDisposableStack();
  const { space, seeds } = foundSpace(count);
  const nodes = seeds.map(() => stack.use(startChild("agent", signal, { within, program })));
  const addresses: string[] = [];
  for (const [i, node] of nodes.entries()) {
    const own = join(folder, String(i));
    await mkdir(own, { recursive: true });
    const seed = seeds[i] ?? new Uint8Array();
    const start: AgentStart = {
      space: encodeSpaceFile(space),
      seed,
      folder: own,
      peers: addresses,
    };
    addresses.push(...((await node.call("start", start)) as readonly string[]));
  }
  await Promise.all(nodes.map(async (node) => waitForPeers(node, count - 1)));
  return crowdOf(nodes, nodes, stack);
}

/** Starts nodes of plain gossipsub, each with a Yjs document or with nothing. */
export async function startGossip(
  count: number,
  { network, signal }: CrowdOptions,
  yjs: boolean,
): Promise<Crowd> {
  await using stack = new AsyncDisposableStack();
  const nodes = Array.from({ length: count }, () =>
    stack.use(startChild("gossip", signal, network)),
  );
  const addresses: string[] = [];
  for (const node of nodes) {
    const own = (await node.call("start", { yjs })) as readonly string[];
    await node.call("dial", addresses);
    addresses.push(...own);
  }
  await Promise.all(nodes.map(async (node) => waitForPeers(node, count - 1)));
  return crowdOf(nodes, nodes, stack);
}

/** Starts a bare WebSocket relay and its clients. */
export async function startRelay(count: number, { network, signal }: CrowdOptions): Promise<Crowd> {
  await using stack = new AsyncDisposableStack();
  const start = (name: string): Child => stack.use(startChild(name, signal, network));
  const relay = start("relay");
  const url = await relay.call("start");
  const nodes = Array.from({ length: count }, () => start("relay-client"));
  await Promise.all(nodes.map(async (node) => node.call("start", url)));
  await waitForPeers(relay, count);
  return crowdOf(nodes, [relay, ...nodes], stack);
}

function crowdOf(
  nodes: readonly Child[],
  processes: readonly Child[],
  stack: AsyncDisposableStack,
): Crowd {
  const running = stack.move();
  return { nodes, processes, [Symbol.asyncDispose]: async () => running.disposeAsync() };
}

/** What a load cost and how it arrived. */
export interface Spread {
  /** From when a write was due to each reader's callback, in milliseconds; of all readers together. */
  readonly p50: number;
  readonly p95: number;
  /** Of all facts at all readers. */
  readonly deliveredPercent: number;
  /** Of all processes together, for each fact that was written. */
  readonly cpuUs: number;
  /** On the wire, all deliveries together, for each fact that was written; undefined where bytes are not counted. */
  readonly bytes: number | undefined;
  readonly failed: number;
}

/** The processor time and the bytes that something takes. */
export async function costOf<T>(
  { processes }: Crowd,
  network: Network,
  run: () => Promise<T>,
): Promise<{
  readonly result: T;
  readonly cpuSeconds: number;
  readonly bytes: number | undefined;
}> {
  const cpu = (): number => processes.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0);
  const [cpuBefore, bytesBefore] = [cpu(), network.bytes()];
  const result = await run();
  const bytes = network.bytes();
  return {
    result,
    cpuSeconds: cpu() - cpuBefore,
    bytes: bytes === undefined || bytesBefore === undefined ? undefined : bytes - bytesBefore,
  };
}

/** Has some nodes of a crowd write at a rate each, and all others, and those among each other, measure what arrives. */
export async function spread(
  crowd: Crowd,
  network: Network,
  { from, count, rate }: Load,
  { writers = 1, drainMs }: { readonly writers?: number; readonly drainMs: number },
): Promise<Spread> {
  const { nodes } = crowd;
  const all: Span = { from, count: count * writers };
  const loadOf = (i: number): Load => ({ from: from + i * count, count, rate });
  const ownOf = (i: number): Span => (i < writers ? loadOf(i) : { from, count: 0 });
  await Promise.all(
    nodes.map(async (node, i) => node.call("expect", { load: all, own: ownOf(i) })),
  );
  const cost = await costOf(crowd, network, async () => {
    const writing = nodes.slice(0, writers).map(async (node, i) => node.call("write", loadOf(i)));
    const results = (await Promise.all(writing)) as readonly WriteResult[];
    const arrivals = await Promise.all(nodes.map(async (node) => node.call("collect", drainMs)));
    return { results, arrivals: arrivals as readonly Float64Array[] };
  });
  const latencies = cost.result.arrivals.flatMap((own, i) => {
    const { from: first, count: length } = ownOf(i);
    return [...own].filter((_, at) => at < first - from || at >= first - from + length);
  });
  const arrived = latencies.filter((latency) => !Number.isNaN(latency));
  return {
    p50: percentile(arrived, 0.5),
    p95: percentile(arrived, 0.95),
    deliveredPercent: (100 * arrived.length) / latencies.length,
    cpuUs: (1e6 * cost.cpuSeconds) / all.count,
    bytes: cost.bytes === undefined ? undefined : cost.bytes / all.count,
    failed: cost.result.results.reduce((sum, { failed }) => sum + failed, 0),
  };
}

/** Has the first node write as fast as it can, and tells how many facts a second it took until the last reader had the last one. */
export async function sustained(crowd: Crowd, load: Flood, drainMs: number): Promise<number> {
  const [writer, ...readers] = crowd.nodes;
  await Promise.all(readers.map(async (node) => node.call("expect", { load })));
  const startMs = Number(await writer?.call("flood", load));
  const arrivals = await Promise.all(readers.map(async (node) => node.call("collect", drainMs)));
  const missing = (arrivals as readonly Float64Array[]).some((own) => own.some(Number.isNaN));
  const ends = await Promise.all(readers.map(async (node) => node.call("lastMs")));
  return missing ? 0 : (1_000 * load.count) / (Math.max(...ends.map(Number)) - startMs);
}
