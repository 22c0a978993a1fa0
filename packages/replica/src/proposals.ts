// SPDX-License-Identifier: Apache-2.0
import type { Clock, DeviceKey, DocumentName, FactInput } from "@ctxmesh/model";
import { assertMayPropose, decodeProposed, proposalOf } from "./compare.ts";
import type { Proposal, Proposer } from "./compare.ts";
import type { Committer } from "./committer.ts";
import type { Decided } from "./comparisons.ts";
import type { PreparedWrite } from "./local-batch.ts";

/** What proposals are decided with. */
export interface ProposalsOptions {
  readonly device: DeviceKey;
  readonly clock: Clock;
  readonly committer: Committer;
  /** Validates a put. */
  readonly prepare: (doc: DocumentName, facts: readonly FactInput[]) => PreparedWrite;
  /** Throws unless a local write may be made. */
  readonly assertRoom: (write: PreparedWrite) => void;
}

/** Writes of a replica that are made only if a key's version is the one that is expected. */
export class Proposals {
  /** Whose writes they are. */
  readonly device: DeviceKey;
  readonly #options: ProposalsOptions;

  constructor(options: ProposalsOptions) {
    this.device = options.device;
    this.#options = options;
  }

  /** Validates one; null: nothing is visible under the key. Throws as `Replica.put`. */
  prepare(doc: DocumentName, fact: FactInput, expected: string | null): Proposal {
    return proposalOf(this.#options.prepare(doc, [fact]), expected);
  }

  /**
   * Makes one. Rejects with `VERSION_CONFLICT`, with `ENGINE_FENCED` when a shared log has something about the key that is not here yet, with `ABORTED` past its
   * time, with `OUTCOME_UNKNOWN` when the key can't be read for now, after it was made, and else as `Replica.put`.
   */
  async make(proposal: Proposal): Promise<Decided> {
    this.#options.assertRoom(proposal.write);
    return this.#options.committer.comparisons.add(proposal);
  }

  /** As {@link make}, on behalf of another member; `bytes` are those of `encodeProposed`. Throws also `FORMAT_INVALID`. */
  async makeFor(
    proposer: Proposer,
    doc: DocumentName,
    bytes: Uint8Array,
    condition: { readonly expected: string | null; readonly dueMs: number },
  ): Promise<Decided> {
    const { clock, committer } = this.#options;
    assertMayPropose(committer.inEffect.space, proposer.device, clock.now());
    const proposal = decodeProposed(bytes, doc, condition.expected, proposer);
    return this.make({ ...proposal, dueMs: condition.dueMs });
  }
}
