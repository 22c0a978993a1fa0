// SPDX-License-Identifier: Apache-2.0
/**
 * Resolvers: which of the live statements about a key is shown, as pure total functions of the set of
 * statements.
 *
 * Each resolver has a dominance relation. Laws, for every resolver (property tests hold them):
 * 1. Dominance is a strict partial order, and does not depend on the time of reading.
 * 2. What is shown is a function of the undominated statements, so dropping dominated ones, now or at
 *    any time, never changes an answer; and none is shown again later, because a statement dominates
 *    only what expires no later than itself. Only a retraction of what dominates brings back what it
 *    hid, so whoever takes retractions keeps the dominated ones.
 * 3. It does not depend on arrival order: merging is union of slots, and ties end at (HLC, writer, incarnation).
 *
 * | resolver   | shows                                          | a dominates b when a is newer, lives as long, and   |
 * |------------|------------------------------------------------|-----------------------------------------------------|
 * | latest     | the newest                                     | is at least as confident                            |
 * | confidence | the surest (fading by half-life), then newest  | is at least as sure at any time                     |
 * | priority   | the best source, then the newest               | its source is at least as good                      |
 * | max, min   | the largest or smallest number, then newest    | its number is at least as large, or small           |
 * | expression | the highest score, then the newest             | its score is at least as high                       |
 * | sum        | the sum of every writer's number               | never                                               |
 * | union      | the set of every writer's values               | never                                               |
 * | all        | the list of every writer's values, newest first | never                                              |
 * | module     | whatever the module says of all statements     | never                                               |
 *
 * A delete is a statement, "nothing", for the first three and expression; for the rest it takes the
 * writer's own contribution away and dominates nothing.
 */
import { hlcToMs } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import type { Score } from "./expression.ts";
import { expiryMs, isNewer } from "./slot.ts";
import type { Slot } from "./slot.ts";

/** What a resolver shows. */
export interface Shown {
  /** Who picked it, where that is not the resolver that was asked. */
  readonly resolver?: string;
  /** JSON text; undefined when the key is deleted. */
  readonly valueJson: string | undefined;
  /** The statement that won, or for merged values the newest one in it. */
  readonly winner: Slot;
  /** The undominated statements do not agree and one had to be picked. */
  readonly contested: boolean;
  /** Every undominated statement with a value is part of what is shown. */
  readonly merged: boolean;
}

/** A resolver. */
export interface Resolver {
  /** As in the policy. */
  readonly name: string;
  /** Whether `a` makes `b` irrelevant for good. */
  dominates(a: Slot, b: Slot): boolean;
  /** What undominated, live statements show; undefined when they show nothing at all. */
  show(undominated: readonly Slot[]): Shown | undefined;
}

/** A score worked out once per slot, since a key with many writers compares each of them often. */
function remembered(score: Score): Score {
  const scores = new WeakMap<Slot, number>();
  return (slot) => {
    const known = scores.get(slot);
    if (known !== undefined) return known;
    const fresh = score(slot);
    scores.set(slot, fresh);
    return fresh;
  };
}

/** The pick of a resolver that orders statements by a score: the highest, then the newest. */
function picking(
  name: string,
  score: Score,
  deletesCompete: boolean,
  pareto: Score = score,
): Resolver {
  const competes = (slot: Slot): boolean => deletesCompete || slot.valueJson !== undefined;
  const scoreOf = remembered(score);
  const paretoOf = pareto === score ? scoreOf : remembered(pareto);
  return {
    name,
    dominates: (a, b) =>
      isNewer(a, b) &&
      competes(a) &&
      expiryMs(a) >= expiryMs(b) &&
      (!competes(b) || paretoOf(a) >= paretoOf(b)),
    show(undominated) {
      const [first, ...rest] = undominated.filter(competes);
      if (first === undefined) return undefined;
      const winner = rest.reduce((best, slot) => {
        const [mine, its] = [scoreOf(slot), scoreOf(best)];
        return mine > its || (mine === its && isNewer(slot, best)) ? slot : best;
      }, first);
      const contested =
        rest.length > 0 && [first, ...rest].some((slot) => slot.valueJson !== winner.valueJson);
      return { valueJson: winner.valueJson, winner, contested, merged: false };
    },
  };
}

