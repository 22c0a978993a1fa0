// SPDX-License-Identifier: Apache-2.0
/** Documents as a whole: changes as one unit, which there are, and their rich content. */
import { LIMITS } from "@ctxmesh/model";
import type {
  DocumentQuery,
  DocumentSummary,
  FactChanges,
  RootContent,
  RootEdit,
  WriteOptions,
  WriteReceipt,
} from "@ctxmesh/model";
import type { CallControl, JsonCaller, PutOptions } from "./client.ts";

/** How to edit rich content, whose priority is always normal. */
export interface EditOptions extends Omit<WriteOptions, "priority">, CallControl {}

/** The calls about documents. */
export interface DocumentCalls {
  /** Writes facts and deletes this node's own statements about other keys as one unit: one signed batch. `options` as in `put`. */
  change(doc: string, changes: FactChanges, options?: PutOptions): Promise<WriteReceipt>;
  /** The documents of which something is at the node, by name. */
  documents(query?: DocumentQuery, options?: CallControl): Promise<readonly DocumentSummary[]>;
  /** The rich content of a document as plain JSON; empty when there is none. */
  content(doc: string, options?: CallControl): Promise<readonly RootContent[]>;
  /** Edits rich content as one unit; what of it others write at the same time stays. Needs the role `write`. */
  edit(doc: string, edits: readonly RootEdit[], options?: EditOptions): Promise<WriteReceipt>;
}

/** The calls of a client about documents. */
export function createDocuments(json: JsonCaller, timeoutMs: number): DocumentCalls {
  const write = async (path: string, body: object, how: PutOptions): Promise<WriteReceipt> => {
    const { idempotencyKey, signal, ...options } = how;
    const { ack = "local", timeoutMs: ackMs = LIMITS.ackDefaultMs } = options;
    return json("POST", path, {
      body: { ...body, ...options },
      // The node gives up first, since it knows how far the write has got.
      timeoutMs: timeoutMs + (ack === "local" ? 0 : ackMs),
      idempotencyKey,
      signal,
    });
  };
  return {
    change: async (doc, changes, how = {}) => write("/v1/batch", { doc, ...changes }, how),
    async documents(query = {}, { signal } = {}) {
      type Answer = { readonly documents: readonly DocumentSummary[] };
      return (await json<Answer>("GET", "/v1/documents", { query: { ...query }, signal }))
        .documents;
    },
    async content(doc, { signal } = {}) {
      type Answer = { readonly content: readonly RootContent[] };
      return (await json<Answer>("GET", "/v1/content", { query: { doc }, signal })).content;
    },
    edit: async (doc, edits, how = {}) => write("/v1/edits", { doc, edits }, how),
  };
}
