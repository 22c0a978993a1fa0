// SPDX-License-Identifier: Apache-2.0
/** The sync node of a replica, and the timers that drive both. */
import type { Clock, Logger, RandomSource, Remote } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { Decider, SyncNode } from "@ctxmesh/sync";
import type { Broadcast, LogOfRecord } from "@ctxmesh/sync";
import { budgetsOf } from "./link-budgets.ts";
import type { LinkBudgets } from "./link-budgets.ts";

/** How often peers hear what is new, in milliseconds. */
const TICK_MS = 50;
/** How often batches held for a clock or a grant are looked at again, in milliseconds. */
const RETRY_MS = 1_000;
/** How long a stop waits for peers to take what is still to be sent, in milliseconds; one that hangs must not hold it up. */
const FLUSH_MS = 2_000;

/** What a node takes from outside. */
export interface NodeDeps {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
}

/**
 * Starts the sync node of a replica and the timers that drive both. `admits` says whom it talks to, and is asked
 * again and again. Stopping it flushes to the peers for `FLUSH_MS` at most, so transports must be stopped after it.
 */
export function startSync(
  replica: Replica,
  deps: NodeDeps,
  options: {
    readonly relay: "push" | "tell";
    readonly broadcast?: Broadcast;
    readonly admits: (device: string) => boolean;
    readonly links?: LinkBudgets;
    /** Hubs only. */
    readonly log?: LogOfRecord;
  },
): { readonly sync: SyncNode; readonly stop: () => Promise<void> } {
  const { links = {}, log, ...rest } = options;
  const { answer: answers } = new Decider({
    replica,
    clock: deps.clock,
    ...(log === undefined ? {} : { log }),
  });
  const budgets = budgetsOf(links);
  // A leaf is near, and takes messages whole alone.
  const budgetOf = (remote: Remote): number | undefined =>
    remote.leaf === true ? undefined : budgets(remote);
  const sync = new SyncNode({ ...deps, replica, ...rest, budgetOf, answers });
  const ticks = setInterval(() => {
    sync.tick();
    replica.gather(sync.gathering());
  }, TICK_MS);
  const retries = setInterval(() => {
    replica.retryTimed();
  }, RETRY_MS);
  return {
    sync,
    stop: async () => {
      clearInterval(ticks);
      clearInterval(retries);
      const { promise: overdue, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, FLUSH_MS);
      await Promise.race([sync.stop(), overdue]);
      clearTimeout(timer);
    },
  };
}
