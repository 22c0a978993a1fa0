// SPDX-License-Identifier: Apache-2.0
/** Hubs: one with agents beside a bare relay, and two that share a PostgreSQL. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { openPostgresEngine } from "@ctxmesh/engine-postgres";
import { encodeSpaceFile } from "@ctxmesh/membership";
import { parseSpaceId, toHex } from "@ctxmesh/model";
import type { Engine } from "@ctxmesh/model";
import { PostgresServer, serverPrograms } from "../../packages/engine-postgres/test/server.ts";
import { startChild } from "./children.ts";
import type { Child } from "./children.ts";
import { aimed, measured } from "./figure.ts";
import type { Bench, BenchOptions, Figure, Report } from "./figure.ts";
import { benchFolder } from "./files.ts";
import { spread, startRelay, waitForPeers } from "./mesh-crowd.ts";
import type { Crowd, CrowdOptions, Spread } from "./mesh-crowd.ts";
import { alone } from "./mesh-ten-figures.ts";
import { residentMb } from "./network.ts";
import { foundSpace } from "./space.ts";
import { median, percentile } from "./stats.ts";
import type { AgentStart } from "./workers/agent.ts";
import type { HubStart } from "./workers/hub.ts";
import type { Load } from "./workers/load.ts";

const NODES = 10;
const RATE = 1_000;
const FAN_OUT_RATE = 50;
const WARM_UP = 2_000;
const DRAIN_MS = 15_000;
const BATCH_BYTES = 400;
/** Batches that wait at each of two hubs. */
const AT_ONCE = 32;
const CLIENTS = 16;
const DOCUMENTS = 10_000;
const POLL_MS = 500;

interface Hubs extends Crowd {
  readonly hubs: readonly Child[];
}

/** Agents in turn at hubs that share a database, or one that has none. */
async function startHubs(
  sizes: { readonly agents: number; readonly hubs: number },
  folder: string,
  signal: AbortSignal,
  engine?: string,
): Promise<Hubs> {
  await using stack = new AsyncDisposableStack();
  const { space, seeds } = foundSpace(sizes.agents, sizes.hubs);
  const file = encodeSpaceFile(space);
  const start = async (kind: "agent" | "hub", i: number, more: object): Promise<Child> => {
    const own = join(folder, String(i));
    await mkdir(own, { recursive: true });
    const child = stack.use(startChild(kind, signal));
    const common: HubStart = { space: file, seed: seeds[i] ?? new Uint8Array(), folder: own };
    addresses.push((await child.call("start", { ...common, ...more })) as readonly string[]);
    return child;
  };
  const addresses: (readonly string[])[] = [];
  const hubs: Child[] = [];
  for (let i = 0; i < sizes.hubs; i++) {
    hubs.push(await start("hub", sizes.agents + i, engine === undefined ? {} : { engine }));
  }
  const urls = addresses.splice(0);
  const nodes: Child[] = [];
  for (let i = 0; i < sizes.agents; i++) {
    const more: Pick<AgentStart, "peers" | "listen" | "hubs"> = {
      peers: [],
      listen: [],
      hubs: urls[i % sizes.hubs] ?? [],
    };
    nodes.push(await start("agent", i, more));
  }
  await Promise.all(nodes.map(async (node) => waitForPeers(node, 1)));
  const running = stack.move();
  return {
    hubs,
    nodes,
    processes: [...hubs, ...nodes],
    [Symbol.asyncDispose]: async () => running.disposeAsync(),
  };
}

/** All on this machine, and bytes are not counted. */
const network: CrowdOptions["network"] = {
  within: [],
  bytes: () => undefined,
  notes: [],
  [Symbol.asyncDispose]: async () => Promise.resolve(),
};

/** Once to warm up, and once to measure. */
async function spreadTwice(crowd: Crowd, quick: boolean): Promise<Spread> {
  const count = RATE * (quick ? 5 : 15);
  await spread(crowd, network, { from: 0, count: WARM_UP, rate: RATE }, { drainMs: DRAIN_MS });
  return spread(crowd, network, { from: WARM_UP, count, rate: RATE }, { drainMs: DRAIN_MS });
}

/** What a bare relay takes to nine readers. */
async function bareRelay(
  { signal, quick, progress }: BenchOptions,
  folder: string,
): Promise<Spread> {
  progress("a relay and nine readers");
  await using crowd = await startRelay(NODES, { network, folder, program: "", signal });
  return await spreadTwice(crowd, quick);
}

