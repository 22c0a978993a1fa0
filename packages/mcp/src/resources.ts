// SPDX-License-Identifier: Apache-2.0
/** Facts, and the graph, as resources: what there is, and what one holds. */
import type { VisibleFact } from "@ctxmesh/model";
import type { ContextClient } from "@ctxmesh/sdk";
// oxlint-disable-next-line import/extensions -- the export paths of the library end in .js
import { ErrorCode, McpError } from "@modelcontextprotocol/sdk/types.js";
import type {
  ListResourcesResult,
  ReadResourceResult,
  Resource,
} from "@modelcontextprotocol/sdk/types.js";
import type { MemoryGraph } from "./graph.ts";
import { pretty } from "./tool.ts";
import { factUri, parseFactUri } from "./uri.ts";

/** The graph of the reference memory server. */
export const GRAPH_URI = "memory://knowledge-graph";
const JSON_TYPE = "application/json";
/** Resources of one page. */
const PAGE = 500;
/** Facts that are listed as resources; any other one can be read by its URI. */
const MAX_LISTED = 10_000;
/** JSON-RPC error of the protocol for a resource that is not there. */
const RESOURCE_NOT_FOUND = -32_002;

const GRAPH: Resource = {
  uri: GRAPH_URI,
  name: "knowledge-graph",
  title: "Knowledge Graph",
  description: "The full knowledge graph with all entities and relations",
  mimeType: JSON_TYPE,
};

/** What a resource stands for. */
export type Target =
  | { readonly kind: "graph"; readonly doc: string }
  | { readonly kind: "fact"; readonly doc: string; readonly key: string };

/** The resources of one node. */
export class Resources {
  readonly #client: ContextClient;
  readonly #graph: MemoryGraph;
  readonly #document: string;
  #space: { readonly id: string; readonly name: string } | undefined;

  constructor(client: ContextClient, graph: MemoryGraph, document: string) {
    this.#client = client;
    this.#graph = graph;
    this.#document = document;
  }

  /** A page of what there is: the graph, and facts in the order of document and key. */
  async list(cursor: string | undefined): Promise<ListResourcesResult> {
    const space = (await this.#spaceOf()).id;
    const facts = await this.#client.list({ limit: MAX_LISTED });
    const from = cursor === undefined ? 0 : after(facts, cursor);
    const page = facts.slice(from, from + PAGE);
    const last = from + PAGE < facts.length ? page.at(-1) : undefined;
    return {
      resources: [
        ...(cursor === undefined ? [GRAPH] : []),
        ...page.map(({ doc, key }) => ({
          uri: factUri({ space, doc, key }),
          name: `${doc} ${key}`,
          mimeType: JSON_TYPE,
        })),
      ],
      ...(last === undefined ? {} : { nextCursor: JSON.stringify([last.doc, last.key]) }),
    };
  }

  /** What a resource holds. Rejects with an `McpError` for one that is not there. */
  async read(uri: string): Promise<ReadResourceResult> {
    const target = await this.target(uri);
    const value =
      target.kind === "graph"
        ? await this.#graph.read()
        : await this.#client.get(target.doc, target.key);
    if (value === undefined) throw missing(uri);
    return { contents: [{ uri, mimeType: JSON_TYPE, text: pretty(value) }] };
  }

  /** What a URI stands for; a fact need not be there yet. Rejects with an `McpError` for what can't be one of this space. */
  async target(uri: string): Promise<Target> {
    if (uri === GRAPH_URI) return { kind: "graph", doc: this.#document };
    const name = parseFactUri(uri);
    if (name === undefined) {
      throw new McpError(
        ErrorCode.InvalidParams,
        `Resource ${uri.slice(0, 200)} not found: URIs are ${GRAPH_URI} and ctx://SPACE/DOC/KEY, each part percent-encoded`,
      );
    }
    const space = await this.#spaceOf();
    if (name.space !== space.id && name.space !== space.name) throw missing(uri);
    return { kind: "fact", doc: name.doc, key: name.key };
  }

  async #spaceOf(): Promise<{ readonly id: string; readonly name: string }> {
    if (this.#space === undefined) {
      const { space, spaceName } = await this.#client.status();
      this.#space = { id: space, name: spaceName };
    }
    return this.#space;
  }
}

const missing = (uri: string): McpError =>
  new McpError(RESOURCE_NOT_FOUND, `Resource ${uri.slice(0, 200)} not found`);

/** Index of the first fact after the one that a cursor names, which may be gone. */
function after(facts: readonly VisibleFact[], cursor: string): number {
  let name: unknown;
  try {
    name = JSON.parse(cursor);
  } catch {
    name = undefined;
  }
  if (!Array.isArray(name) || typeof name[0] !== "string" || typeof name[1] !== "string") {
    throw new McpError(ErrorCode.InvalidParams, "the cursor is none that was given out here");
  }
  const [doc, key] = name as [string, string];
  const index = facts.findIndex((fact) => fact.doc > doc || (fact.doc === doc && fact.key > key));
  return index < 0 ? facts.length : index;
}
