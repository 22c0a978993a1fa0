// SPDX-License-Identifier: Apache-2.0
import type { ChainId, Slot } from "./slot.ts";

/** The seqs above `from` up to `to`. */
interface Interval {
  from: number;
  to: number;
}

/** Dead entries allowed beside the live ones before the log is compacted. */
const SLACK = 32;

/**
 * The slots that one chain wrote and that nobody replaced since, in the order of their seqs, and how
 * far the chain is known. Replaced slots stay in the list until they outnumber the live ones, so
 * memory is bounded by the live slots and the newest ones are found from the end.
 */
export class ChainLog {
  readonly id: ChainId;
  /** Every seq up to this one is known, applied or overwritten. */
  #known = 0;
  #islands: Interval[] = [];
  /** Ascending by seq unless `#unsorted`. */
  #slots: Slot[] = [];
  #unsorted = false;
  #live = 0;

  constructor(id: ChainId) {
    this.id = id;
  }

  /** Every seq up to this one is known. */
  get known(): number {
    return this.#known;
  }

  /** Known intervals (from, to] beyond a gap, disjoint and ascending. */
  get islands(): readonly Readonly<Interval>[] {
    return this.#islands;
  }

  /** Number of slots that count. */
  get live(): number {
    return this.#live;
  }

  /** A frame over (from, to] was applied. */
  cover(from: number, to: number): void {
    if (from > this.#known) {
      this.#islands.push({ from, to });
      this.#islands.sort((a, b) => a.from - b.from);
    } else if (to > this.#known) {
      this.#known = to;
    }
    // Islands that the known part has reached, or that touch each other, become one.
    const apart: Interval[] = [];
    for (const island of this.#islands) {
      const before = apart.at(-1);
      if (island.from <= this.#known) this.#known = Math.max(this.#known, island.to);
      else if (before !== undefined && island.from <= before.to) {
        before.to = Math.max(before.to, island.to);
      } else apart.push(island);
    }
    this.#islands = apart;
  }

  /** A slot of this chain came to count. */
  add(slot: Slot): void {
    const last = this.#slots.at(-1);
    if (last !== undefined && last.seq > slot.seq) this.#unsorted = true;
    this.#slots.push(slot);
    this.#live++;
  }

  /** A slot of this chain was replaced; `isLive` tells of the others. */
  remove(isLive: (slot: Slot) => boolean): void {
    this.#live--;
    if (this.#slots.length > 2 * this.#live + SLACK) this.#slots = this.#slots.filter(isLive);
  }

  /** The live slots above a seq, ascending: time in proportion to their number, amortized. */
  newerThan(seq: number, isLive: (slot: Slot) => boolean): Slot[] {
    if (this.#unsorted) {
      this.#slots.sort((a, b) => a.seq - b.seq);
      this.#unsorted = false;
    }
    const newer: Slot[] = [];
    for (let i = this.#slots.length - 1; i >= 0; i--) {
      const slot = this.#slots[i];
      if (slot === undefined || slot.seq <= seq) break;
      if (isLive(slot)) newer.push(slot);
    }
    return newer.toReversed();
  }
}
