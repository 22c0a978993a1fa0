// SPDX-License-Identifier: Apache-2.0
/** The load that every system under comparison gets, and how its arrival is measured. */
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

/** The value of one write: about 120 bytes of JSON. */
export interface Reading {
  readonly seq: number;
  /** When the write was due, on the machine's monotonic clock, which all its processes share. */
  readonly dueMs: number;
  readonly sensor: string;
  readonly celsius: number;
  readonly unit: string;
  readonly status: string;
}

/** Writes `from` to `from + count - 1`, at `rate` per second. */
export interface Load {
  readonly from: number;
  readonly count: number;
  readonly rate: number;
}

/** Time between the start of a load and its first write. */
const LEAD_MS = 20;
/** Keys that the writes take in turn: more than can be under way, so that none hides another. */
const KEYS = 5_000;
/** Poll interval of {@link Inbox.collect}. */
const POLL_MS = 10;

/** CLOCK_MONOTONIC in milliseconds. */
const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** The key that a write goes to. */
export const keyOf = (seq: number): string => `press-7/sensor-${String(seq % KEYS)}`;

/** How a writer did. */
export interface WriteResult {
  readonly failed: number;
  /** How late writes were started, in milliseconds, in order; a timer is up to a millisecond late. */
  readonly lateMs: readonly number[];
}

/**
 * Open loop: each write is started when it is due, whatever became of those before it. Resolves
 * once all are settled.
 */
export async function writeAll(
  { from, count, rate }: Load,
  write: (key: string, value: Reading) => Promise<unknown>,
): Promise<WriteResult> {
  const startMs = monotonicMs() + LEAD_MS;
  const writes: Promise<unknown>[] = [];
  const lateMs: number[] = [];
  for (let i = 0; i < count;) {
    const dueMs = startMs + (i * 1000) / rate;
    const waitMs = dueMs - monotonicMs();
    if (waitMs > 0) {
      await sleep(waitMs);
      continue;
    }
    lateMs.push(-waitMs);
    const seq = from + i;
    const celsius = 20 + (seq % 1000) / 100;
    const value = { seq, dueMs, sensor: "bearing", celsius, unit: "degC", status: "running" };
    writes.push(write(keyOf(seq), value));
    i++;
  }
  const settled = await Promise.allSettled(writes);
  return { failed: settled.filter(({ status }) => status === "rejected").length, lateMs };
}

/** Measures what arrives of a load. */
export class Inbox {
  #from = 0;
  #latenciesMs = new Float64Array();
  #missing = 0;

  /** Begins anew: these writes are to come. */
  expect({ from, count }: Load): void {
    this.#from = from;
    this.#latenciesMs = new Float64Array(count).fill(Number.NaN);
    this.#missing = count;
  }

  /** A value came; one that is not awaited, or came before, does not count. */
  arrived({ seq, dueMs }: Reading): void {
    const index = seq - this.#from;
    if (!Number.isNaN(this.#latenciesMs[index] ?? 0)) return;
    this.#latenciesMs[index] = monotonicMs() - dueMs;
    this.#missing--;
  }

  /** Waits until all have come, `timeoutMs` at most; the latency of each in milliseconds, NaN for those that did not come. */
  async collect(timeoutMs: number): Promise<Float64Array> {
    const deadline = monotonicMs() + timeoutMs;
    while (this.#missing > 0 && monotonicMs() < deadline) await sleep(POLL_MS);
    return this.#latenciesMs;
  }
}
