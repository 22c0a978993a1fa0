// SPDX-License-Identifier: Apache-2.0
/**
 * Yjs client ids: 53-bit numbers, since that is what a V1 update and a double can both hold.
 *
 * An incarnation gets one at its first rich write in a document and not before, because Yjs never
 * forgets an id: each one that ever wrote costs every later transaction (measured: 6.6 ms at 5,000).
 * An id is never used by two incarnations. Reusing one after a crash lost its last operations leaves
 * replicas with equal clocks and different content for ever.
 */
import { MeshError } from "@ctxmesh/model";
import type { RandomSource } from "@ctxmesh/model";

const SEED_BYTES = 7;
/** 53 bits: what is left of the seventh byte. */
const TOP_BITS = 0x1f;

/** Whether a number can be the Yjs client id of an incarnation; 0 stands for "none". */
export const isClientId = (value: number): boolean => Number.isSafeInteger(value) && value > 0;

/**
 * The client id that the first 7 bytes of `seed` stand for (little-endian, 53 bits; 0 becomes 1). With
 * a hash of device key and incarnation as the seed, every replica can check that the id which a header
 * names is its own. Throws `INPUT_INVALID` for a shorter seed.
 */
export function clientIdFrom(seed: Uint8Array): number {
  if (seed.length < SEED_BYTES) {
    throw new MeshError("INPUT_INVALID", `a client id needs ${String(SEED_BYTES)} bytes`, {
      field: "seed",
    });
  }
  let id = (seed[SEED_BYTES - 1] ?? 0) & TOP_BITS;
  for (let i = SEED_BYTES - 2; i >= 0; i--) id = id * 256 + (seed[i] ?? 0);
  return Math.max(1, id);
}

/** A fresh client id from 53 random bits. */
export const allocateClientId = (random: RandomSource): number =>
  clientIdFrom(random.bytes(SEED_BYTES));
