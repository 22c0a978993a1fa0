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

/** Ids that Yjs draws by itself are below this. */
const STOCK_IDS = 2 ** 32;
/** Ids of overlays are from here on; those of incarnations may be, too, and differ in being in the content. */
const OVERLAY_IDS = 2 ** 52;
/** Low bits of an overlay's id that are drawn, so that two nodes in one millisecond have two. */
const OVERLAY_BITS = 2048;
/** Where the milliseconds of overlays begin, 2020; they reach into 2089. */
const OVERLAY_EPOCH_MS = 1_577_836_800_000;
const OVERLAY_MS = 2 ** 41;

/** Whether an id is one that a Yjs client drew by itself: 32 bits. */
export const isStockClient = (id: number): boolean =>
  Number.isSafeInteger(id) && id > 0 && id < STOCK_IDS;

/** Whether an id can be that of an overlay, see {@link overlayClient}. */
export const isOverlayClient = (id: number): boolean => id >= OVERLAY_IDS;

/**
 * The id under which a node mirrors facts into a projection: above all that browsers draw, so that its entries are the last of their keys, and rising
 * with time, so that those of a later overlay are the last among overlays. `atMs` in Unix milliseconds; `drawn` are two random bytes.
 */
export function overlayClient(atMs: number, drawn: Uint8Array): number {
  const ms = Math.min(Math.max(0, Math.floor(atMs) - OVERLAY_EPOCH_MS), OVERLAY_MS - 1);
  const low = ((drawn[0] ?? 0) * 256 + (drawn[1] ?? 0)) % OVERLAY_BITS;
  return OVERLAY_IDS + ms * OVERLAY_BITS + low;
}

/** When an overlay's id was made, Unix milliseconds. */
export const overlayMs = (id: number): number =>
  Math.floor((id - OVERLAY_IDS) / OVERLAY_BITS) + OVERLAY_EPOCH_MS;

/** A fresh client id from 53 random bits. */
export const allocateClientId = (random: RandomSource): number =>
  clientIdFrom(random.bytes(SEED_BYTES));
