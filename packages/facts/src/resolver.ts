// SPDX-License-Identifier: Apache-2.0
/**
 * Which candidate is shown, as pure total functions of the candidates. Merge is set union of slots, so
 * the answer does not depend on arrival order; and because only dominated candidates may be dropped,
 * it does not depend on dropping either.
 */
import { hlcToMs } from "@ctxmesh/model";
import type { DeviceKey, FactSource, Hlc, IncarnationId } from "@ctxmesh/model";

/** One writer's current statement about one key. */
export interface Slot {
  readonly writer: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly seq: number;
  readonly hlc: Hlc;
  /** Canonical JSON text; undefined when the writer deleted the key. */
  readonly valueJson: string | undefined;
  readonly confidence: number | undefined;
  readonly source: FactSource | undefined;
  readonly ttlMs: number | undefined;
  readonly tags: readonly string[] | undefined;
  readonly basis: readonly string[] | undefined;
}

/** What a key resolves to. */
export interface Resolution {
  /** The newest undominated candidate; a delete when its `valueJson` is undefined. */
  readonly winner: Slot;
  /** In ascending writer order. */
  readonly undominated: readonly Slot[];
  /** The undominated candidates do not all say the same. */
  readonly contested: boolean;
}

/** A total order of candidates of one key: HLC, then writer, then incarnation. */
export function isNewer(a: Slot, b: Slot): boolean {
  if (a.hlc !== b.hlc) return a.hlc > b.hlc;
  if (a.writer !== b.writer) return a.writer > b.writer;
  return a.incarnation > b.incarnation;
}

/** An absent confidence counts as certain, so that plain writes behave as last-writer-wins. */
const confidenceOf = (slot: Slot): number => slot.confidence ?? 1;

/** Whether `a` makes `b` irrelevant for good: newer and at least as confident (a Pareto rule, hence a strict partial order). */
export const dominates = (a: Slot, b: Slot): boolean =>
  isNewer(a, b) && confidenceOf(a) >= confidenceOf(b);

/** Whether a candidate's ttl has run out at `asOfMs` (Unix milliseconds). */
export const isExpired = (slot: Slot, asOfMs: number): boolean =>
  slot.ttlMs !== undefined && hlcToMs(slot.hlc) + slot.ttlMs <= asOfMs;

/** Resolves the candidates of one key as of a time; undefined when none is live. */
export function resolve(slots: readonly Slot[], asOfMs: number): Resolution | undefined {
  const live = slots.filter((slot) => !isExpired(slot, asOfMs));
  const [first] = live;
  if (first === undefined) return undefined;
  if (live.length === 1) return { winner: first, undominated: live, contested: false };
  const undominated = live
    .filter((slot) => !live.some((other) => dominates(other, slot)))
    .toSorted((a, b) => (a.writer < b.writer ? -1 : 1));
  const winner = undominated.reduce((best, slot) => (isNewer(slot, best) ? slot : best));
  const contested = undominated.some((slot) => slot.valueJson !== winner.valueJson);
  return { winner, undominated, contested };
}