const never = (): boolean => false;

/** A resolver that merges the values of all writers; `merge` gets them newest first. */
function merging(
  name: string,
  merge: (values: readonly JsonValue[]) => JsonValue,
  contested: (values: readonly string[]) => boolean,
): Resolver {
  return {
    name,
    dominates: never,
    show(undominated) {
      const stated = undominated
        .filter((slot) => slot.valueJson !== undefined)
        .toSorted((a, b) => (isNewer(a, b) ? -1 : 1));
      const [winner] = stated;
      if (winner === undefined) return undefined;
      const texts = stated.map((slot) => slot.valueJson ?? "null");
      const value = merge(texts.map((text) => JSON.parse(text) as JsonValue));
      return {
        valueJson: JSON.stringify(value),
        winner,
        contested: contested(texts),
        merged: true,
      };
    },
  };
}

/** An absent confidence counts as certain, so that plain writes behave as last-writer-wins. */
const confidenceOf: Score = (slot) => slot.confidence ?? 1;

const numberOf = (slot: Slot): number | undefined => {
  const value: unknown = slot.valueJson === undefined ? undefined : JSON.parse(slot.valueJson);
  return typeof value === "number" ? value : undefined;
};

/** The newest statement; one that is less confident than an older one leaves that contested. */
export const LATEST: Resolver = picking("latest", () => 0, true, confidenceOf);

/**
 * The binary logarithm of a number from 0 to 1, by the series of the inverse hyperbolic tangent. It takes
 * basic arithmetic only, which IEEE 754 fixes to the last bit; `Math.log2` may differ from one
 * JavaScript engine to the next, and with it what replicas see.
 */
function log2(value: number): number {
  if (value === 0) return -Infinity;
  let exponent = 0;
  let mantissa = value;
  for (; mantissa < 1; mantissa *= 2) exponent--;
  const ratio = (mantissa - 1) / (mantissa + 1);
  let sum = 0;
  for (let k = 1, power = ratio; k < 40; k += 2, power *= ratio * ratio) sum += power / k;
  return exponent + sum * (2 / Math.LN2);
}

/**
 * The surest statement. With a half-life h, confidence c counts c * 2^(-age/h). Two statements fade at
 * the same rate, so log2(c) + written/h orders them the same at every time, and nothing depends on when
 * one reads.
 */
export function confidenceResolver(halfLifeMs: number | undefined): Resolver {
  if (halfLifeMs === undefined) return picking("confidence", confidenceOf, true);
  return picking(
    "confidence",
    (slot) => log2(confidenceOf(slot)) + hlcToMs(slot.hlc) / halfLifeMs,
    true,
  );
}

/** The statement of the best source in a list, best first. */
export function priorityResolver(sources: readonly string[]): Resolver {
  const ranks = new Map(sources.map((model, i) => [model, -i]));
  return picking(
    "priority",
    (slot) => ranks.get(slot.source?.model ?? "") ?? -sources.length,
    true,
  );
}

/** The largest number; other values lose to any number. */
export const MAX: Resolver = picking("max", (slot) => numberOf(slot) ?? -Infinity, false);

/** The smallest number; other values lose to any number. */
export const MIN: Resolver = picking("min", (slot) => -(numberOf(slot) ?? Infinity), false);

/** The statement with the highest score. */
export const expressionResolver = (name: string, score: Score): Resolver =>
  picking(name, score, true);

/** The nearest finite number: JSON has no infinity. */
const finite = (value: number): number =>
  Math.min(Number.MAX_VALUE, Math.max(-Number.MAX_VALUE, value));

/**
 * The sum of every writer's number: per-writer counters. Numbers are added in ascending order, so
 * that rounding is the same everywhere, and no partial sum leaves the range of finite numbers; other
 * values count as 0.
 */
