// SPDX-License-Identifier: Apache-2.0
import type { NamedChain } from "./chain-names.ts";
import type { Slot } from "./slot.ts";

/** The seqs above `from` up to `to`. */
interface Interval {
  from: number;
  to: number;
}

/** Places of replaced slots allowed beside the live ones before the log is compacted. */
const SLACK = 32;

/** First of `length` ascending numbers that is not below `least`. */
function lowerBound(length: number, numberAt: (i: number) => number, least: number): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (numberAt(middle) < least) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The slots that one chain wrote and that nobody replaced since, in the order of their seqs, and how
 * far the chain is known. A replaced slot is let go at once and its place in the list when such places
 * outnumber the live slots, so memory is bounded by the live slots and the newest are found from the end.
 *
 * Honest chains only ever append: their frames come in order and leave no gaps. A hostile one may write any seqs in any
 * order. Its late slots are kept beside the list, unsorted, until somebody asks for them; and its gaps are counted (see
 * `FactStore.gaps`), so that whoever bounds documents can bound them.
 */
export class ChainLog {
  readonly id: NamedChain;
  /** Every seq up to this one is known, applied or overwritten. */
  #known = 0;
  readonly #islands: Interval[] = [];
  /** Live slots whose seq was not above all others when they came. */
  readonly #late = new Set<Slot>();
  /** Ascending. */
  #seqs: number[] = [];
  /** The slot of each seq; undefined once replaced. */
  #slots: (Slot | undefined)[] = [];
  #live = 0;

  constructor(id: NamedChain) {
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
    if (from <= this.#known) {
      if (to <= this.#known) return;
      this.#known = to;
    } else {
      this.#addIsland(from, to);
    }
    // Islands that the known part has reached are part of it.
    const apart = this.#islands.findIndex((island) => island.from > this.#known);
    const reached = this.#islands.splice(0, apart === -1 ? this.#islands.length : apart);
    this.#known = Math.max(this.#known, reached.at(-1)?.to ?? 0);
  }

  /** Puts an interval in its place, as one with those that it touches. */
  #addIsland(from: number, to: number): void {
    const islands = this.#islands;
    const first = lowerBound(islands.length, (i) => islands[i]?.to ?? 0, from);
    const end = lowerBound(islands.length, (i) => islands[i]?.from ?? 0, to + 1);
    const joined = {
      from: Math.min(from, islands[first]?.from ?? from),
      to: Math.max(to, islands[end - 1]?.to ?? to),
    };
    islands.splice(first, end - first, joined);
  }

  /** A slot of this chain came to count. */
  add(slot: Slot): void {
    this.#live++;
    if (slot.seq > (this.#seqs.at(-1) ?? 0)) {
      this.#seqs.push(slot.seq);
      this.#slots.push(slot);
    } else {
      this.#late.add(slot);
    }
  }

  /** A slot of this chain was replaced. */
  remove(slot: Slot): void {
    this.#live--;
    if (this.#late.size > 0 && this.#late.delete(slot)) return;
    this.#slots[this.#indexOf(slot.seq)] = undefined;
    if (this.#slots.length > 2 * (this.#live - this.#late.size) + SLACK) {
      this.#slots = this.#slots.filter((other) => other !== undefined);
      this.#seqs = this.#slots.map((other) => other?.seq ?? 0);
    }
  }

  /** First index in the list whose seq is not below `seq`. */
  #indexOf(seq: number): number {
    const seqs = this.#seqs;
    return lowerBound(seqs.length, (i) => seqs[i] ?? 0, seq);
  }

  /** The live slots above a seq, ascending: time in proportion to their number, amortized, and to that of all late ones. */
  newerThan(seq: number): Slot[] {
    const newer = this.#slots.slice(this.#indexOf(seq + 1)).filter((slot) => slot !== undefined);
    if (this.#late.size === 0) return newer;
    for (const slot of this.#late) if (slot.seq > seq) newer.push(slot);
    return newer.toSorted((a, b) => a.seq - b.seq);
  }
}
