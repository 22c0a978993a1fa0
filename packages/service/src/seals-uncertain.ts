// SPDX-License-Identifier: Apache-2.0
import type { StoreChange } from "@ctxmesh/model";

/**
 * The record that a hub's store may lack seals which the hub has published: it was restored from a backup, or
 * healed. A hub does not seal while it is there, and removes it with the first seal that is asked for with the
 * number of the newest one. Without a meaning in an agent's store. Key: 0x22; value: one byte, 1.
 */
export const SEALS_UNCERTAIN: Required<StoreChange> = {
  key: Uint8Array.of(0x22),
  value: Uint8Array.of(1),
};
