// SPDX-License-Identifier: Apache-2.0
/** Tools over facts: get, put, search, history, explain; `decide` has a file of its own. */
import { LIMITS, hlcToMs, parseInstant } from "@ctxmesh/model";
import type { FactInput, FactSource, ListQuery, VisibleFact, WriteOptions } from "@ctxmesh/model";
import type { ContextClient, KeyCandidates } from "@ctxmesh/sdk";
import { describeCandidate, reachOf } from "./origin.ts";
import { openObject, strictObject, textSchema } from "./schema.ts";
import type { Schema } from "./schema.ts";
import { decideTool } from "./decide-tool.ts";
import { notFound, structuredAnswer } from "./tool.ts";
import type { Tool } from "./tool.ts";

/** What the tools are about. */
export interface FactToolsOptions {
  readonly client: ContextClient;
  /** Says in one sentence why a key shows what it shows. */
  readonly explain: (found: KeyCandidates) => string;
  /** Of facts whose writer names none. */
  readonly source: () => FactSource;
}

const DOC = textSchema("The document, such as line-2/press-7");
const KEY = textSchema("The key of the fact in its document, such as temperature");
const TEXTS: Schema = { type: "array", items: { type: "string" }, maxItems: LIMITS.tagsPerFact };

const READS: Tool["hints"] = { readOnly: true, destructive: false, idempotent: true };
const FACT: Schema = {
  type: "object",
  description: "The visible fact: value, writer, version, ageMs, contested, source, confidence",
};
/** Facts that are found at most, and unless the caller says otherwise. */
const MAX_FOUND = 1_000;
const DEFAULT_FOUND = 50;
/** Facts that are looked at in one search. */
const MAX_SEARCHED = 100_000;
/** Facts of one page of a search in one document. */
const PAGE = 2_000;
/** Facts of the only page of a search in all: the most that a node lists at once. */
const PAGE_OF_ALL = 10_000;

function getTool({ client }: FactToolsOptions): Tool {
  return {
    name: "get",
    title: "Get fact",
    description:
      "Read one fact: its value with age, source, confidence, and whether writers disagree on it (contested). With at: as it was at that moment.",
    inputSchema: strictObject(
      {
        doc: DOC,
        key: KEY,
        at: textSchema("A moment in the past: 2026-01-31T14:05:00Z or Unix milliseconds"),
      },
      ["doc", "key"],
    ),
    outputSchema: openObject({ found: { type: "boolean" }, fact: FACT }, ["found"]),
    hints: READS,
    async call(args, signal) {
      const { doc, key, at } = args as { doc: string; key: string; at?: string };
      const past = at === undefined ? {} : { at: parseInstant(at) };
      const fact = await client.get(doc, key, { signal, ...past });
      return structuredAnswer(fact === undefined ? { found: false } : { found: true, fact });
    },
  };
}

const PUT_PROPERTIES: Readonly<Record<string, Schema>> = {
  doc: DOC,
  key: KEY,
  value: { description: "Any JSON value, up to 64 KiB" },
  confidence: { type: "number", minimum: 0, maximum: 1, description: "How sure it is; default 1" },
  source: {
    ...strictObject(
      { model: { type: "string" }, version: { type: "string" }, instance: { type: "string" } },
      ["model"],
    ),
    description: "Where it comes from; default: the name and version of this client",
  },
  ttlMs: {
    type: "integer",
    minimum: 1,
    description: "It stops counting after so many milliseconds",
  },
  tags: TEXTS,
  basis: { ...TEXTS, description: "Ids of facts or decisions it came from" },
  targets: { ...TEXTS, description: "Models that it is for; default: all" },
  correlation: textSchema("A name that it shares with other facts of one piece of work"),
  traceparent: textSchema("The trace that it belongs to, as in W3C Trace Context"),
  ack: {
    type: "string",
    enum: ["local", "hub", "sealed"],
    description: "How far the write has to get before the answer; default local",
  },
  timeoutMs: {
    type: "integer",
    minimum: 1,
    maximum: LIMITS.ackTimeoutMs,
    description: "How long to wait for that",
  },
  priority: { type: "string", enum: ["high", "normal", "low"] },
};

function putTool({ client, source }: FactToolsOptions): Tool {
  return {
    name: "put",
    title: "Put fact",
    description:
      "State a fact. It is on the disk of this node when the tool answers, and goes to all others. What other writers said about the key is kept; see explain.",
    inputSchema: strictObject(PUT_PROPERTIES, ["doc", "key", "value"]),
    outputSchema: openObject({ acknowledged: { type: "string" }, token: { type: "string" } }, [
      "acknowledged",
    ]),
    hints: { readOnly: false, destructive: false, idempotent: true },
    async call(args) {
      const { doc, ack, timeoutMs, priority, ...fact } = args as unknown as {
        readonly doc: string;
      } & FactInput &
        WriteOptions;
      const how = {
        ...(ack === undefined ? {} : { ack }),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        ...(priority === undefined ? {} : { priority }),
      };
      return structuredAnswer({ ...(await client.put(doc, { source: source(), ...fact }, how)) });
    },
  };
}

/** Whether a text is in the key, or in the value as JSON, of a fact, in any case. */
const mentions = ({ key, value }: VisibleFact, text: string): boolean =>
  key.toLowerCase().includes(text) || JSON.stringify(value).toLowerCase().includes(text);

