// SPDX-License-Identifier: Apache-2.0
/**
 * What became of one received batch. The codes are a closed union and each moves one counter, so
 * that received = accepted + duplicate + refused + held + dropped holds at every step.
 */

/** Why a batch was refused, in the order of the checks. */
export const REFUSALS = [
  /** Longer than `LIMITS.batchBytes`. */
  "frame-size",
  /** Not a canonical, well-formed batch. */
  "shape",
  /** For another space. */
  "space",
  /** Its chain is forked: the same position holds another header, or a proof says that what follows a position does not count. */
  "equivocation",
  /** The signing device has no grant that allows it. */
  "grant",
  /** The signing device was revoked, and the revocation does not let this batch stand. */
  "revoked",
  /** `seq` and `prev` do not continue the chain they point into. */
  "chain",
  /** The signature does not verify. */
  "signature",
  /** A body is left out that is wanted whole here: nobody's fault, since whoever sent it may keep only a part. */
  "omitted",
  /** A body's length or hash differs from its section, or it can't be decompressed within the limit. */
  "body",
  /** The facts frame is malformed, over a limit, or does not match its section. */
  "facts",
  /** The rich update is malformed, over a limit, of another client, or does not match its section. */
  "rich",
] as const;

/** A code of {@link REFUSALS}. */
export type Refusal = (typeof REFUSALS)[number];

/** Why a batch waits. */
export const HOLDS = [
  /** Its predecessor in the chain, or a dependency, has not arrived. */
  "missing",
  /** Its clock is more than `LIMITS.clockAheadMs` ahead of ours. */
  "clock-ahead",
  /** The signing device's grant does not cover the batch's time; a renewed grant may. */
  "grant-time",
  /** The writer has seen a policy that has not arrived here. */
  "epoch",
  /** It would take a document past `LIMITS.documentHoldBytes`. */
  "quota",
] as const;

/** A code of {@link HOLDS}. */
export type Hold = (typeof HOLDS)[number];

/**
 * The verdict on one received batch. `accepted`: durable and applied. `duplicate`: already had it.
 * `held`: kept in memory until what it waits for arrives. `dropped`: would be held, but the hold
 * is full; anti-entropy brings it back. `refused`: never applied, never forwarded.
 */
export type ReceiveOutcome =
  | { readonly kind: "accepted" }
  | { readonly kind: "duplicate" }
  | { readonly kind: "held"; readonly reason: Hold }
  | { readonly kind: "dropped" }
  | { readonly kind: "refused"; readonly reason: Refusal; readonly detail: string };

/** Counters of the receive pipeline, by outcome. */
export interface ReceiveCounters {
  readonly received: number;
  readonly accepted: number;
  readonly duplicate: number;
  readonly dropped: number;
  /** Batches held right now. */
  readonly held: number;
  readonly refused: Readonly<Record<Refusal, number>>;
}
