// SPDX-License-Identifier: Apache-2.0
/** Chains as map keys, and an immutable map by chain, in two layers: a change of one chain must not copy thousands of others. */

import type { Chain, ChainHead } from "./messages.ts";

/** A chain as a map key. */
export const chainKey = ({ replica, incarnation }: Chain): string => replica + incarnation;

/** Whether two heads of a chain are of one branch and position. */
export const isSameHead = (a: ChainHead, b: ChainHead | undefined): boolean =>
  a.seq === b?.seq && a.hash === b.hash;

/** The entries; one in `recent` hides one in `settled`. */
export interface ChainMap<T> {
  readonly settled: ReadonlyMap<string, T>;
  /** A few. */
  readonly recent: ReadonlyMap<string, T>;
}

/** Entries in the upper layer before it is merged into the lower one. */
const RECENT = 64;

/** A map without entries. */
export const noChains: ChainMap<never> = {
  settled: new Map<string, never>(),
  recent: new Map<string, never>(),
};

/** The entry of a chain. */
export const entryOf = <T>({ recent, settled }: ChainMap<T>, chain: string): T | undefined =>
  recent.get(chain) ?? settled.get(chain);

/** The map with some entries set. */
export function withEntries<T>(
  { settled, recent: before }: ChainMap<T>,
  entries: Iterable<readonly [chain: string, entry: T]>,
): ChainMap<T> {
  const recent = new Map(before);
  for (const [chain, entry] of entries) recent.set(chain, entry);
  return recent.size <= RECENT
    ? { settled, recent }
    : { settled: new Map([...settled, ...recent]), recent: new Map<string, T>() };
}

/** All entries, in no order. */
export function* entriesOf<T>({ settled, recent }: ChainMap<T>): Generator<[string, T]> {
  for (const [chain, entry] of settled) if (!recent.has(chain)) yield [chain, entry];
  yield* recent;
}
