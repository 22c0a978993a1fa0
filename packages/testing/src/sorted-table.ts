// SPDX-License-Identifier: Apache-2.0
/** Entries sorted by key as unsigned bytes. */
import type { StoreChange, StoreRange } from "@ctxmesh/model";

/** One entry; never changed in place, so that a slice of the table is a consistent view. */
export interface TableEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** The record no longer matches its hash. */
  readonly damaged: boolean;
}

/** A sorted table with binary search. */
export class SortedTable {
  #entries: TableEntry[] = [];

  get(key: Uint8Array): TableEntry | undefined {
    const entry = this.#entries[this.#lowerBound(key)];
    return entry !== undefined && Buffer.compare(entry.key, key) === 0 ? entry : undefined;
  }

  /** Applies puts and deletes in order. The arrays become the table's own. */
  apply(changes: readonly StoreChange[]): void {
    for (const { key, value } of changes) {
      const at = this.#lowerBound(key);
      const replaced = this.get(key) === undefined ? 0 : 1;
      const added = value === undefined ? [] : [{ key, value, damaged: false }];
      this.#entries.splice(at, replaced, ...added);
    }
  }

  /** The entries of a range as they are now. */
  range({ gte, lt, reverse = false, limit }: StoreRange): readonly TableEntry[] {
    const entries = this.#entries.slice(this.#lowerBound(gte), this.#lowerBound(lt));
    if (reverse) entries.reverse();
    return limit === undefined ? entries : entries.slice(0, limit);
  }

  /** Marks an entry as damaged; false when there is none. */
  damage(key: Uint8Array): boolean {
    const entry = this.get(key);
    if (entry === undefined) return false;
    this.#entries[this.#lowerBound(key)] = { ...entry, damaged: true };
    return true;
  }

  copy(): SortedTable {
    const table = new SortedTable();
    table.#entries = this.#entries.slice();
    return table;
  }

  /** Index of the first entry with a key not below `key`. */
  #lowerBound(key: Uint8Array): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entry = this.#entries[middle];
      if (entry !== undefined && Buffer.compare(entry.key, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
