// SPDX-License-Identifier: Apache-2.0
/** Chains as map keys, and an immutable map by chain. */

import type { Chain, ChainHead } from "./messages.ts";

/** A chain as a map key. */
export const chainKey = ({ replica, incarnation }: Chain): string => replica + incarnation;

/** Whether two heads of a chain are of one branch and position. */
export const isSameHead = (a: ChainHead, b: ChainHead | undefined): boolean =>
  a.seq === b?.seq && a.hash === b.hash;

/** How an older version of a map comes from the one that was made of it. */
interface Newer<T> {
  readonly map: ChainMap<T>;
  /** What the older one has where they differ; undefined: no entry. */
  readonly before: ReadonlyMap<string, T | undefined>;
}

/**
 * An immutable map by chain. A change costs what it changes, however many chains there are, since a remote may tell of
 * tens of thousands and change one at a time: the entries go over to the new version, and the old one keeps
 * only what differs (Baker, "Shallow binding makes functional arrays fast", 1991). An old version that is
 * read all the same gets entries of its own, in the time that copying takes.
 */
export class ChainMap<T> {
  #entries: Map<string, T> | undefined;
  #newer: Newer<T> | undefined;

  /** With these entries, which nobody else may have. */
  constructor(entries: Map<string, T>) {
    this.#entries = entries;
  }

  #own(): Map<string, T> {
    if (this.#entries !== undefined) return this.#entries;
    const changes: ReadonlyMap<string, T | undefined>[] = [];
    let newer = this.#newer;
    let newest: Map<string, T> | undefined;
    while (newer !== undefined) {
      changes.push(newer.before);
      newest = newer.map.#entries;
      newer = newer.map.#newer;
    }
    const entries = new Map(newest);
    for (const before of changes.toReversed()) {
      for (const [chain, entry] of before) {
        if (entry === undefined) entries.delete(chain);
        else entries.set(chain, entry);
      }
    }
    this.#entries = entries;
    this.#newer = undefined;
    return entries;
  }

  /** Number of entries. */
  get size(): number {
    return this.#own().size;
  }

  /** The entry of a chain. */
  get(chain: string): T | undefined {
    return this.#own().get(chain);
  }

  /** The map with some entries set. */
  with(entries: readonly (readonly [chain: string, entry: T])[]): ChainMap<T> {
    const own = this.#own();
    if (entries.length === 0) return this;
    // The empty map is one for all, and must not get entries on the way.
    if (own.size === 0) return new ChainMap(new Map(entries));
    const before = new Map<string, T | undefined>();
    for (const [chain, entry] of entries) {
      if (!before.has(chain)) before.set(chain, own.get(chain));
      own.set(chain, entry);
    }
    const map = new ChainMap(own);
    this.#entries = undefined;
    this.#newer = { map, before };
    return map;
  }

  /** All entries, in no order. Make no new version while going over them. */
  entries(): IterableIterator<[string, T]> {
    return this.#own().entries();
  }
}

/** A map without entries. */
export const noChains: ChainMap<never> = new ChainMap(new Map<string, never>());

/** The entry of a chain. */
export const entryOf = <T>(map: ChainMap<T>, chain: string): T | undefined => map.get(chain);

/** The map with some entries set. */
export const withEntries = <T>(
  map: ChainMap<T>,
  entries: readonly (readonly [chain: string, entry: T])[],
): ChainMap<T> => map.with(entries);

/** All entries, in no order. */
export const entriesOf = <T>(map: ChainMap<T>): IterableIterator<[string, T]> => map.entries();
