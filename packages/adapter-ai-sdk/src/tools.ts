// SPDX-License-Identifier: Apache-2.0
/** Tools by which a model reads and writes facts. */
import { formatInstant, hlcToMs } from "@ctxmesh/model";
import type { FactInput, FactSource, HistoryEntry, JsonValue, VisibleFact } from "@ctxmesh/model";
import type { ContextClient } from "@ctxmesh/sdk";
import { jsonSchema, tool } from "ai";
import type { Tool } from "ai";

/** What the tools work on. */
export interface ToolOptions {
  /** A client of a node, or a replica in a page. */
  readonly client: Pick<ContextClient, "get" | "put" | "list" | "history">;
  /** Named as the source of what the model writes: which model it is. */
  readonly source?: FactSource;
}

/** What names a fact. */
interface FactName {
  readonly doc: string;
  readonly key: string;
}

interface SearchInput {
  readonly doc?: string;
  readonly prefix?: string;
  readonly pattern?: string;
  readonly source?: string;
  readonly tag?: string;
  readonly limit?: number;
}

interface PutInput extends FactName {
  readonly value: JsonValue;
  readonly confidence?: number;
  readonly ttlMs?: number;
}

/** A fact as a model is told of it: without the hashes and clocks that only machines compare. */
export interface ToldFact extends FactName {
  readonly value: JsonValue;
  readonly ageMs: number;
  /** Others say something else. */
  readonly contested: boolean;
  readonly confidence?: number;
  readonly source?: FactSource;
}

/** What was said of a key, and by whom. */
export interface ToldEntry {
  readonly writer: string;
  /** What it did: said what the value is, that there is none any more, or that another's statements do not count. */
  readonly did: "stated" | "deleted" | "retracted";
  /** Whether it counts: what a revoked or forked device said does not. */
  readonly counts: boolean;
  readonly value?: JsonValue;
  readonly confidence?: number;
  readonly source?: FactSource;
  /** RFC 3339. */
  readonly at: string;
}

/** The tool set. */
export interface ContextTools {
  readonly getFact: Tool<FactName, { readonly fact: ToldFact | null }>;
  readonly putFact: Tool<PutInput, { readonly written: number }>;
  readonly searchFacts: Tool<SearchInput, { readonly facts: ToldFact[] }>;
  readonly factHistory: Tool<
    FactName & { readonly limit?: number },
    { readonly entries: ToldEntry[] }
  >;
}

type Properties = Readonly<Record<string, object>>;

const NAME: Properties = {
  doc: { type: "string", description: "The document, such as line-2/press-7." },
  key: { type: "string", description: "The key of the fact in its document." },
};

/** A schema of an object (JSON Schema, draft 7). The node is who checks what is asked; this is what the model is told. */
const inputOf = <Input>(
  properties: Properties,
  required: string[],
): ReturnType<typeof jsonSchema<Input>> =>
  jsonSchema<Input>({ type: "object", properties, required, additionalProperties: false });

const told = ({
  doc,
  key,
  value,
  ageMs,
  contested,
  confidence,
  source,
}: VisibleFact): ToldFact => ({
  doc,
  key,
  value,
  ageMs,
  contested,
  ...(confidence === undefined ? {} : { confidence }),
  ...(source === undefined ? {} : { source }),
});

const LIMIT = { type: "integer", minimum: 1, maximum: 1_000 };
const SEARCH_LIMIT = 50;
const HISTORY_LIMIT = 20;

/**
 * Tools to be given to `generateText` or `streamText`: `getFact`, `putFact`, `searchFacts`, `factHistory`. What the node refuses is thrown as the client throws it,
 * and the library tells the model. A call that the library calls off is called off at the node.
 */
export const contextTools = (options: ToolOptions): ContextTools => ({
  ...factTools(options),
  ...findingTools(options),
});

/** One fact. */
const factTools = ({ client, source }: ToolOptions): Pick<ContextTools, "getFact" | "putFact"> => ({
  getFact: tool({
    description: "Read one fact of the shared context. `fact` is null when nothing is known.",
    inputSchema: inputOf<FactName>(NAME, ["doc", "key"]),
    execute: async ({ doc, key }, { abortSignal }) => {
      const fact = await client.get(doc, key, signalOf(abortSignal));
      return { fact: fact === undefined ? null : told(fact) };
    },
  }),
  putFact: tool({
    description: "State a fact in the shared context, for all models that share it.",
    inputSchema: inputOf<PutInput>(
      {
        ...NAME,
        value: { description: "Any JSON value." },
        confidence: { type: "number", minimum: 0, maximum: 1, description: "How sure you are." },
        ttlMs: {
          type: "integer",
          minimum: 1,
          description: "It stops counting after so many milliseconds.",
        },
      },
      ["doc", "key", "value"],
    ),
    execute: async ({ doc, ...fact }, { abortSignal }) => {
      const input: FactInput = { ...fact, ...(source === undefined ? {} : { source }) };
      return { written: (await client.put(doc, input, signalOf(abortSignal))).facts };
    },
  }),
});

/** Many facts, and the past of one. */
const findingTools = ({
  client,
}: ToolOptions): Pick<ContextTools, "factHistory" | "searchFacts"> => ({
  searchFacts: tool({
    description: "Find facts of the shared context by document, key, source or tag.",
    inputSchema: inputOf<SearchInput>(
      {
        doc: { type: "string", description: "Only this document." },
        prefix: { type: "string", description: "Only keys that start with this." },
        pattern: {
          type: "string",
          description:
            "Only keys that match: * within a segment between slashes, ** across segments.",
        },
        source: { type: "string", description: "Only what this model or sensor stated." },
        tag: { type: "string", description: "Only what has this tag." },
        limit: LIMIT,
      },
      [],
    ),
    execute: async ({ limit = SEARCH_LIMIT, ...query }, { abortSignal }) => ({
      facts: (await client.list({ ...query, limit, ...signalOf(abortSignal) })).map(told),
    }),
  }),
  factHistory: tool({
    description: "What was said about a fact, and by whom, newest first.",
    inputSchema: inputOf<FactName & { readonly limit?: number }>({ ...NAME, limit: LIMIT }, [
      "doc",
      "key",
    ]),
    execute: async ({ doc, key, limit = HISTORY_LIMIT }, { abortSignal }) => {
      const { entries } = await client.history(doc, key, { limit, ...signalOf(abortSignal) });
      return { entries: entries.map(entryOf) };
    },
  }),
});

const signalOf = (signal: AbortSignal | undefined): { readonly signal?: AbortSignal } =>
  signal === undefined ? {} : { signal };

function entryOf(entry: HistoryEntry): ToldEntry {
  const { writer, counts, hlc } = entry;
  const said = { writer, counts, at: formatInstant(hlcToMs(hlc)) };
  if (entry.kind === "retraction") return { ...said, did: "retracted" };
  const { value, confidence, source } = entry;
  return {
    ...said,
    did: value === undefined ? "deleted" : "stated",
    ...(value === undefined ? {} : { value }),
    ...(confidence === undefined ? {} : { confidence }),
    ...(source === undefined ? {} : { source }),
  };
}
