// SPDX-License-Identifier: Apache-2.0
import type { DeviceKey, IncarnationId } from "@ctxmesh/model";
import type { StaleChain } from "./prune.ts";
import type { VoidReason } from "./state.ts";

/** How much of a chain is here, and how much of it counts. */
export interface ChainStatus {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  /** Batches that count. */
  readonly seq: number;
  /** The most that can count, when there is a limit: below a proven fork, or up to a revocation. */
  readonly limit?: number;
  /** Batches that are here and do not count, and why. */
  readonly void: number;
  readonly reason?: VoidReason;
}

/**
 * A chain that is not as it should be. `behind`: it has not come as far again as a damaged store had it. `stale`: more
 * of it was pruned than the records let count now, and can't be taken back.
 */
export type DegradedChain =
  | {
      readonly kind: "behind";
      readonly replica: DeviceKey;
      readonly incarnation: IncarnationId;
      /** Batches that are here. */
      readonly seq: number;
      readonly expected: number;
    }
  | ({ readonly kind: "stale" } & StaleChain);
