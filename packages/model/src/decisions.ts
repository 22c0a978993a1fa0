// SPDX-License-Identifier: Apache-2.0
/** Decisions of models as a node records them: what was read, checked and concluded, signed by the device. */
import type { FactSource, WriteOptions, WriteReceipt } from "./facts.ts";
import type { JsonValue } from "./json.ts";

/** One check that was made on the way to a decision. */
export interface DecisionCheck {
  readonly name: string;
  readonly passed: boolean;
  readonly detail?: string;
}

/** A decision as a caller states it. */
export interface DecisionRequest {
  /** Who decided. */
  readonly model: FactSource;
  /** The facts that were read: the node looks them up, and records version, age and hash of what it knows of each. */
  readonly inputs: readonly { readonly doc: string; readonly key: string }[];
  readonly checks: readonly DecisionCheck[];
  /** What was concluded. */
  readonly output: JsonValue;
}

/** The answer to a decision, or to what became of one. */
export interface DecisionReceipt {
  /** 64 hex digits: SHA-256 over what was signed. */
  readonly id: string;
  /** Position among the decisions and outcomes of this device, from 1. */
  readonly counter: number;
  /** Where it is kept: a fact `decision/<id>` of this document. */
  readonly doc: string;
  readonly key: string;
  /** Text of the signed DSSE envelope. */
  readonly envelope: string;
  readonly write: WriteReceipt;
}

/** How a decision is recorded: with a name of the caller's choice it is recorded once, and answered alike, as of `WriteOptions`. */
export type DecisionOptions = Pick<WriteOptions, "idempotencyKey">;

/**
 * What an agent offers for decisions. Both resolve once the decision is durable here, and reject with `INPUT_INVALID`,
 * `FORMAT_INVALID` or `LIMIT_EXCEEDED` for what can't be recorded, and as a write does.
 */
export interface DecisionService {
  /** Signs and keeps a decision. */
  decide(request: DecisionRequest, options?: DecisionOptions): Promise<DecisionReceipt>;
  /** Signs and keeps what became of a decision (its id), of this device or another. */
  recordOutcome(
    of: string,
    outcome: JsonValue,
    options?: DecisionOptions,
  ): Promise<DecisionReceipt>;
}
