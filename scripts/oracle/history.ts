// SPDX-License-Identifier: Apache-2.0
/** Random histories as plain data: a seed gives the same one for ever, and any step can be left out. */
import type { PolicyRule, ResolverSpec } from "@ctxmesh/facts";
import type { FactInput, JsonValue } from "@ctxmesh/model";
import { createSeededRandom } from "@ctxmesh/testing";

/** One local write call. Keys and documents are names; `target` is a device number. */
export type Write =
  | { readonly kind: "put"; readonly doc: string; readonly facts: readonly FactInput[] }
  | { readonly kind: "delete"; readonly doc: string; readonly keys: readonly string[] }
  | {
      readonly kind: "retract";
      readonly doc: string;
      readonly key: string;
      readonly target: number;
      readonly reason: string;
    };

/** One step. Numbers of devices and batches are taken modulo how many there are. */
export type Step =
  /** Calls made in the same tick, which become one batch. */
  | { readonly kind: "write"; readonly device: number; readonly writes: readonly Write[] }
  /** Batches handed over, some of them twice, all at once or one by one. */
  | {
      readonly kind: "deliver";
      readonly device: number;
      readonly batches: readonly number[];
      readonly atOnce: boolean;
    }
  /** Closes a replica and opens its store again: a new incarnation. */
  | { readonly kind: "restart"; readonly device: number }
  /** Time passes for everybody. */
  | { readonly kind: "wait"; readonly ms: number }
  /** A device's clock is set so far ahead of the true time. */
  | { readonly kind: "clock"; readonly device: number; readonly aheadMs: number };

/** A history: who takes part, under which policy, and what happens. */
export interface History {
  readonly seed: number;
  /** Number of devices; the first two may retract. */
  readonly devices: number;
  readonly rules: readonly PolicyRule[];
  readonly steps: readonly Step[];
}

const DOCS = ["d", "e/f"] as const;
const KEYS = ["a/1", "c/a/1", "a/2", "b/1"] as const;
const PREFIXES = ["", "a/", "a/1", "b", "c"] as const;
const HALF_LIFE_MS = 8192;
const MOST_STEPS = 24;

/** Expressions that the truth model knows in its own words (see `truth.ts`). */
export const EXPRESSIONS = [
  "double(value.score) * confidence",
  'source.model == "good" ? 2 : 1',
  "value > 1.0",
  "size(tags)",
] as const;

const SPECS: readonly ResolverSpec[] = [
  { resolver: "latest" },
  { resolver: "confidence" },
  { resolver: "confidence", halfLifeMs: HALF_LIFE_MS },
  { resolver: "priority", sources: ["good", "fair"] },
  { resolver: "max" },
  { resolver: "min" },
  { resolver: "sum" },
  { resolver: "union" },
  { resolver: "all" },
  ...EXPRESSIONS.map((expression, i) => ({
    resolver: "expression" as const,
    name: `e${String(i)}`,
    expression,
  })),
];

const VALUES: readonly JsonValue[] = [
  0,
  1,
  2,
  -3,
  0.1,
  0.2,
  0.3,
  1e16,
  1e308,
  -1e308,
  "x",
  "y",
  "",
  null,
  true,
  ["x", 1],
  [],
  { score: 0.5 },
  { score: 2 },
  { "10": 1, "9": 2 },
];

/** Draws from a seeded source. */
class Dice {
  readonly #random;

  constructor(seed: number) {
    this.#random = createSeededRandom(seed);
  }