export const SUM: Resolver = merging(
  "sum",
  (values) =>
    values
      .filter((value) => typeof value === "number")
      .toSorted((a, b) => a - b)
      .reduce((sum, value) => finite(sum + value), 0),
  never,
);

/** The set of every writer's values, in the order of their JSON texts; an array counts as its elements. */
export const UNION: Resolver = merging(
  "union",
  (values) => {
    const elements = values.flatMap((value) =>
      Array.isArray(value) ? (value as JsonValue[]) : [value],
    );
    const texts = new Set(elements.map((value) => JSON.stringify(value)));
    return [...texts]
      .toSorted((a, b) => (a < b ? -1 : 1))
      .map((text) => JSON.parse(text) as JsonValue);
  },
  never,
);

/** Every writer's value, newest first: no winner. */
export const ALL: Resolver = merging(
  "all",
  (values) => [...values],
  (texts) => new Set(texts).size > 1,
);

/** What a module says of the statements about a key: one of them, none, or a value (canonical JSON) that it made of them. */
export type ModulePick = { readonly winner: Slot | undefined } | { readonly valueJson: string };

/**
 * What a module picks of statements that come newest first; `pick` gives undefined where there is no module, or it was cut off. Then `latest` decides
 * for that key. Both are functions of the module and the statements, so it is the same everywhere.
 */
export const moduleResolver = (
  name: string,
  pick: (newestFirst: readonly Slot[]) => ModulePick | undefined,
): Resolver => ({
  name,
  dominates: never,
  show(undominated) {
    const slots = undominated.toSorted((a, b) => (isNewer(a, b) ? -1 : 1));
    const [newest] = slots;
    if (newest === undefined) return undefined;
    const picked = pick(slots);
    if (picked === undefined) {
      const shown = LATEST.show(undominatedOf(LATEST, slots));
      return shown && { ...shown, resolver: LATEST.name };
    }
    if ("valueJson" in picked) {
      const winner = slots.find(({ valueJson }) => valueJson !== undefined) ?? newest;
      return { valueJson: picked.valueJson, winner, contested: false, merged: true };
    }
    const { winner } = picked;
    if (winner === undefined) return undefined;
    const contested = slots.some(({ valueJson }) => valueJson !== winner.valueJson);
    return { valueJson: winner.valueJson, winner, contested, merged: false };
  },
});

/** What a key resolves to. */
export interface Resolution extends Shown {
  /** In ascending writer order: what the digest covers. */
  readonly undominated: readonly Slot[];
}

/** Statements that count: live at a time, and not retracted. */
export function counting(
  statements: readonly Slot[],
  retractions: readonly Slot[],
  asOfMs: number,
): readonly Slot[] {
  return statements.filter(
    (slot) =>
      expiryMs(slot) > asOfMs &&
      !retractions.some(
        ({ retract }) => retract?.writer === slot.writer && slot.hlc <= retract.upTo,
      ),
  );
}

/** Resolves the counting statements of one key; undefined when they show nothing. */
export function resolve(resolver: Resolver, statements: readonly Slot[]): Resolution | undefined {
  const undominated = undominatedOf(resolver, statements);
  const shown = resolver.show(undominated);
  return shown === undefined ? undefined : { ...shown, undominated };
}

/** The statements that no other one dominates, in ascending writer order. */
export function undominatedOf(resolver: Resolver, statements: readonly Slot[]): readonly Slot[] {
  if (statements.length < 2) return statements;
  if (resolver.dominates === never) return statements.toSorted(byWriter);
  // Only a newer one dominates, and dominance is transitive, so each has to be compared only with those
  // newer ones that are themselves undominated.
  const undominated: Slot[] = [];
  for (const slot of statements.toSorted((a, b) => (isNewer(a, b) ? -1 : 1))) {
    if (!undominated.some((other) => resolver.dominates(other, slot))) undominated.push(slot);
  }
  return undominated.toSorted(byWriter);
}

const byWriter = (a: Slot, b: Slot): number => (a.writer < b.writer ? -1 : 1);
