// SPDX-License-Identifier: Apache-2.0
/** Seeded randomness: the same on every machine, and one stream for each thing that draws. */
import { sha256 } from "@ctxmesh/crypto";
import type { RandomSource } from "@ctxmesh/model";

const encoder = new TextEncoder();

const rotateLeft = (word: number, bits: number): number => (word << bits) | (word >>> (32 - bits));

/**
 * xoshiro128** 1.1 (Blackman and Vigna 2018), its state the first 16 bytes of the SHA-256 of a name. What one
 * stream draws does not move another, so that a step that is left out of a plan changes little else. Never for keys.
 */
export class Dice implements RandomSource {
  readonly #name: string;
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(name: string) {
    const state = sha256(encoder.encode(name));
    const view = new DataView(state.buffer, state.byteOffset, 16);
    this.#name = name;
    this.#a = view.getUint32(0);
    this.#b = view.getUint32(4);
    this.#c = view.getUint32(8);
    // Not all zero, whatever the hash.
    this.#d = view.getUint32(12) | 1;
  }

  /** A stream of its own for a part of what this one is for. */
  fork(part: string): Dice {
    return new Dice(`${this.#name}/${part}`);
  }

  /** The next 32 bits. */
  next(): number {
    const result = Math.imul(rotateLeft(Math.imul(this.#b, 5), 7), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = rotateLeft(this.#d, 11);
    return result;
  }

  /** 0 up to, but not, 1. */
  float(): number {
    return this.next() / 4_294_967_296;
  }

  /** A whole number from `low` up to `high`, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.float() * (high - low + 1));
  }

  /** A number from `low` up to, but not, `high`. */
  between(low: number, high: number): number {
    return low + this.float() * (high - low);
  }

  /** Whether something of this probability happens. */
  chance(probability: number): boolean {
    return this.float() < probability;
  }

  /** One of several; throws `RangeError` for none. */
  pick<T>(items: readonly T[]): T {
    const item = items[this.int(0, items.length - 1)];
    if (item === undefined) throw new RangeError("nothing to pick from");
    return item;
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    let word = 0;
    for (let i = 0; i < length; i++) {
      word = i % 4 === 0 ? this.next() : word >>> 8;
      bytes[i] = word;
    }
    return bytes;
  }
}