  /** A whole number from 0 to below `sides`. */
  below(sides: number): number {
    const [a = 0, b = 0, c = 0] = this.#random.bytes(4);
    return (a + b * 256 + c * 65_536) % sides;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(items: readonly [T, ...T[]] | readonly T[]): T {
    // An index below the length is there.
    return items[this.below(items.length)] as T;
  }

  list<T>(most: number, make: () => T): T[] {
    return Array.from({ length: 1 + this.below(most) }, make);
  }
}

/** What one history is about, so that rare things meet often enough. */
interface Theme {
  readonly devices: number;
  readonly keys: readonly string[];
  readonly values: readonly JsonValue[];
  readonly retractPercent: number;
}

function themeOf(dice: Dice): Theme {
  return {
    devices: 2 + Math.min(dice.below(5), dice.below(5)),
    keys: KEYS.slice(0, 1 + dice.below(KEYS.length)),
    values: dice.chance(30) ? VALUES.filter((value) => typeof value === "number") : VALUES,
    retractPercent: dice.pick([4, 16, 40]),
  };
}

const chance = <T extends object>(dice: Dice, percent: number, members: () => T): Partial<T> =>
  dice.chance(percent) ? members() : {};

function factOf(dice: Dice, { keys, values }: Theme): FactInput {
  const counts = dice.chance(15);
  return {
    key: dice.pick(keys),
    value: counts ? dice.pick([1, 2, 0.1, -3, 1e308]) : dice.pick(values),
    ...(counts ? { increment: true } : {}),
    ...chance(dice, 40, () => ({ confidence: dice.pick([0, 0.25, 0.5, 0.9, 1]) })),
    ...chance(dice, 35, () => ({
      source: dice.pick([{ model: "good" }, { model: "fair", version: "2" }, { model: "other" }]),
    })),
    ...chance(dice, 30, () => ({ ttlMs: dice.pick([1, 500, 4000, 12_000, 40_000]) })),
    ...chance(dice, 20, () => ({ tags: dice.pick([["t"], ["t", "u"]]) })),
    ...chance(dice, 5, () => ({ basis: ["id"] })),
    ...chance(dice, 5, () => ({
      correlation: "c",
      targets: ["m"],
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    })),
  };
}

function writeOf(dice: Dice, theme: Theme): Write {
  const doc = dice.chance(85) ? DOCS[0] : DOCS[1];
  if (dice.chance(10))
    return { kind: "delete", doc, keys: dice.list(2, () => dice.pick(theme.keys)) };
  if (dice.chance(theme.retractPercent)) {
    const [key, target] = [dice.pick(theme.keys), dice.below(theme.devices)];
    return { kind: "retract", doc, key, target, reason: `r${String(dice.below(3))}` };
  }
  return { kind: "put", doc, facts: dice.list(3, () => factOf(dice, theme)) };
}

function stepOf(dice: Dice, theme: Theme): Step {
  const device = dice.below(theme.devices);
  const roll = dice.below(100);
  if (roll < 48) {
    const writes = dice.chance(80) ? 1 : 3;
    return { kind: "write", device, writes: dice.list(writes, () => writeOf(dice, theme)) };
  }
  if (roll < 78) {
    const batches = dice.list(6, () => dice.below(1000));
    return { kind: "deliver", device, batches, atOnce: dice.chance(50) };
  }
  if (roll < 84) return { kind: "restart", device };
  if (roll < 95) return { kind: "wait", ms: dice.pick([1, 499, 500, 3999, 4192, 8192, 12_000]) };
  // Any two clocks stay within the bound on drift of each other.
  return { kind: "clock", device, aheadMs: dice.below(50_001) - 25_000 };
}

function rulesOf(dice: Dice): PolicyRule[] {
  const uniform = dice.chance(40);
  const prefixes = uniform ? [""] : PREFIXES.filter(() => dice.chance(50));
  return prefixes.map((prefix) => ({ prefix, ...dice.pick(SPECS) }));
}

/** The history of a seed. */
export function makeHistory(seed: number): History {
  const dice = new Dice(seed);
  const theme = themeOf(dice);
  const rules = rulesOf(dice);
  const steps = dice.list(MOST_STEPS, () => stepOf(dice, theme));
  return { seed, devices: theme.devices, rules, steps };
}

/** The numbers below a length in an order drawn from a seed. */
export function orderOf(length: number, seed: number): number[] {
  const dice = new Dice(seed);
  const ranks = Array.from({ length }, () => dice.below(65_536));
  return [...ranks.keys()].toSorted((a, b) => (ranks[a] ?? 0) - (ranks[b] ?? 0) || a - b);
}
