// SPDX-License-Identifier: Apache-2.0
/**
 * A document's facts as one piece of bytes, for storage and full copies:
 *
 * ```
 * state = 0x01  count  ( writer:bytes(32)  incarnation:bytes(16)  frame ) * count
 * ```
 *
 * One frame per chain with its live slots, preceded by one for each interval beyond a gap; numbers and
 * frames as in `frame.ts`. Where a chain's seqs don't rise with its clocks, which is so of hostile ones alone, there is a frame for each
 * run that does, each of its own interval but for the last, which covers the whole one. Chains are in the order of their ids, so the same slots and the same knowledge
 * of chains give the same bytes, whatever the order in which they came.
 */
import type { FactEngine } from "./fact-engine.ts";
import type { FactStore } from "./fact-store.ts";
import { SlotStore } from "./slot-store.ts";

const EVERYTHING: ReadonlyMap<string, number> = new Map();

/** The whole state of a store. */
export const encodeState = (store: FactStore): Uint8Array => store.encodeDiff(EVERYTHING);

/** A store of a state, in an engine: in plain JavaScript unless told otherwise. Throws `FORMAT_INVALID`. */
export function decodeState(bytes: Uint8Array): SlotStore;
export function decodeState<S extends FactStore>(bytes: Uint8Array, engine: FactEngine<S>): S;
export function decodeState(bytes: Uint8Array, engine?: FactEngine): FactStore {
  const store = engine?.() ?? new SlotStore();
  store.merge(bytes);
  return store;
}
