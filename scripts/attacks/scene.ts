// SPDX-License-Identifier: Apache-2.0
/** What the attacks have in common: writing all the time, and waiting for nodes to agree. */
import { setTimeout as wait } from "node:timers/promises";
import type { Crew } from "./crew.ts";
import type { NodeReport } from "./worker.ts";

/** How large a run is. */
export type Size = "short" | "full";

const LOOK_MS = 100;

/** Whole numbers from `from` on. */
export const numbers = (from: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => from + i);

/** Resolves to the milliseconds until a condition held; rejects after `boundMs`. */
export async function until(
  what: string,
  boundMs: number,
  holds: () => Promise<boolean>,
): Promise<number> {
  const startedMs = performance.now();
  while (!(await holds())) {
    if (performance.now() - startedMs > boundMs) {
      throw new Error(`not within ${String(boundMs)} ms: ${what}`);
    }
    await wait(LOOK_MS);
  }
  return Math.round(performance.now() - startedMs);
}

/** Has each of some nodes write in turn, so many times a second; ends at the signal and resolves to the number of writes. */
export async function writeUntil(
  crew: Crew,
  writers: readonly number[],
  perSecond: number,
  signal: AbortSignal,
): Promise<number> {
  let count = 0;
  for (; !signal.aborted; count++) {
    const n = writers[count % writers.length] ?? 0;
    await crew.put(n, `key-${String(count % 50)}`, String(count));
    await wait(1_000 / perSecond, undefined, { signal }).catch(() => undefined);
  }
  return count;
}

/** Whether all of some nodes have applied the same. */
export async function agree(crew: Crew, nodes: readonly number[]): Promise<boolean> {
  const all = await Promise.all(nodes.map(async (n) => crew.status(n)));
  return new Set(all.map(({ frontier }) => frontier)).size === 1;
}

/** The quantile of some numbers. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;
}

/** Waits for a while. */
export const lasting = async (ms: number): Promise<void> => wait(ms);

/** When a node first noted an event of a device, in milliseconds after its start. */
export const firstNoted = (
  { noted }: NodeReport,
  device: string,
  events: readonly string[],
): number | undefined =>
  noted.find((line) => line.device === device && events.includes(line.event))?.afterMs;
