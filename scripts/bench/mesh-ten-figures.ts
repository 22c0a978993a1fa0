// SPDX-License-Identifier: Apache-2.0
/** What is told of one load on ten agents, beside the same load on three other systems. */
import { aimed } from "./figure.ts";
import type { Figure } from "./figure.ts";
import type { Spread } from "./mesh-crowd.ts";
import { median } from "./stats.ts";

/** What became of the load in each system. */
export interface Compared {
  readonly ours: readonly Spread[];
  readonly yjs: readonly Spread[];
  readonly gossip: readonly Spread[];
  readonly relay: readonly Spread[];
}

/** A figure without a baseline. */
export const alone = (value: number): { readonly value: number; readonly baseline: null } => ({
  value,
  baseline: null,
});

const NAME = "ten agents, one writes 1,000 facts/s";
const READERS = 9;
/** A message of the relay goes to it first. */
const HOPS_OF_RELAY = READERS + 1;

const BESIDE = {
  yjs: "beside gossipsub and Yjs",
  gossip: "beside raw gossipsub",
  relay: "beside a bare relay",
} as const;

interface Row {
  readonly what: string;
  readonly of: (spread: Spread) => number | undefined;
  readonly unit: string;
  readonly better: Figure["better"];
  readonly beside: keyof typeof BESIDE;
  /** In the unit, or as a part of the baseline. */
  readonly target?: number | { readonly part: number };
}

const P50 = { what: "p50", of: (one: Spread) => one.p50, unit: "ms", better: "lower" } as const;
const P95 = { what: "p95", of: (one: Spread) => one.p95, unit: "ms", better: "lower" } as const;
const CPU = {
  what: "processor time per fact",
  of: (one: Spread) => one.cpuUs,
  unit: "us",
  better: "lower",
} as const;
const BYTES = {
  what: "bytes per fact",
  of: (one: Spread) => one.bytes,
  unit: "B",
  better: "lower",
} as const;

const ROWS: readonly Row[] = [
  { ...P50, beside: "relay", target: 10 },
  { ...P95, beside: "relay", target: 25 },
  { ...P50, beside: "gossip" },
  { ...P95, beside: "gossip" },
  {
    what: "delivered",
    of: (one) => one.deliveredPercent,
    unit: "%",
    better: "higher",
    beside: "yjs",
    target: 100,
  },
  { ...CPU, beside: "yjs", target: { part: 1 / 10 } },
  { ...CPU, beside: "gossip" },
  { ...CPU, beside: "relay" },
  { ...BYTES, beside: "yjs", target: { part: 1 / 5 } },
  { ...BYTES, beside: "gossip" },
];

/** What delivers less of a load than this has not carried it, and its cost compares with nothing. */
const LEAST_PERCENT = 50;

/** The median over rounds; undefined where it was not measured. */
function middle(spreads: readonly Spread[], of: Row["of"]): number | undefined {
  const carried = spreads.filter(({ deliveredPercent }) => deliveredPercent >= LEAST_PERCENT);
  const values = carried.flatMap((one) => of(one) ?? []);
  return values.length === 0 ? undefined : median(values);
}

function targetOf({ target }: Row, baseline: number | null): number | null {
  if (target === undefined || typeof target === "number") return target ?? null;
  return baseline === null ? null : target.part * baseline;
}

/** The figures of one load in four systems. */
export function figuresOf(compared: Compared): Figure[] {
  const figures = ROWS.flatMap((row) => {
    const { what, of, unit, better, beside } = row;
    const value = middle(compared.ours, of);
    const baseline = middle(compared[beside], of) ?? null;
    if (value === undefined) return [];
    const name = `${NAME}, ${what}, ${BESIDE[beside]}`;
    return aimed(name, { value, baseline }, unit, better, targetOf(row, baseline));
  });
  const own = middle(compared.ours, BYTES.of);
  const relayed = middle(compared.relay, BYTES.of);
  if (own === undefined || relayed === undefined) return figures;
  const message = relayed / HOPS_OF_RELAY;
  const name = `${NAME}, bytes per fact and reader, beside one JSON message per fact`;
  const pair = { value: own / READERS, baseline: message };
  return [...figures, aimed(name, pair, "B", "lower", 0.4 * message)];
}
