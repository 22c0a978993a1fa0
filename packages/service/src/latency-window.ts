// SPDX-License-Identifier: Apache-2.0
import type { LatencySummary } from "@ctxmesh/model";

/** Samples kept; older ones are overwritten. */
const WINDOW = 8192;

/** Percentiles over the newest samples, in bounded memory. */
export class LatencyWindow {
  readonly #samples = new Float64Array(WINDOW);
  #count = 0;

  /** Adds one sample in milliseconds; a negative one (clocks differ) counts as 0. */
  add(ms: number): void {
    this.#samples[this.#count % WINDOW] = Math.max(0, ms);
    this.#count++;
  }

  /** Nearest-rank percentiles of the window; `count` is of all samples ever. Zeros when empty. */
  summary(): LatencySummary {
    const sorted = this.#samples.slice(0, Math.min(this.#count, WINDOW)).toSorted();
    const at = (fraction: number): number =>
      sorted[Math.max(0, Math.ceil(sorted.length * fraction) - 1)] ?? 0;
    return { count: this.#count, p50Ms: at(0.5), p95Ms: at(0.95), maxMs: at(1) };
  }
}
