// SPDX-License-Identifier: Apache-2.0
/** Reads of facts, now and in the past. */
import { MeshError } from "@ctxmesh/model";
import type { HistoryQuery, KeyHistory, ListQuery, VisibleFact } from "@ctxmesh/model";
import type { ContextClient, JsonCaller } from "./client.ts";
import type { LevelOptions } from "./levels.ts";

/** How to read. */
export interface ReadOptions extends LevelOptions {
  /** As of this moment, Unix milliseconds; now when absent. */
  readonly at?: number;
  /** The `token` of a write, made on any node: the answer comes once it is there. `READ_BEHIND` when that takes longer than 10 s. */
  readonly covers?: string;
  readonly signal?: AbortSignal;
}

/** Which facts to list; with `at`, those of one document (`doc`). */
export interface ListOptions extends ListQuery, ReadOptions {}

/** Which page of a key's history. */
export interface HistoryOptions extends HistoryQuery, Pick<ReadOptions, "signal"> {}

/** The past is read from the node's whole log, some 10 s for a million batches, and others may be before us. */
const PAST_TIMEOUT_MS = 300_000;

function absent(error: unknown): undefined {
  if (error instanceof MeshError && error.code === "NOT_FOUND") return undefined;
  throw error;
}

/** The reads of a client. */
export function createReads(json: JsonCaller): Pick<ContextClient, "get" | "list" | "history"> {
  const read = <Answer>(
    path: string,
    query: Readonly<Record<string, string | number | undefined>>,
    { signal, past }: { readonly signal: AbortSignal | undefined; readonly past: boolean },
  ): Promise<Answer> =>
    json("GET", path, { query, signal, ...(past ? { timeoutMs: PAST_TIMEOUT_MS } : {}) });
  return {
    get: (doc, key, { signal, ...query } = {}) =>
      read<VisibleFact>(
        "/v1/fact",
        { doc, key, ...query },
        { signal, past: query.at !== undefined },
      ).catch(absent),
    async list({ signal, ...query } = {}) {
      const how = { signal, past: query.at !== undefined };
      return (await read<{ facts: readonly VisibleFact[] }>("/v1/facts", { ...query }, how)).facts;
    },
    history: (doc, key, { signal, ...query } = {}) =>
      read<KeyHistory>("/v1/history", { doc, key, ...query }, { signal, past: true }),
  };
}
