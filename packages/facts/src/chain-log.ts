// SPDX-License-Identifier: Apache-2.0
import type { ChainId, Slot } from "./slot.ts";

/** The seqs above `from` up to `to`. */
interface Interval {
  from: number;
  to: number;
}

/** Places of replaced slots allowed beside the live ones before the log is compacted. */
const SLACK = 32;

/** First index in sorted `seqs` whose seq is not below `seq`. */
function lowerBound(seqs: readonly number[], seq: number): number {
  let low = 0;
  let high = seqs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((seqs[middle] ?? 0) < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The slots that one chain wrote and that nobody replaced since, in the order of their seqs, and how
 * far the chain is known. A replaced slot is let go at once and its place in the list when such places
 * outnumber the live slots, so memory is bounded by the live slots and the newest are found from the end.
 */
export class ChainLog {
  readonly id: ChainId;
  /** Every seq up to this one is known, applied or overwritten. */
  #known = 0;
  #islands: Interval[] = [];
  /** Ascending. */
  #seqs: number[] = [];
  /** The slot of each seq; undefined once replaced. */
  #slots: (Slot | undefined)[] = [];
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
    if (this.#islands.length > 0) this.#join();
  }

  /** Islands that the known part has reached, or that touch each other, become one. */
  #join(): void {
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

  /** A slot of this chain came to count. Frames that arrive in order only ever append. */
  add(slot: Slot): void {
    this.#live++;
    const last = this.#seqs.at(-1);
    if (last === undefined || slot.seq > last) {
      this.#seqs.push(slot.seq);
      this.#slots.push(slot);
      return;
    }
    const at = lowerBound(this.#seqs, slot.seq);
    this.#seqs.splice(at, 0, slot.seq);
    this.#slots.splice(at, 0, slot);
  }

  /** A slot of this chain was replaced. */
  remove(slot: Slot): void {
    const at = this.#slots.indexOf(slot, lowerBound(this.#seqs, slot.seq));
    this.#slots[at] = undefined;
    this.#live--;
    if (this.#slots.length > 2 * this.#live + SLACK) {
      this.#slots = this.#slots.filter((other) => other !== undefined);
      this.#seqs = this.#slots.map((other) => other?.seq ?? 0);
    }
  }

  /** The live slots above a seq, ascending: time in proportion to their number, amortized. */
  newerThan(seq: number): Slot[] {
    return this.#slots.slice(lowerBound(this.#seqs, seq + 1)).filter((slot) => slot !== undefined);
  }
}
