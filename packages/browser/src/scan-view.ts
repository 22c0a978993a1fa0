// SPDX-License-Identifier: Apache-2.0
/**
 * What a scan sees. IndexedDB has no snapshots that outlive a moment, so a scan reads page by page, and each write first puts what it is
 * about to change, as it was, beside the scans under way.
 */
import { toHex } from "@ctxmesh/model";

/** A key and its value. */
export type Entry = readonly [key: Uint8Array, value: Uint8Array];

/** Order of keys: by their bytes, a prefix first. Below 0 when `a` comes before `b`. */
export function compareKeys(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const order = (a[i] ?? 0) - (b[i] ?? 0);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

/** The entries from `gte` up to but not `lt` as they were when the view was made. */
export class ScanView {
  readonly #gte: Uint8Array;
  readonly #lt: Uint8Array;
  /** What was there before it was first written since; without a value when nothing was. */
  readonly #before = new Map<string, readonly [key: Uint8Array, value: Uint8Array | undefined]>();

  constructor(gte: Uint8Array, lt: Uint8Array) {
    this.#gte = gte;
    this.#lt = lt;
  }

  /** Whether a key belongs to it, and its value has not been kept yet. */
  lacks(key: Uint8Array): boolean {
    const isInside = compareKeys(this.#gte, key) <= 0 && compareKeys(key, this.#lt) < 0;
    return isInside && !this.#before.has(toHex(key));
  }

  /** Keeps what was under a key before it is written. */
  keep(key: Uint8Array, value: Uint8Array | undefined): void {
    if (this.lacks(key)) this.#before.set(toHex(key), [key, value]);
  }

  /**
   * A page as it was: what the database has now under the keys from `from` up to but not `to`, in order, and what it had. Nothing
   * under those keys is asked for again.
   */
  page(entries: readonly Entry[], from: Uint8Array, to: Uint8Array): readonly Entry[] {
    if (this.#before.size === 0) return entries;
    const page = entries.filter(([key]) => !this.#before.has(toHex(key)));
    for (const [key, value] of this.#before.values()) {
      const isInside = compareKeys(from, key) <= 0 && compareKeys(key, to) < 0;
      if (isInside && value !== undefined) page.push([key, value]);
    }
    return page.toSorted(([a], [b]) => compareKeys(a, b));
  }
}
