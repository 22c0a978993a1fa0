// SPDX-License-Identifier: Apache-2.0
/** The durable content of a disk: records sorted by key as unsigned bytes. */
import type { StoreChange, StoreRange } from "@ctxmesh/model";

/** A record; never changed in place, so that images can share it. */
export interface DiskEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** It no longer matches its hash. */
  readonly damaged: boolean;
}

/** A key as a string of the same order: one character for each byte. */
export const keyOf = (key: Uint8Array): string =>
  Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");

/** The key of such a string. */
export const bytesOfKey = (key: string): Uint8Array => new Uint8Array(Buffer.from(key, "latin1"));

/** Records by key. */
export class DiskImage {
  #entries = new Map<string, DiskEntry>();
  #keys: string[] = [];
  #bytes = 0;
  #damaged = 0;

  /** In order. */
  get keys(): readonly string[] {
    return this.#keys;
  }

  /** Bytes of all values. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Records that can't be read. */
  get damaged(): number {
    return this.#damaged;
  }

  get(key: string): DiskEntry | undefined {
    return this.#entries.get(key);
  }

  /** Applies puts and deletes in order. The arrays become the image's own. */
  apply(changes: readonly StoreChange[]): void {
    for (const { key, value } of changes) {
      const name = keyOf(key);
      const before = this.#entries.get(name);
      if (before !== undefined) {
        this.#bytes -= before.value.length;
        if (before.damaged) this.#damaged -= 1;
      }
      if (value === undefined) {
        if (before === undefined) continue;
        this.#entries.delete(name);
        this.#keys.splice(this.#lowerBound(name), 1);
      } else {
        if (before === undefined) this.#keys.splice(this.#lowerBound(name), 0, name);
        this.#entries.set(name, { key, value, damaged: false });
        this.#bytes += value.length;
      }
    }
  }

  /** The entries of a range as they are now. */
  range({ gte, lt, reverse = false, limit }: StoreRange): readonly DiskEntry[] {
    const keys = this.#keys.slice(this.#lowerBound(keyOf(gte)), this.#lowerBound(keyOf(lt)));
    if (reverse) keys.reverse();
    return keys.slice(0, limit).flatMap((key) => this.#entries.get(key) ?? []);
  }

  /** Makes a record unreadable. */
  damage(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.damaged) return;
    this.#entries.set(key, { ...entry, damaged: true });
    this.#damaged += 1;
  }

  /** An image of its own with the same content. */
  copy(): DiskImage {
    const copy = new DiskImage();
    copy.#entries = new Map(this.#entries);
    copy.#keys = this.#keys.slice();
    copy.#bytes = this.#bytes;
    copy.#damaged = this.#damaged;
    return copy;
  }

  /** Index of the first key not below `key`. */
  #lowerBound(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] ?? "") < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
