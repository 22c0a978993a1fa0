// SPDX-License-Identifier: Apache-2.0
/**
 * The trace that every engine of the `facts` benchmark is given: a function of the position, so that
 * any part can be played again in any process.
 */
import type { FactInput } from "@ctxmesh/model";

/** One write. */
export type Row = Pick<FactInput, "key" | "value">;

/** Bytes of every value as JSON. */
export const VALUE_BYTES = 167;
/** Distinct values. */
const VALUES = 10_007;
const SEED = 20_260_101;
const WORDS =
  "pressure rising at the inlet valve while flow stays within limits so inspect the seal before the next shift starts";

/** A 32-bit hash (the finalizer of MurmurHash3). */
function hash(value: number): number {
  let h = (value + SEED) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A model's statement as an application writes it: members in no particular order. */
function valueAt(i: number): FactInput["value"] {
  const h = hash(i);
  const start = h % WORDS.length;
  const value = {
    text: "",
    score: (h % 9_000) / 10_000 + 0.1,
    model: `detector-${String(h % 8)}`,
    confidence: (hash(h) % 90) / 100 + 0.1,
    ts: 1_767_225_600_000 + i * 137,
    hlc: `${(1_767_225_600_000 + i * 137).toString(16)}-${(h & 0xffff).toString(16).padStart(4, "0")}`,
  };
  const room = VALUE_BYTES - JSON.stringify(value).length;
  return { ...value, text: `${WORDS.slice(start)} ${WORDS}`.slice(0, room) };
}

/** Writes to `keys` keys: first each once in order, then to random ones. */
export class Trace {
  readonly keys: readonly string[];
  readonly #values: readonly FactInput["value"][];

  constructor(keys: number) {
    this.keys = Array.from({ length: keys }, (_, i) => `press-${String(i % 16)}/s${String(i)}`);
    this.#values = Array.from({ length: VALUES }, (_, i) => valueAt(i));
  }

  /** Writes `from` to `from + count`. */
  rows(from: number, count: number): readonly Row[] {
    const { length } = this.keys;
    return Array.from({ length: count }, (_, offset) => {
      const i = from + offset;
      return {
        key: this.keys[i < length ? i : hash(i) % length] ?? "",
        value: this.#values[hash(i + length) % VALUES] ?? null,
      };
    });
  }

  /** `count` random keys. */
  sample(count: number): readonly string[] {
    const { length } = this.keys;
    return Array.from({ length: count }, (_, i) => this.keys[hash(i) % length] ?? "");
  }
}
