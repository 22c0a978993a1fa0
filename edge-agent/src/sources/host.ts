// SPDX-License-Identifier: Apache-2.0
/**
 * The `host` source: the state of the machine that the agent runs on, as the facts
 * `host/<name>/<metric>` with confidence 1.
 *
 * | Metric | Unit |
 * | --- | --- |
 * | `cpu_percent` | busy share of all CPUs since the last reading, 0 to 100 |
 * | `memory_percent`, `memory_used_bytes`, `memory_total_bytes` | used = total - available |
 * | `load_1m`, `load_5m`, `load_15m` | runnable tasks |
 * | `disk_percent`, `disk_used_bytes`, `disk_total_bytes` | file system of `disk` |
 * | `network_rx_bytes_per_s`, `network_tx_bytes_per_s` | since the last reading, without loopback |
 *
 * A metric that the system does not tell is left out; rates begin with the second reading.
 */
import { readFile, statfs } from "node:fs/promises";
import { cpus, freemem, hostname, loadavg, totalmem } from "node:os";
import type { FactInput } from "@ctxmesh/model";
import { parseCpuTimes, parseLoad, parseMemory, parseNetwork } from "./proc.ts";
import type { CpuTimes, MemoryUse, NetworkBytes } from "./proc.ts";
import { createLoop, writeTurn } from "./source.ts";
import type { AlsoKey, CommonSourceOptions, Source, SourceDeps, WriteFacts } from "./source.ts";

/** Options of the `host` source. */
export interface HostSourceOptions extends CommonSourceOptions {
  /** The middle part of the keys; default: the host name. */
  readonly name?: string;
  /** Default `telemetry`. */
  readonly doc?: string;
  /** Milliseconds between readings, default 1,000. */
  readonly intervalMs?: number;
  /** A path on the file system to measure, default `/`. */
  readonly disk?: string;
  /** Shared keys; `from` names a metric, by default `cpu_percent`. */
  readonly also?: readonly AlsoKey[];
}

/** One reading; what could not be read is absent. */
export interface HostReading {
  readonly atMs: number;
  readonly cpu?: CpuTimes | undefined;
  readonly memory?: MemoryUse | undefined;
  readonly load?: readonly number[] | undefined;
  readonly disk?: { readonly total: number; readonly available: number } | undefined;
  readonly network?: NetworkBytes | undefined;
}

/** Version of the metrics' meaning, in each fact's source. */
const SOURCE_VERSION = "1";
const DEFAULT_INTERVAL_MS = 1_000;

const readText = (path: string): Promise<string> => readFile(path, "utf8").catch(() => "");

function portableCpuTimes(): CpuTimes | undefined {
  let busy = 0;
  let total = 0;
  for (const { times } of cpus()) {
    const sum = times.user + times.nice + times.sys + times.idle + times.irq;
    total += sum;
    busy += sum - times.idle;
  }
  return total === 0 ? undefined : { busy, total };
}

/** Reads the machine: /proc where there is one, `node:os` elsewhere. */
export async function readHost(diskPath: string, atMs: number): Promise<HostReading> {
  const [stat, meminfo, load, network, disk] = await Promise.all([
    readText("/proc/stat"),
    readText("/proc/meminfo"),
    readText("/proc/loadavg"),
    readText("/proc/net/dev"),
    statfs(diskPath).catch(() => undefined),
  ]);
  return {
    atMs,
    cpu: parseCpuTimes(stat) ?? portableCpuTimes(),
    memory: parseMemory(meminfo) ?? { total: totalmem(), available: freemem() },
    load: parseLoad(load) ?? (process.platform === "win32" ? undefined : loadavg()),
    network: parseNetwork(network),
    disk: disk && { total: disk.blocks * disk.bsize, available: disk.bavail * disk.bsize },
  };
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits));

function addUse(
  metrics: Map<string, number>,
  name: string,
  use: { readonly total: number; readonly available: number } | undefined,
): void {
  if (use === undefined || use.total <= 0) return;
  const used = use.total - use.available;
  metrics.set(`${name}_percent`, round((100 * used) / use.total, 1));
  metrics.set(`${name}_used_bytes`, used);
  metrics.set(`${name}_total_bytes`, use.total);
}

/** The metrics of a reading, given the one before; counters that went back give no rate. */
export function metricsOf(reading: HostReading, before?: HostReading): Map<string, number> {
  const metrics = new Map<string, number>();
  if (reading.cpu !== undefined && before?.cpu !== undefined) {
    const total = reading.cpu.total - before.cpu.total;
    const busy = reading.cpu.busy - before.cpu.busy;
    if (total > 0 && busy >= 0 && busy <= total) {
      metrics.set("cpu_percent", round((100 * busy) / total, 1));
    }
  }
  addUse(metrics, "memory", reading.memory);
  const [oneMinute, fiveMinutes, fifteenMinutes] = reading.load ?? [];
  if (oneMinute !== undefined) metrics.set("load_1m", round(oneMinute, 2));
  if (fiveMinutes !== undefined) metrics.set("load_5m", round(fiveMinutes, 2));
  if (fifteenMinutes !== undefined) metrics.set("load_15m", round(fifteenMinutes, 2));
  addUse(metrics, "disk", reading.disk);
  if (reading.network !== undefined && before?.network !== undefined) {
    const seconds = (reading.atMs - before.atMs) / 1_000;
    const received = reading.network.received - before.network.received;
    const sent = reading.network.sent - before.network.sent;
    if (seconds > 0 && received >= 0 && sent >= 0) {
      metrics.set("network_rx_bytes_per_s", Math.round(received / seconds));
      metrics.set("network_tx_bytes_per_s", Math.round(sent / seconds));
    }
  }
  return metrics;
}

/** Creates the source; nothing is read before `start`. */
export function createHostSource(options: HostSourceOptions, deps: SourceDeps): Source {
  const machine = hostname();
  const { name = machine, doc = "telemetry", disk = "/", also = [] } = options;
  const { intervalMs = DEFAULT_INTERVAL_MS } = options;
  const source = { model: "host", version: SOURCE_VERSION, instance: machine };
  let before: HostReading | undefined;
  const turn = async (write: WriteFacts): Promise<number> => {
    const reading = await readHost(disk, deps.clock.now());
    const metrics = metricsOf(reading, before);
    before = reading;
    const facts: FactInput[] = [];
    for (const [metric, value] of metrics) {
      facts.push({ key: `host/${name}/${metric}`, value, confidence: 1, source });
    }
    await writeTurn(write, { doc, also, source }, facts, (from = "cpu_percent") =>
      metrics.get(from),
    );
    return intervalMs;
  };
  return createLoop(`host:${name}`, deps, turn, { ...options, retryMs: intervalMs });
}
