// SPDX-License-Identifier: Apache-2.0
import type { Clock, Logger, RandomSource, Remote } from "@ctxmesh/model";
import type { Answers } from "./asker.ts";
import type { Broadcast } from "./carriers.ts";
import type { SyncReplica } from "./sync-replica.ts";

/** What a sync node is made of. */
export interface SyncNodeOptions {
  readonly replica: SyncReplica;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Says which session is compared next. */
  readonly random: RandomSource;
  /**
   * Whether batches of others are pushed on at once (hub) or only told about (agent, whose peers hear the writer themselves).
   * Who pushes on also says what is durable here, and sealed.
   */
  readonly relay: "push" | "tell";
  /** Whether a device (hex key) may be connected now; looked at when records change and about once a second. */
  readonly admits: (device: string) => boolean;
  readonly broadcast?: Broadcast;
  /** Bytes per second that may go to a remote; without limit where it says nothing. */
  readonly budgetOf?: (remote: Remote) => number | undefined;
  /** Answers what remotes ask, as `Decider` does; nothing is answered without it. */
  readonly answers?: Answers;
}
