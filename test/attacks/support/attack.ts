// SPDX-License-Identifier: Apache-2.0
/** What an attack is, and how to play one against a replica. */
import type { ReceiveCounters, ReceiveOutcome, Hold, Refusal } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { forge } from "./forge.ts";
import type { Forged, Forgery } from "./forge.ts";
import { mallory } from "./ground.ts";
import type { Ground } from "./ground.ts";

/** Attacks that are known to work on Yjs 13.6 (and on y-protocols 1.0) when its bytes are trusted. */
export const KNOWN_ATTACKS = [
  "V2 run-length bomb",
  "V1 count bomb 2^31",
  "GC struct of 2^52",
  "far-future clocks, 3,000 tiny updates",
  "forged clientID, same clock",
  "clock pre-emption of a victim",
  "delete-all by range",
  "200k delete ranges for an unknown client",
  "100k clients",
  "nested value depth 10k",
  "__proto__ key in map, value and root name",
  "awareness clock 2^50, 200k awareness states",
  "random mutation",
] as const;

/** One of {@link KNOWN_ATTACKS}. */
export type KnownAttack = (typeof KNOWN_ATTACKS)[number];

/** Known attacks without a case here, and why. */
export const OMITTED: Readonly<Partial<Record<KnownAttack, string>>> = {
  "awareness clock 2^50, 200k awareness states":
    "there is no awareness endpoint: presence is not part of the protocol",
  "random mutation": "scripts/fuzz mutates 200,000 inputs in test/fuzz.test.ts",
};

/** What becomes of a hostile batch: the outcome, and the code where it has one. */
export type Verdict = "accepted" | "duplicate" | "dropped" | `held ${Hold}` | `refused ${Refusal}`;

/** One attack. */
export interface Attack {
  readonly name: string;
  /** Which of the known attacks it is. */
  readonly known?: KnownAttack;
  /** Batches of the attacker that the replica has before, all accepted. */
  readonly before?: (ground: Ground) => readonly Uint8Array[];
  /** Membership acts that arrive before the attack. */
  readonly acts?: (ground: Ground) => readonly Uint8Array[];
  /** The hostile bytes, in order. */
  readonly build: (ground: Ground) => readonly Uint8Array[];
  /** What becomes of each of them, or how many come to what. */
  readonly verdict: Verdict | Readonly<Partial<Record<Verdict, number>>>;
  /** The attack proves that its own chain is forked from this seq on, and so voids that part of it. */
  readonly forksAt?: number;
}

/** A batch by {@link mallory} unless said otherwise, for the ground's space unless said otherwise. */
export const by = ({ space }: Ground, forgery: Partial<Forgery> = {}): Forged =>
  forge({ device: mallory, space: space.id, ...forgery });

/** The verdict that an outcome is. */
export function verdictOf(outcome: ReceiveOutcome): Verdict {
  switch (outcome.kind) {
    case "held":
      return `held ${outcome.reason}`;
    case "refused":
      return `refused ${outcome.reason}`;
    case "accepted":
    case "duplicate":
    case "dropped":
      return outcome.kind;
  }
}

/** How many batches come to which verdict. */
export function tally(verdicts: readonly Verdict[]): Readonly<Partial<Record<Verdict, number>>> {
  const counts: Partial<Record<Verdict, number>> = {};
  for (const verdict of verdicts) counts[verdict] = (counts[verdict] ?? 0) + 1;
  return counts;
}

/** What an attack of `count` batches has to come to. */
export const expectedOf = (
  { verdict }: Attack,
  count: number,
): Readonly<Partial<Record<Verdict, number>>> =>
  typeof verdict === "string" ? { [verdict]: count } : verdict;

/** Hands in all of `batches`, each of which must be accepted. */
export async function accept(replica: Replica, batches: readonly Uint8Array[]): Promise<void> {
  for (const bytes of batches) {
    const outcome = await replica.receive(bytes);
    if (outcome.kind !== "accepted") {
      throw new Error(`${verdictOf(outcome)}: ${"detail" in outcome ? outcome.detail : ""}`);
    }
  }
}

/** received - (accepted + duplicate + dropped + held + refused): 0 when every batch is accounted for. */
export const unaccounted = (counters: ReceiveCounters): number =>
  counters.received -
  (counters.accepted + counters.duplicate + counters.dropped + counters.held) -
  Object.values(counters.refused).reduce((sum, count) => sum + count, 0);
