// SPDX-License-Identifier: Apache-2.0
/** Parsers of Linux's /proc texts (proc(5)). Each returns undefined for text it does not understand. */

/** CPU time since boot in clock ticks, all CPUs together. */
export interface CpuTimes {
  readonly busy: number;
  readonly total: number;
}

/** Main memory in bytes. */
export interface MemoryUse {
  readonly total: number;
  /** What new programs could get without swapping. */
  readonly available: number;
}

/** Bytes since boot over all interfaces but the loopback. */
export interface NetworkBytes {
  readonly received: number;
  readonly sent: number;
}

const isCount = (value: number | undefined): value is number =>
  value !== undefined && Number.isFinite(value) && value >= 0;

/** `/proc/stat`: the line `cpu user nice system idle iowait irq softirq steal ...`; guest time is part of user. */
export function parseCpuTimes(text: string): CpuTimes | undefined {
  const line = /^cpu +([0-9 ]+)$/mu.exec(text)?.[1];
  const ticks = line?.trim().split(/ +/u).slice(0, 8).map(Number) ?? [];
  if (ticks.length < 4 || !ticks.every(isCount)) return undefined;
  const total = ticks.reduce((sum, value) => sum + value, 0);
  const [, , , idle = 0, iowait = 0] = ticks;
  return { total, busy: total - idle - iowait };
}

/** `/proc/meminfo`: `MemTotal` and `MemAvailable` in KiB. */
export function parseMemory(text: string): MemoryUse | undefined {
  const kibibytes = (name: string): number | undefined => {
    const found = new RegExp(`^${name}: +([0-9]+) kB$`, "mu").exec(text)?.[1];
    return found === undefined ? undefined : Number(found);
  };
  const total = kibibytes("MemTotal");
  const available = kibibytes("MemAvailable");
  if (!isCount(total) || !isCount(available)) return undefined;
  return { total: total * 1024, available: available * 1024 };
}

/** `/proc/loadavg`: mean number of runnable tasks over 1, 5 and 15 minutes. */
export function parseLoad(text: string): readonly [number, number, number] | undefined {
  const found = /^([0-9.]+) ([0-9.]+) ([0-9.]+) /u.exec(text);
  const load = [Number(found?.[1]), Number(found?.[2]), Number(found?.[3])] as const;
  return load.every(isCount) ? load : undefined;
}

/** `/proc/net/dev`: per interface 8 receive and 8 transmit columns, bytes first. */
export function parseNetwork(text: string): NetworkBytes | undefined {
  let received = 0;
  let sent = 0;
  let interfaces = 0;
  for (const line of text.split("\n")) {
    const [, name, columns] = /^ *([^ :]+): *([0-9 ]+)$/u.exec(line) ?? [];
    if (name === undefined || columns === undefined) continue;
    const counts = columns.trim().split(/ +/u).map(Number);
    const [rx, tx] = [counts[0], counts[8]];
    if (!isCount(rx) || !isCount(tx)) return undefined;
    interfaces++;
    if (name === "lo") continue;
    received += rx;
    sent += tx;
  }
  return interfaces === 0 ? undefined : { received, sent };
}
