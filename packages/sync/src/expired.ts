// SPDX-License-Identifier: Apache-2.0
/** What need not be sent over a slow link, since its time is over by the time it would be sent. */
import { decodeBatch, encodeBatch } from "@ctxmesh/codec";
import { LIMITS, hlcToMs } from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import { chainKey } from "./chain-map.ts";
import type { ChainHead } from "./messages.ts";
import type { SyncedBatch } from "./sync-replica.ts";

/**
 * A batch without the bodies that have expired for a remote whose frontier has come as far as `reached`: it takes it without them. The
 * clocks may differ by `LIMITS.clockAheadMs`. The batch itself where there is nothing to leave out.
 */
export function withoutExpired(bytes: Uint8Array, reached: Hlc, nowMs: number): Uint8Array {
  const beforeMs = Math.min(hlcToMs(reached), nowMs - LIMITS.clockAheadMs);
  const batch = decodeBatch(bytes);
  const isExpired = (i: number): boolean =>
    (batch.header.sections[i]?.until ?? Number.POSITIVE_INFINITY) < beforeMs;
  if (!batch.bodies.some((body, i) => body !== null && isExpired(i))) return bytes;
  const bodies = batch.bodies.map((body, i) => (isExpired(i) ? null : body));
  return encodeBatch({ ...batch, bodies });
}

/** The clocks of this node's own newest batches, to tell by a confirmation of one how far a hub has come. */
export class OwnClocks {
  readonly #newest = new Map<string, { readonly seq: number; readonly hlc: Hlc }>();

  /** A batch was written here. */
  wrote({ head, firstHlc }: SyncedBatch): void {
    if (firstHlc !== undefined) this.#newest.set(chainKey(head), { seq: head.seq, hlc: firstHlc });
  }

  /** The clock of the newest batch among those that are confirmed; 0 when none of them is. */
  reachedBy(heads: readonly ChainHead[]): Hlc {
    let reached = 0 as Hlc;
    for (const head of heads) {
      const own = this.#newest.get(chainKey(head));
      if (own !== undefined && head.seq >= own.seq && own.hlc > reached) reached = own.hlc;
    }
    return reached;
  }
}
