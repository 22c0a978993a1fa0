// SPDX-License-Identifier: Apache-2.0
/** What the `facts` benchmark asks of an engine. */
import type { Row } from "../facts-trace.ts";

/** One document of an engine. */
export interface EngineDocument {
  /** Writes rows as one change of a writer (a small number) and returns what others need of it. */
  set(rows: readonly Row[], writer: number): Uint8Array;
  /** Merges what `set` of another document returned. */
  apply(update: Uint8Array, writer: number): void;
  /** The whole document. */
  encode(): Uint8Array;
  /**
   * A function that reads a key of rows that were written. With `contested` each has two candidates that
   * do not agree, where the engine knows of such.
   */
  reader(rows: readonly Row[], contested: boolean): Promise<(key: string) => unknown>;
  /** What this document has, for `diff`. */
  have(): unknown;
  /** What a document lacks that has `have`. */
  diff(have: unknown): Uint8Array;
  /** What peers exchange to learn that they are in sync. */
  check(): Uint8Array;
}

/** An engine. */
export interface Engine {
  /** A new document. */
  create(): EngineDocument;
  /** A document of what `encode` returned. */
  load(state: Uint8Array): EngineDocument;
}