/** Facts that match, and whether all there are were looked at. */
async function search(
  client: ContextClient,
  query: Omit<ListQuery, "after" | "limit">,
  {
    text = "",
    limit,
    after,
    signal,
  }: { text?: string; limit: number; after?: string; signal: AbortSignal },
): Promise<{ readonly facts: readonly VisibleFact[]; readonly complete: boolean }> {
  const wanted = text.toLowerCase();
  const facts: VisibleFact[] = [];
  const limitOfPage = query.doc === undefined ? PAGE_OF_ALL : PAGE;
  let last = after;
  for (let seen = 0; seen < MAX_SEARCHED; seen += limitOfPage) {
    const page = await client.list({
      ...query,
      signal,
      limit: limitOfPage,
      ...(last === undefined ? {} : { after: last }),
    });
    for (const fact of page) {
      if (!mentions(fact, wanted)) continue;
      if (facts.length === limit) return { facts, complete: false };
      facts.push(fact);
    }
    if (page.length < limitOfPage) return { facts, complete: true };
    // Only the facts of one document have an order to go on in.
    if (query.doc === undefined) break;
    last = page.at(-1)?.key;
  }
  return { facts, complete: false };
}

function searchTool({ client }: FactToolsOptions): Tool {
  return {
    name: "search",
    title: "Search facts",
    description:
      "Find facts by text, document, key prefix or pattern, source and tag. complete is false when there is more: narrow the search, or go on with doc and after.",
    inputSchema: strictObject(
      {
        query: textSchema("A text in the key or the value, in any case"),
        doc: DOC,
        prefix: textSchema("Only keys that start with this"),
        pattern: textSchema("Only keys that match: * within a segment, ** across segments"),
        source: textSchema("Only keys with a statement of this model or sensor"),
        tag: textSchema("Only keys with a statement that has this tag"),
        after: textSchema("Only keys after this one; needs doc"),
        limit: { type: "integer", minimum: 1, maximum: MAX_FOUND, description: "Default 50" },
      },
      [],
    ),
    outputSchema: openObject(
      { facts: { type: "array", items: FACT }, complete: { type: "boolean" } },
      ["facts", "complete"],
    ),
    hints: READS,
    async call(args, signal) {
      const {
        query,
        limit = DEFAULT_FOUND,
        after,
        ...where
      } = args as {
        query?: string;
        limit?: number;
        after?: string;
      } & ListQuery;
      const how = {
        limit,
        signal,
        ...(query === undefined ? {} : { text: query }),
        ...(after === undefined ? {} : { after }),
      };
      return structuredAnswer(await search(client, where, how));
    },
  };
}

function historyTool({ client }: FactToolsOptions): Tool {
  return {
    name: "history",
    title: "History of a fact",
    description:
      "List what was said about a key, newest first: values, writers, sources, times, deletions and retractions, and the signed batch of each.",
    inputSchema: strictObject(
      {
        doc: DOC,
        key: KEY,
        limit: { type: "integer", minimum: 1, maximum: 1_000, description: "Default 20" },
        before: textSchema("Where the last page ended: its next"),
      },
      ["doc", "key"],
    ),
    outputSchema: openObject(
      { entries: { type: "array", items: { type: "object" } }, next: { type: "string" } },
      ["entries"],
    ),
    hints: READS,
    async call(args, signal) {
      const {
        doc,
        key,
        limit = 20,
        before,
      } = args as {
        doc: string;
        key: string;
        limit?: number;
        before?: string;
      };
      const page = before === undefined ? {} : { before };
      const history = await client.history(doc, key, { limit, signal, ...page });
      const entries = history.entries.map((entry) => ({
        ...entry,
        writtenAt: new Date(hlcToMs(entry.hlc)).toISOString(),
      }));
      return structuredAnswer({ ...history, entries });
    },
  };
}

function explainTool({ client, explain }: FactToolsOptions): Tool {
  return {
    name: "explain",
    title: "Explain fact",
    description:
      "Tell where a fact comes from: every writer's statement with source, age and confidence, which one is shown and why, and how far this node's own have got (hub, seal).",
    inputSchema: strictObject({ doc: DOC, key: KEY }, ["doc", "key"]),
    outputSchema: openObject(
      {
        explanation: { type: "string" },
        fact: FACT,
        candidates: { type: "array", items: { type: "object" } },
      },
      ["explanation", "candidates"],
    ),
    hints: READS,
    async call(args, signal) {
      const { doc, key } = args as { doc: string; key: string };
      const [found, status] = await Promise.all([
        client.candidates(doc, key, { signal }),
        client.status({ signal }),
      ]);
      if (found.candidates.length === 0) throw notFound(doc, key);
      const nowMs = Date.now();
      const reach = reachOf(status);
      return structuredAnswer({
        explanation: explain(found),
        ...(found.fact === undefined ? {} : { fact: found.fact }),
        candidates: found.candidates.map((one) => describeCandidate(one, { nowMs, reach })),
        space: status.space,
        node: status.device,
      });
    },
  };
}

/** The tools over the facts of a node. */
export const factTools = (options: FactToolsOptions): readonly Tool[] => [
  getTool(options),
  putTool(options),
  searchTool(options),
  historyTool(options),
  explainTool(options),
  decideTool(options),
];
