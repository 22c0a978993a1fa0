// SPDX-License-Identifier: Apache-2.0
/**
 * Writing the documents of one checkpoint while everything else goes on. It has each document as it was at its
 * position: one that is about to change, and was not written yet, is encoded before.
 */
import { LIMITS } from "@ctxmesh/model";
import type { DocumentName, StoreChange } from "@ctxmesh/model";
import type { Checkpoint, DocumentState } from "./checkpoint-format.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { Documents } from "./documents.ts";

const sizeOf = ({ facts, rich }: DocumentState): number =>
  (facts?.length ?? 0) + (rich?.length ?? 0);

/** The documents of a checkpoint that is under way. */
export class CheckpointRun {
  readonly #checkpoint: Checkpoint;
  readonly #documents: Documents;
  /** Changed since they were last written, and not encoded yet. */
  readonly #pending: Set<DocumentName>;
  /** Encoded, since something was about to change them; not written yet. */
  readonly #saved = new Map<DocumentName, DocumentState>();
  readonly #positions: Map<DocumentName, number>;
  /** It can't come to an end any more, since what it is made of is not true any more. */
  aborted = false;

  /** `checkpoint` is complete but for the `dirty` ones of `documents`. */
  constructor(checkpoint: Checkpoint, documents: Documents, dirty: Set<DocumentName>) {
    this.#checkpoint = checkpoint;
    this.#documents = documents;
    this.#pending = dirty;
    this.#positions = new Map(checkpoint.documents);
  }

  /** To be called before a document is changed. */
  save(doc: DocumentName): void {
    if (!this.#pending.delete(doc)) return;
    const state = this.#encode(doc);
    if (state !== undefined) this.#saved.set(doc, state);
  }

  /** Undefined when its engine has failed, which ends this checkpoint. */
  #encode(doc: DocumentName): DocumentState | undefined {
    try {
      return this.#documents.encode(doc);
    } catch (error) {
      if (!this.#documents.isLost(doc)) throw error;
      this.aborted = true;
      return undefined;
    }
  }

  #take(): readonly [DocumentName, DocumentState] | undefined {
    const [saved] = this.#saved;
    if (saved !== undefined) {
      this.#saved.delete(saved[0]);
      return saved;
    }
    const [doc] = this.#pending;
    if (doc === undefined) return undefined;
    this.#pending.delete(doc);
    const state = this.#encode(doc);
    return state === undefined ? undefined : [doc, state];
  }

  /** The next documents, some `LIMITS.checkpointChunkBytes` of them; none when all are written. */
  next(checkpoints: Checkpoints): readonly StoreChange[] {
    const { position } = this.#checkpoint;
    const changes: StoreChange[] = [];
    for (let bytes = 0; bytes < LIMITS.checkpointChunkBytes;) {
      const taken = this.#take();
      if (taken === undefined) break;
      const [doc, state] = taken;
      bytes += sizeOf(state);
      changes.push(checkpoints.store(doc, position, state));
      this.#positions.set(doc, position);
    }
    return changes;
  }

  /** The checkpoint, once all documents are written. */
  finish(): Checkpoint {
    return { ...this.#checkpoint, documents: this.#positions };
  }
}
