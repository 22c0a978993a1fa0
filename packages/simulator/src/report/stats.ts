// SPDX-License-Identifier: Apache-2.0
/** Figures over many samples. */
import type { Spread } from "./report.ts";

/** Samples, each with a weight: for what part of the time it held. */
export class Samples {
  #values = new Float64Array(64);
  #weights = new Float64Array(64);
  #count = 0;

  /** Number of samples. */
  get count(): number {
    return this.#count;
  }

  add(value: number, weight = 1): void {
    if (this.#count === this.#values.length) {
      this.#values = doubled(this.#values);
      this.#weights = doubled(this.#weights);
    }
    this.#values[this.#count] = value;
    this.#weights[this.#count] = weight;
    this.#count += 1;
  }

  /** The least value at or below which lies at least each of these shares of the weight (nearest rank); empty without samples. */
  quantiles(shares: readonly number[]): readonly number[] {
    if (this.#count === 0) return [];
    const order = Array.from({ length: this.#count }, (_, i) => i).toSorted(
      (a, b) => (this.#values[a] ?? 0) - (this.#values[b] ?? 0),
    );
    const total = order.reduce((sum, i) => sum + (this.#weights[i] ?? 0), 0);
    return shares.map((share) => {
      let sum = 0;
      for (const i of order) {
        sum += this.#weights[i] ?? 0;
        // A hair less, so that sums of fractions do not miss by one.
        if (sum >= share * total - total * 1e-12) return this.#values[i] ?? 0;
      }
      return this.#values[order.at(-1) ?? 0] ?? 0;
    });
  }

  /** The share of the weight of samples of which this holds. */
  share(holds: (value: number) => boolean): number {
    let [sum, total] = [0, 0];
    for (let i = 0; i < this.#count; i++) {
      const weight = this.#weights[i] ?? 0;
      total += weight;
      if (holds(this.#values[i] ?? 0)) sum += weight;
    }
    return total === 0 ? 0 : sum / total;
  }

  /** Rounded to a thousandth of a millisecond, as everything that is reported. */
  spread(): Spread {
    const [p50Ms, p95Ms, maxMs] = this.quantiles([0.5, 0.95, 1]).map(rounded);
    if (p50Ms === undefined || p95Ms === undefined || maxMs === undefined) return { count: 0 };
    return { count: this.#count, p50Ms, p95Ms, maxMs };
  }
}

/** To a thousandth. */
export const rounded = (value: number): number => Math.round(value * 1_000) / 1_000;

function doubled(values: Float64Array): Float64Array<ArrayBuffer> {
  const more = new Float64Array(values.length * 2);
  more.set(values);
  return more;
}
