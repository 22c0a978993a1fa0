// SPDX-License-Identifier: Apache-2.0
/** What a node offers of documents as a whole: changes of several facts as one unit, which documents there are, and their rich content. */
import type { FactInput, WriteOptions, WriteReceipt } from "./facts.ts";
import type { JsonValue } from "./json.ts";

/** Which documents. */
export interface DocumentQuery {
  /** Those whose names begin so; all when absent. */
  readonly prefix?: string;
  /** Those after this name. */
  readonly after?: string;
  /** At most this many, 1 to 10,000; default 1,000. */
  readonly limit?: number;
}

/** A document of which something is here. */
export interface DocumentSummary {
  readonly doc: string;
  /** About the size of its facts and rich content, as they are encoded. */
  readonly bytes: number;
}

/** One root of a document's rich content. */
export interface RootContent {
  readonly root: string;
  readonly type: "text" | "list" | "map" | "xml";
  /**
   * A text: its runs, `{insert, attributes?}` as in the Quill Delta format. A list: an array. A map: an object. XML, which Yjs clients edit: its nodes,
   * each an element, `{name, attributes, children}`, or a text, which is its runs.
   */
  readonly value: JsonValue;
}

/**
 * One step through a text, from its beginning to its end, as in the Quill Delta format (https://quilljs.com/docs/delta): pass over so many UTF-16
 * units, with `attributes` format them (null takes one away); delete so many; or insert a text or an embedded object.
 */
export type TextStep =
  | { readonly retain: number; readonly attributes?: Readonly<Record<string, JsonValue>> }
  | { readonly delete: number }
  | {
      readonly insert: string | Readonly<Record<string, JsonValue>>;
      readonly attributes?: Readonly<Record<string, JsonValue>>;
    };

/** An edit of one root, which is made on first use. Those of one call see what the ones before them did. */
export type RootEdit =
  | { readonly text: string; readonly delta: readonly TextStep[] }
  | {
      readonly list: string;
      /** First so many entries are deleted there, then the values inserted. */
      readonly at: number;
      readonly delete?: number;
      readonly insert?: readonly JsonValue[];
    }
  | {
      readonly map: string;
      readonly set?: Readonly<Record<string, JsonValue>>;
      readonly delete?: readonly string[];
    };

/** Facts that are written, and keys whose own statements are deleted, as one unit: one signed batch, which is everywhere as a whole. */
export interface FactChanges {
  readonly put?: readonly FactInput[];
  readonly delete?: readonly string[];
}

/** Documents as a whole. Rejects as `ContextService` does. */
export interface DocumentService {
  /** Writes and deletes in one document as one unit; a key is in one of both. Else as `ContextService.put`. */
  change(doc: string, changes: FactChanges, options?: WriteOptions): Promise<WriteReceipt>;
  /** The documents of which something is here, by name. Throws `INPUT_INVALID`. */
  documents(query?: DocumentQuery): readonly DocumentSummary[];
  /** The rich content of a document; empty when there is none. Throws `INPUT_INVALID`. */
  content(doc: string): readonly RootContent[];
  /**
   * Edits rich content as one unit; what of it others write at the same time stays. Positions are those of the moment in which it is made. Needs the role
   * `write`. Rejects with `INPUT_INVALID` for a position outside; else as `ContextService.put`.
   */
  edit(
    doc: string,
    edits: readonly RootEdit[],
    options?: Omit<WriteOptions, "priority">,
  ): Promise<WriteReceipt>;
}
