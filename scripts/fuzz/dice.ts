// SPDX-License-Identifier: Apache-2.0
import { createSeededRandom } from "@ctxmesh/testing";

const CHUNK = 256;

/** Choices that a seed decides. */
export class Dice {
  readonly #random: ReturnType<typeof createSeededRandom>;
  #words: Uint32Array = new Uint32Array();
  #at = 0;

  /** The choices of number `index` of a run. */
  constructor(seed: number, index: number) {
    this.#random = createSeededRandom(BigInt(seed) * 0x9e37_79b9_7f4a_7c15n + BigInt(index));
  }

  /** A whole number of 32 bits. */
  word(): number {
    if (this.#at === this.#words.length) {
      this.#words = new Uint32Array(this.#random.bytes(this.#at === 0 ? 64 : CHUNK).buffer);
      this.#at = 0;
    }
    return this.#words[this.#at++] ?? 0;
  }

  /** 0 up to and without `sides`, which is 2^32 at most. */
  roll(sides: number): number {
    return Math.floor((this.word() / 2 ** 32) * sides);
  }

  /** True in `percent` of 100 cases. */
  chance(percent: number): boolean {
    return this.roll(100) < percent;
  }

  /** One of some. Throws when there are none. */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new Error("nothing to pick from");
    return items[this.roll(items.length)] as T;
  }

  /** `length` random bytes. */
  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.roll(256));
  }

  /** A number that formats are known to get wrong, or one near `from`. */
  number(from: number): number {
    const way = this.roll(4);
    if (way === 0) return Math.max(0, from + this.roll(5) - 2);
    if (way === 1) return this.roll(300);
    return this.pick(EDGES);
  }
}

const EDGES = [
  0,
  1,
  23,
  24,
  127,
  128,
  255,
  256,
  65_535,
  65_536,
  262_144,
  1_048_576,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 40,
  2 ** 52,
  2 ** 53 - 2,
  2 ** 53 - 1,
];
