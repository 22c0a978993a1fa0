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

/** Writes `from` to `from + count - 1`. */
export interface Span {
  readonly from: number;
  readonly count: number;
}

/** The same, at `rate` per second. */
export interface Load extends Span {
  readonly rate: number;
  /** Of each write; agents know of it alone. */
  readonly priority?: "high" | "low";
}

/** The same as fast as they are taken, in batches. */
export interface Flood extends Span {
  readonly batch: number;
  /** Batches that are under way at a time. */
  readonly atOnce: number;
}

/** Time between the start of a load and its first write. */
const LEAD_MS = 20;
/** Keys that the writes take in turn: more than can be under way, so that none hides another. */
const KEYS = 20_000;
/** Poll interval of {@link Inbox.collect}. */
const POLL_MS = 10;

/** CLOCK_MONOTONIC in milliseconds. */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** The key that a write goes to. */
export const keyOf = (seq: number): string => `press-7/sensor-${String(seq % KEYS)}`;

/** Keys that share a document, so that none gets too large. */
const KEYS_OF_DOCUMENT = 5_000;

/** The document that a write goes to; those that follow each other mostly go to one. */
export const docOf = (seq: number): string =>
  `bench/line-${String(Math.floor((seq % KEYS) / KEYS_OF_DOCUMENT))}`;

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
    writes.push(write(keyOf(seq), readingOf(seq, dueMs)));
    i++;
  }
  const settled = await Promise.allSettled(writes);
  return { failed: settled.filter(({ status }) => status === "rejected").length, lateMs };
}

const readingOf = (seq: number, dueMs: number): Reading => ({
  seq,
  dueMs,
  sensor: "bearing",
  celsius: 20 + (seq % 1000) / 100,
  unit: "degC",
  status: "running",
});

/** Writes of `size` facts each, `rate` facts per second in all. */
export interface Pour extends Span {
  readonly rate: number;
  readonly size: number;
}

/** Open loop, as {@link writeAll}; rejects when a write fails. */
export async function pour(
  { from, count, rate, size }: Pour,
  write: (entries: readonly Entry[]) => Promise<unknown>,
): Promise<void> {
  const startMs = monotonicMs() + LEAD_MS;
  const writes: Promise<unknown>[] = [];
  for (let i = 0; i < count; i += size) {
    const dueMs = startMs + (i * 1000) / rate;
    const waitMs = dueMs - monotonicMs();
    if (waitMs > 0) await sleep(waitMs);
    const seqs = Array.from({ length: Math.min(size, count - i) }, (_, j) => from + i + j);
    writes.push(write(seqs.map((seq) => ({ key: keyOf(seq), value: readingOf(seq, dueMs) }))));
  }
  await Promise.all(writes);
}

/** One write of a batch. */
export interface Entry {
  readonly key: string;
  readonly value: Reading;
}

/** Closed loop: as many batches as may be are under way, and the next one begins when one is done. Returns when the first one began. */
export async function flood(
  { from, count, batch, atOnce }: Flood,
  write: (entries: readonly Entry[]) => Promise<unknown>,
): Promise<number> {
  const startMs = monotonicMs();
  let next = from;
  const lane = async (): Promise<void> => {
    while (next < from + count) {
      const [first, end] = [next, Math.min(next + batch, from + count)];
      next = end;
      const nowMs = monotonicMs();
      const seqs = Array.from({ length: end - first }, (_, i) => first + i);
      await write(seqs.map((seq) => ({ key: keyOf(seq), value: readingOf(seq, nowMs) })));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  return startMs;
}

/** Measures what arrives of a load. */
export class Inbox {
  #from = 0;
  #latenciesMs = new Float64Array();
  #missing = 0;
  #lastMs = 0;

  /** Begins anew: these writes are to come, but for those of them that are `own`, which count as having come at once. */
  expect({ from, count }: Span, own: Span = { from, count: 0 }): void {
    this.#from = from;
    this.#latenciesMs = new Float64Array(count).fill(Number.NaN);
    this.#latenciesMs.fill(0, own.from - from, own.from - from + own.count);
    this.#missing = count - own.count;
  }

  /** When the last of those that were awaited came. */
  get lastMs(): number {
    return this.#lastMs;
  }

  /** A value came; one that is not awaited, or came before, does not count. */
  arrived({ seq, dueMs }: Reading): void {
    const index = seq - this.#from;
    if (!Number.isNaN(this.#latenciesMs[index] ?? 0)) return;
    this.#lastMs = monotonicMs();
    this.#latenciesMs[index] = this.#lastMs - dueMs;
    this.#missing--;
  }

  /** Waits until all have come, `timeoutMs` at most; the latency of each in milliseconds, NaN for those that did not come. */
  async collect(timeoutMs: number): Promise<Float64Array> {
    const deadline = monotonicMs() + timeoutMs;
    while (this.#missing > 0 && monotonicMs() < deadline) await sleep(POLL_MS);
    return this.#latenciesMs;
  }
}
