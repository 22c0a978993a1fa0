// SPDX-License-Identifier: Apache-2.0
/** How far the log can be pruned, and what the part that goes amounts to; and what a base says that is not true any more. */
import { hlcToMs } from "@ctxmesh/model";
import type { DeviceKey, IncarnationId } from "@ctxmesh/model";
import type { Checkpoint } from "./checkpoint-format.ts";
import type { ParsedBatch } from "./checks.ts";
import type { Core } from "./core.ts";
import type { Records } from "./records.ts";
import { StateBuilder } from "./state.ts";
import type { State } from "./state.ts";
import type { Chain } from "./void-content.ts";

/** Which batches are not needed any more. */
export interface PruneOptions {
  /** The highest seq of a chain that may go. */
  readonly upTo: (chain: Chain) => number;
  /** What was written at this time or later stays; Unix milliseconds. */
  readonly beforeMs: number;
}

/** What was removed. */
export interface PruneReport {
  readonly batches: number;
  /** Of the batches, as they were stored. */
  readonly bytes: number;
}

/** A chain of which the pruned part says more than the records let count now. */
export interface StaleChain {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  /** Batches of it that are pruned, and so count for good. */
  readonly seq: number;
  /** Those of them that should; 0 where whoever granted the device its right had been removed. */
  readonly limit: number;
}

/** What the log up to a position amounts to. */
export interface Prefix {
  readonly position: number;
  readonly state: State;
}

/**
 * The longest part of the log, from its start, whose batches may go or do not count. Worked out from the base, since what the
 * whole log amounts to now says nothing of then. A batch that waits for one behind the end is not in it, and so stays, like a void
 * one. Undefined when it is no longer than what is pruned, or `isWanted` says that nobody needs it any more.
 */
export async function prefixToPrune(
  core: Core,
  self: DeviceKey,
  options: PruneOptions,
  isWanted: () => boolean,
): Promise<Prefix | undefined> {
  const { log, checkpoints, records, voidHeaders, state: now } = core;
  const pruned = log.pruned.position;
  const mayGo = ({ header }: ParsedBatch): boolean => {
    const { replica, incarnation, seq, hlc } = header;
    if (seq > (now.frontier.head(replica, incarnation)?.seq ?? 0)) return true;
    return hlcToMs(hlc) < options.beforeMs && seq <= options.upTo({ replica, incarnation });
  };
  const { base } = checkpoints;
  const documents = await checkpoints.documents(base, records.space);
  const builder = new StateBuilder(records, self, voidHeaders, { checkpoint: base, documents });
  let last = pruned;
  for await (const [batch, position] of log.batches()) {
    if (!isWanted()) return undefined;
    // Also of those that were void when the base was made and count again: no base is without one and with what may build on it.
    if (!mayGo(batch)) break;
    builder.add(batch, position);
    last = Math.max(last, position);
  }
  return last === pruned ? undefined : { position: last, state: builder.finish() };
}

/** The chains of a base of which more counts than the records allow now. What this device wrote past its grant counts here. */
export function staleChains(
  base: Checkpoint | undefined,
  records: Records,
  self: DeviceKey,
): readonly StaleChain[] {
  return (base?.heads ?? []).flatMap((head) => {
    const { replica, incarnation, seq, hash } = head;
    const standing = records.standing(head, hash);
    if (standing.kind === "counts") return [];
    const limit = records.limitOf(replica, incarnation);
    const lacksGrant = standing.kind !== "void" || standing.reason === "grant";
    if (standing.kind !== "void" && replica === self) return [];
    return [{ replica, incarnation, seq, limit: lacksGrant ? 0 : Math.min(limit, seq - 1) }];
  });
}
