// SPDX-License-Identifier: Apache-2.0
import type { Slot } from "./slot.ts";

/** A multimap from a term to keys; a key is there as often as slots of it have the term. */
class Terms {
  readonly #counts = new Map<string, Map<string, number>>();

  change(term: string, key: string, by: 1 | -1): void {
    let keys = this.#counts.get(term);
    if (keys === undefined) {
      keys = new Map();
      this.#counts.set(term, keys);
    }
    const count = (keys.get(key) ?? 0) + by;
    if (count > 0) keys.set(key, count);
    else keys.delete(key);
    if (keys.size === 0) this.#counts.delete(term);
  }

  keys(term: string): Iterable<string> {
    return [...(this.#counts.get(term)?.keys() ?? [])].toSorted((a, b) => (a < b ? -1 : 1));
  }
}

/** Which keys have a statement from a source, or with a tag. */
export class KeyIndex {
  readonly #sources = new Terms();
  readonly #tags = new Terms();

  #change(slot: Slot, by: 1 | -1): void {
    if (slot.source !== undefined) this.#sources.change(slot.source.model, slot.key, by);
    for (const tag of new Set(slot.tags)) this.#tags.change(tag, slot.key, by);
  }

  /** A slot came to count. */
  add(slot: Slot): void {
    this.#change(slot, 1);
  }

  /** A slot was replaced. */
  remove(slot: Slot): void {
    this.#change(slot, -1);
  }

  /** Keys with a statement from a source model, in code-unit order. */
  bySource(model: string): Iterable<string> {
    return this.#sources.keys(model);
  }

  /** Keys with a statement that has a tag, in code-unit order. */
  byTag(tag: string): Iterable<string> {
    return this.#tags.keys(tag);
  }
}