function besideRelay(name: string, ours: Spread, relay: Spread): Figure[] {
  const delivered = { value: ours.deliveredPercent, baseline: relay.deliveredPercent };
  const p50 = { value: ours.p50, baseline: relay.p50 };
  const p95 = { value: ours.p95, baseline: relay.p95 };
  return [
    aimed(`${name}, p50, beside a bare relay`, p50, "ms", "lower", 2 * relay.p50),
    measured(`${name}, p95, beside a bare relay`, p95, "ms", "lower"),
    aimed(`${name}, delivered`, delivered, "%", "higher", 100),
  ];
}

/** Nine agents behind one hub, and nine readers behind a bare relay. */
async function embedded(
  { signal, quick, progress }: BenchOptions,
  folder: string,
  relay: Spread,
): Promise<Figure[]> {
  progress("a hub and nine readers");
  await using crowd = await startHubs({ agents: NODES, hubs: 1 }, join(folder, "nine"), signal);
  const ours = await spreadTwice(crowd, quick);
  return besideRelay("through a hub to nine agents, 1,000 facts/s", ours, relay);
}

/** Nine stock Yjs providers behind one hub, and nine readers behind a bare relay. */
async function yjs(
  { signal, quick, progress }: BenchOptions,
  folder: string,
  relay: Spread,
): Promise<Figure[]> {
  progress("a hub and nine Yjs providers");
  await using stack = new AsyncDisposableStack();
  const { space, seeds } = foundSpace(1, 1);
  await mkdir(folder, { recursive: true });
  const hub = stack.use(startChild("hub", signal));
  const seed = seeds[1] ?? new Uint8Array();
  const start: HubStart = { space: encodeSpaceFile(space), seed, folder, yjs: true };
  await hub.call("start", start);
  const door = await hub.call("door");
  const nodes = Array.from({ length: NODES }, () => stack.use(startChild("yjs-client", signal)));
  await Promise.all(nodes.map(async (node) => node.call("start", door)));
  const crowd: Crowd = {
    nodes,
    processes: [hub, ...nodes],
    [Symbol.asyncDispose]: async () => stack.disposeAsync(),
  };
  const ours = await spreadTwice(crowd, quick);
  return besideRelay("through a hub to nine stock Yjs providers, 1,000 facts/s", ours, relay);
}

/** One agent writes as fast as it can, until the hub has all of it. */
async function sustained(
  { signal, quick, progress }: BenchOptions,
  folder: string,
): Promise<Figure> {
  progress("a flood");
  await using crowd = await startHubs({ agents: 1, hubs: 1 }, join(folder, "flood"), signal);
  const [[writer], [hub]] = [crowd.nodes, crowd.hubs];
  const rates: number[] = [];
  const count = quick ? 50_000 : 100_000;
  for (let round = 0; round < 3; round++) {
    const load = { from: round * count, count, batch: 100, atOnce: 8 };
    await hub?.call("expect", { load });
    const startMs = Number(await writer?.call("flood", load));
    const arrivals = (await hub?.call("collect", 4 * DRAIN_MS)) as Float64Array;
    const isWhole = !arrivals.some(Number.isNaN);
    rates.push(isWhole ? (1_000 * count) / (Number(await hub?.call("lastMs")) - startMs) : 0);
  }
  return aimed(
    "one agent writes batches of 100, until the hub has all",
    alone(median(rates)),
    "facts/s",
    "higher",
    25_000,
  );
}

const statusOf = async (child: Child | undefined) =>
  (await child?.call("status")) as { readonly digest: string };

/** What a hub takes that has many documents, and was asked for all of them. */
async function memory({ signal, progress }: BenchOptions, folder: string): Promise<Figure> {
  progress("many documents");
  await using crowd = await startHubs({ agents: 1, hubs: 1 }, join(folder, "cold"), signal);
  const [[writer], [hub]] = [crowd.nodes, crowd.hubs];
  const idleMb = residentMb(hub?.pid ?? 0);
  await writer?.call("documents", { count: DOCUMENTS, bytes: 1_024 });
  const { digest } = await statusOf(writer);
  while ((await statusOf(hub)).digest !== digest) await sleep(POLL_MS);
  const name = "memory of a hub with 10,000 documents of 1 KB, beside one with none";
  return aimed(name, { value: residentMb(hub?.pid ?? 0), baseline: idleMb }, "MB", "lower", 256);
}

/** Rows that a database takes when each is a transaction of its own: what its own benchmark makes of it. */
async function pgbench(
  programs: string,
  url: string,
  folder: string,
  seconds: number,
): Promise<number> {
  const script = join(folder, "insert.sql");
  await writeFile(
    script,
    `INSERT INTO plain (bytes) VALUES (decode(repeat('ab', ${String(BATCH_BYTES)}), 'hex'));\n`,
  );
  const options = ["-n", "-f", script, "-c", String(CLIENTS), "-T", String(seconds), url];
  const { stdout } = await promisify(execFile)(join(programs, "pgbench"), options);
  return Number(/tps = ([\d.]+)/u.exec(stdout)?.[1]);
}

