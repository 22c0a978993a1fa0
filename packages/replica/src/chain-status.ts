// SPDX-License-Identifier: Apache-2.0
import type { DeviceKey, IncarnationId } from "@ctxmesh/model";
import type { Core } from "./core.ts";
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

/** See `Replica.chains`. */
export const chainStatuses = ({
  log,
  records,
  state,
}: Pick<Core, "log" | "records" | "state">): readonly ChainStatus[] =>
  [...log.heads()]
    .toSorted((a, b) => (a.replica + a.incarnation < b.replica + b.incarnation ? -1 : 1))
    .map(({ replica, incarnation }) => {
      const seq = state.frontier.head(replica, incarnation)?.seq ?? 0;
      const limit = records.limitOf(replica, incarnation);
      const rest = state.voids.get(replica + incarnation);
      return {
        replica,
        incarnation,
        seq,
        void: rest?.batches ?? 0,
        ...(Number.isFinite(limit) ? { limit } : {}),
        ...(rest === undefined ? {} : { reason: rest.reason }),
      };
    });

/** See `Replica.degraded`. */
export function degradedChains(
  { log, records, expected }: Pick<Core, "expected" | "log" | "records">,
  stale: readonly StaleChain[],
): readonly DegradedChain[] {
  const behind = expected.flatMap(({ replica, incarnation, seq }): DegradedChain[] => {
    const wanted = Math.min(seq, records.limitOf(replica, incarnation));
    const here = log.head(replica, incarnation)?.seq ?? 0;
    return here < wanted
      ? [{ kind: "behind", replica, incarnation, seq: here, expected: wanted }]
      : [];
  });
  return [...behind, ...stale.map((chain) => ({ kind: "stale" as const, ...chain }))];
}
