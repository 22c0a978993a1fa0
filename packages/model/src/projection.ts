// SPDX-License-Identifier: Apache-2.0
/**
 * A document as a stock Yjs client sees it: one `Y.Doc` whose root map `facts` mirrors the visible values and whose other roots are the rich
 * content. All bytes are updates and state vectors of Yjs V1.
 */
import type { FactSource } from "./facts.ts";
import type { DocumentName } from "./ids.ts";

/** Whose page says that it has a client id of Yjs: one of the writer's, another's, or none that is there while the writer's has said another. */
export type ClientHolder = "own" | "others" | "none";

/** For whom a write is made. */
export interface ProjectionWriter {
  /** What the facts name as their source. */
  readonly source: FactSource;
  /** Whose page has a client id of Yjs now, as pages say; undefined where nobody knows. */
  readonly whose?: (client: number) => ClientHolder | undefined;
}

/** A document that somebody has open. */
export interface Projection {
  /** The state vector of all that is shown. */
  stateVector(): Uint8Array;
  /** What a client with that state vector lacks; everything, when it is left out. Throws `FORMAT_INVALID`. */
  diff(stateVector?: Uint8Array): Uint8Array;
  /**
   * Takes in what a client made: content becomes a batch of this hub, entries of `facts` become facts. Resolves once it is durable; what was known already is no fault. One write after the other.
   * Rejects with what is wrong with it, and then nothing of it has happened; with `WRITE_BEHIND` when it builds on what this node has yet to get, or has what somebody else's page made and this node has not, so that the
   * client should connect again, and say again what is not here, after a moment.
   */
  write(update: Uint8Array, writer: ProjectionWriter): Promise<void>;
  /** Whether an update holds nothing that is not shown already, so that who may only read can send it. Throws `FORMAT_INVALID`, `LIMIT_EXCEEDED`. */
  holds(update: Uint8Array): boolean;
  /** Calls back with each change of what is shown, whoever made it, until the returned function is called. */
  onUpdate(listener: (update: Uint8Array) => void): () => void;
  /** The user of this object is done with it. Idempotent. */
  close(): void;
}

/** Where projections come from. What nobody has open is kept for a while, under a cap in bytes. */
export interface Projections {
  /** Opens a document; one that is not there yet is empty. Rejects with `LIMIT_EXCEEDED`, `INPUT_INVALID`, `CLOSED`. */
  open(document: DocumentName): Promise<Projection>;
}