async function appendFor(engine: Engine, seconds: number): Promise<number> {
  const space = parseSpaceId(toHex(randomBytes(32)));
  const end = performance.now() + 1_000 * seconds;
  let count = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() < end) {
      await engine.append(space, [
        { kind: "batch", id: randomBytes(32), bytes: randomBytes(BATCH_BYTES) },
      ]);
      count++;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return count / seconds;
}

/** Batches that two hubs make durable in one database. */
async function durable(
  server: PostgresServer,
  programs: string,
  { quick, progress }: BenchOptions,
  folder: string,
): Promise<Figure> {
  progress("durable batches");
  const seconds = quick ? 4 : 10;
  await server.sql("CREATE TABLE plain (id BIGSERIAL PRIMARY KEY, bytes BYTEA)");
  const baseline = await pgbench(programs, server.url, folder, seconds);
  const engines = [
    await openPostgresEngine({ url: server.url }),
    await openPostgresEngine({ url: server.url }),
  ];
  await Promise.all(engines.map(async (engine) => appendFor(engine, 1)));
  const rates = await Promise.all(engines.map(async (engine) => appendFor(engine, seconds)));
  await Promise.all(engines.map(async (engine) => engine.close()));
  const value = rates.reduce((sum, rate) => sum + rate, 0);
  return aimed(
    "durable batches on PostgreSQL, 64 that wait, beside pgbench with a transaction each",
    { value, baseline },
    "batches/s",
    "higher",
    1_500,
  );
}

/** From an agent at one hub to the other hub, and to its agent. */
async function fanOut(
  server: PostgresServer,
  { signal, quick, progress }: BenchOptions,
  folder: string,
): Promise<Figure[]> {
  progress("two hubs on one database");
  await using crowd = await startHubs(
    { agents: 2, hubs: 2 },
    join(folder, "two"),
    signal,
    server.url,
  );
  const [writer, reader] = crowd.nodes;
  const [near, far] = crowd.hubs;
  const write = async (load: Load): Promise<readonly Float64Array[]> => {
    const watching = [near, far, reader];
    await Promise.all(watching.map(async (child) => child?.call("expect", { load })));
    await writer?.call("write", load);
    return Promise.all(
      watching.map(async (child) => child?.call("collect", DRAIN_MS) as Promise<Float64Array>),
    );
  };
  await write({ from: 0, count: 5 * FAN_OUT_RATE, rate: FAN_OUT_RATE });
  const count = FAN_OUT_RATE * (quick ? 10 : 30);
  const [first, second, last] = await write({ from: 1_000, count, rate: FAN_OUT_RATE });
  const between = [...(second ?? [])].map((latency, i) => latency - (first?.[i] ?? Number.NaN));
  const name = `two hubs on one PostgreSQL, ${String(FAN_OUT_RATE)} batches/s`;
  return [
    aimed(`${name}, hub to hub, p50`, alone(percentile(between, 0.5)), "ms", "lower", 30),
    aimed(`${name}, hub to hub, p99`, alone(percentile(between, 0.99)), "ms", "lower", 150),
    measured(`${name}, agent to agent, p50`, alone(percentile(last ?? [], 0.5)), "ms", "lower"),
    measured(`${name}, agent to agent, p99`, alone(percentile(last ?? [], 0.99)), "ms", "lower"),
  ];
}

async function run(bench: BenchOptions): Promise<Report> {
  await using folder = await benchFolder();
  const relay = await bareRelay(bench, folder.path);
  const figures = [
    ...(await embedded(bench, folder.path, relay)),
    ...(await yjs(bench, join(folder.path, "yjs"), relay)),
    await sustained(bench, folder.path),
    await memory(bench, folder.path),
  ];
  const programs = serverPrograms();
  const notes = [
    "Every hub and agent is a process, and syncs each batch to disk before it says so or passes it on. The relay does neither.",
    ...folder.notes,
  ];
  if (programs === undefined) {
    return {
      figures,
      notes: [...notes, "No PostgreSQL server is installed: nothing was measured on one."],
    };
  }
  await using server = await PostgresServer.start(programs);
  figures.push(await durable(server, programs, bench, folder.path));
  figures.push(...(await fanOut(server, bench, folder.path)));
  return { figures, notes };
}

/** `hub`: hubs with agents, and with each other. */
export const hubBench: Bench = {
  summary:
    "hubs: propagation and rate beside a bare relay; durable batches and fan-out on PostgreSQL",
  run,
};
