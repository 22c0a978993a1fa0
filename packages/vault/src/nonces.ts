// SPDX-License-Identifier: Apache-2.0
/** Random nonces, drawn many at a time: one draw costs as much as a seal. */
import type { RandomSource } from "@ctxmesh/model";

/** Bytes of a nonce (NIST SP 800-38D, 8.2.2: a random one of 96 bits). */
export const NONCE_BYTES = 12;
const NONCES_PER_DRAW = 512;

/** A supply of nonces. */
export class Nonces {
  readonly #random: RandomSource;
  #drawn: Uint8Array = new Uint8Array(0);
  #used = 0;

  constructor(random: RandomSource) {
    this.#random = random;
  }

  /** Writes the next nonce into `target` at `offset`, and forgets it. */
  take(target: Uint8Array, offset: number): void {
    if (this.#used === this.#drawn.length) {
      this.#drawn = this.#random.bytes(NONCES_PER_DRAW * NONCE_BYTES);
      this.#used = 0;
    }
    for (let i = 0; i < NONCE_BYTES; i++) target[offset + i] = this.#drawn[this.#used + i] ?? 0;
    this.#used += NONCE_BYTES;
  }
}
