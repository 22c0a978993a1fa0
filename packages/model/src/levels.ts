// SPDX-License-Identifier: Apache-2.0
/** How sure a read is to be of knowing what others wrote, and writes that hold only if nothing has changed. */
import type { FactInput, VisibleFact, WriteReceipt } from "./facts.ts";
import type { CallOff } from "./history.ts";
import type { ListQuery } from "./service.ts";

/**
 * What a read must know of. `eventual`: what is here. `bounded`: everything that a hub had `maxStalenessMs` ago; in a space without hubs, that every
 * active member had. `strong`: everything that the log of record has once the read was asked for.
 */
export type Consistency = "eventual" | "bounded" | "strong";

/** How to read. */
export interface ReadLevel extends CallOff {
  /** Of a read of one key by default what its schema says, else `eventual`. */
  readonly consistency?: Consistency;
  /** With `bounded`, and only there: 1 to `LIMITS.stalenessMs`, in milliseconds. */
  readonly maxStalenessMs?: number;
  /** How long it may take to find out, in milliseconds: 1 to `LIMITS.askMs`, which is the default too. */
  readonly timeoutMs?: number;
}

/** Where an answer comes from. */
export interface ReadOrigin {
  /** This node's copy, or a hub, which was asked. */
  readonly from: "replica" | "hub";
  /** Everything that a hub had at this moment is in the answer, Unix milliseconds by this node's clock; absent when nothing shows how far it goes. */
  readonly asOf?: number;
}

/** The answer to reading a key; without a `fact` nothing is visible. */
export interface LeveledFact extends ReadOrigin {
  readonly fact?: VisibleFact;
}

/** The answer to listing facts. */
export interface LeveledFacts extends ReadOrigin {
  readonly facts: readonly VisibleFact[];
}

/** How a write with a condition is decided. */
export interface CompareOptions extends CallOff {
  /**
   * `eventual`, the default: at this node, which may not know of what others wrote. `strong`: at the hub, in the order of the log of record, so
   * that of all that expect the same version one is made at most.
   */
  readonly consistency?: "eventual" | "strong";
  /** With `strong`: how long to wait for the decision, in milliseconds: 1 to `LIMITS.askMs`, which is the default too. */
  readonly timeoutMs?: number;
}

/** What became of a write with a condition: it was made. */
export interface CompareReceipt extends WriteReceipt {
  /** Who decided; a `strong` write is the hub's statement, on behalf of this device. */
  readonly decidedBy: "replica" | "hub";
  /** The version of the key right after it, for the next one. */
  readonly version: string;
}

/** Reads and writes of a node by their level of consistency. */
export interface LevelService {
  /**
   * The answer to reading a key. Rejects with `INPUT_INVALID`; for `bounded` with `STALE` when it can't be shown in time that the answer is fresh enough; for
   * `strong` with `UNREACHABLE` when no hub answers, at once when none is connected, and with why the hub does not decide (`POLICY_REFUSED`,
   * `ENGINE_UNAVAILABLE`, `READ_BEHIND`); with `CLOSED`, and with the signal's reason.
   */
  read(doc: string, key: string, level?: ReadLevel): Promise<LeveledFact>;
  /** The answer to listing facts; `strong` is answered by this node, once it has what the hub has. Rejects as {@link read}. */
  readAll(query: ListQuery, level?: ReadLevel): Promise<LeveledFacts>;
  /**
   * Writes a fact if the key's version still is `expected`; null: if nothing is visible under it. Rejects with `VERSION_CONFLICT` when it is another one, which
   * is then in the message, and nothing is written; with `OUTCOME_UNKNOWN` when a hub was asked and did not say in time what
   * became of it; with `POLICY_REFUSED` at a hub, or without the right to write; else as a write, and as {@link read}.
   */
  compareAndSet(
    doc: string,
    fact: FactInput,
    expected: string | null,
    options?: CompareOptions,
  ): Promise<CompareReceipt>;
}
