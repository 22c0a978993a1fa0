// SPDX-License-Identifier: Apache-2.0
/**
 * Facts that one agent acknowledges as signed and durable, against the same bytes written to `level`
 * directly, each write synced to disk.
 */
import { join } from "node:path";
import { Level } from "level";
import type { FactInput } from "@ctxmesh/model";
import { NodeService, openReplica, systemClock, systemRandom } from "@ctxmesh/service";
import { silentLogger } from "@ctxmesh/testing";
import { measured } from "./figure.ts";
import type { Bench, BenchOptions } from "./figure.ts";
import { benchFolder } from "./files.ts";
import { foundSpace } from "./space.ts";
import { median } from "./stats.ts";

const BATCH = 100;
const IN_FLIGHT = 16;
/** Documents and keys in each that the writes take in turn. */
const DOCS = 16;
const KEYS = 1_000;
/** Distinct values, so that compression finds what it would find in real readings. */
const VALUES = 10_007;

interface Row {
  readonly key: string;
  readonly value: FactInput["value"];
  /** The value's JSON text: the bytes that both sides store. */
  readonly json: string;
}

/** Writes rows of one document; resolves when they are durable. */
type Put = (doc: string, rows: readonly Row[]) => Promise<unknown>;

const VALUE_TABLE: readonly Omit<Row, "key">[] = Array.from({ length: VALUES }, (_, i) => {
  const value = {
    celsius: Math.round((20 + Math.sin(i) * 9) * 1000) / 1000,
    id: ((i * 2_654_435_761) % 4_294_967_296).toString(16),
    sensor: `bearing-${String(i % 8)}`,
    status: i % 50 === 0 ? "warning" : "running",
    takenAt: 1_767_225_600_000 + i * 137,
    unit: "degC",
  };
  return { value, json: JSON.stringify(value) };
});

/** Rows in turn over documents, keys and values. */
class RowSource {
  #next = 0;

  take(count: number): { readonly doc: string; readonly rows: readonly Row[] } {
    const doc = `bench/store-${String(Math.floor(this.#next / count) % DOCS)}`;
    const rows = Array.from({ length: count }, () => {
      const { value, json } = VALUE_TABLE[this.#next % VALUES] ?? { value: null, json: "null" };
      return { key: `press-7/sensor-${String(this.#next++ % KEYS)}`, value, json };
    });
    return { doc, rows };
  }
}

async function openAgent(stack: AsyncDisposableStack, folder: string): Promise<Put> {
  const { space, seeds } = foundSpace(1);
  const version = "0.0.0";
  const { replica } = await openReplica(
    {
      space,
      deviceSeed: seeds[0] ?? new Uint8Array(),
      storePath: join(folder, "agent"),
    },
    { clock: systemClock, random: systemRandom, logger: silentLogger },
    stack,
  );
  const service = new NodeService({
    service: "agent",
    version,
    replica,
    clock: systemClock,
    peers: () => [],
    addresses: () => [],
  });
  stack.defer(() => {
    service.close();
  });
  return async (doc, rows) =>
    service.put(
      doc,
      rows.map(({ key, value }) => ({ key, value })),
    );
}

async function openRaw(stack: AsyncDisposableStack, folder: string): Promise<Put> {
  const database = new Level(join(folder, "raw"));
  await database.open();
  stack.defer(async () => database.close());
  return async (doc, rows) => {
    const [row] = rows;
    if (rows.length === 1 && row !== undefined) {
      return database.put(`${doc}/${row.key}`, row.json, { sync: true });
    }
    const puts = rows.map(({ key, json }) => ({
      type: "put" as const,
      key: `${doc}/${key}`,
      value: json,
    }));
    return database.batch(puts, { sync: true });
  };
}

/** Writes for `ms`, always `inFlight` at a time; acknowledged rows per second. */
async function rowsPerSecond(
  put: Put,
  source: RowSource,
  load: { readonly size: number; readonly inFlight: number; readonly ms: number },
): Promise<number> {
  const started = performance.now();
  let acknowledged = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() - started < load.ms) {
      const { doc, rows } = source.take(load.size);
      await put(doc, rows);
      acknowledged += rows.length;
    }
  };
  await Promise.all(Array.from({ length: load.inFlight }, lane));
  return (acknowledged * 1000) / (performance.now() - started);
}

const LOADS = [
  {
    name: "durable signed facts of one agent, 16 puts of 100 in flight",
    size: BATCH,
    inFlight: IN_FLIGHT,
  },
  { name: "durable signed facts of one agent, one put of 100 at a time", size: BATCH, inFlight: 1 },
  { name: "durable signed facts of one agent, one fact at a time", size: 1, inFlight: 1 },
] as const;

async function run({ quick, signal, progress }: BenchOptions) {
  const [rounds, ms] = quick ? [7, 300] : [11, 1_000];
  await using folder = await benchFolder();
  await using stack = new AsyncDisposableStack();
  const puts = [await openAgent(stack, folder.path), await openRaw(stack, folder.path)] as const;
  const sources = [new RowSource(), new RowSource()] as const;
  const rates = LOADS.map(() => ({ agent: [] as number[], raw: [] as number[] }));
  // Round 0 warms up.
  for (let round = 0; round <= rounds; round++) {
    progress(round === 0 ? "warming up" : `round ${String(round)} of ${String(rounds)}`);
    for (const [i, load] of LOADS.entries()) {
      signal.throwIfAborted();
      const agent = await rowsPerSecond(puts[0], sources[0], { ...load, ms });
      signal.throwIfAborted();
      const raw = await rowsPerSecond(puts[1], sources[1], { ...load, ms });
      if (round === 0) continue;
      rates[i]?.agent.push(agent);
      rates[i]?.raw.push(raw);
    }
  }
  const figures = LOADS.map(({ name }, i) => {
    const { agent = [], raw = [] } = rates[i] ?? {};
    return measured(name, { value: median(agent), baseline: median(raw) }, "facts/s", "higher");
  });
  return {
    figures,
    notes: [
      "Baseline: the same rows (key and JSON text, made beforehand) written to level directly, same number in flight, every write synced to disk.",
      "The agent also validates, canonicalises, stamps, compresses, signs and applies each fact to memory, and can prove it afterwards.",
      `Medians of ${String(rounds)} rounds of ${String(ms)} ms, taken in turn.`,
      ...folder.notes,
    ],
  };
}

/** `store`: durable writes. */
export const storeBench: Bench = {
  summary: "durable signed facts per second of one agent, against raw level",
  run,
};
