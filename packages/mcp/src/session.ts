// SPDX-License-Identifier: Apache-2.0
/** One conversation with one client, over any transport: requests come in here, tools and resources answer. */
import { toMeshError } from "@ctxmesh/model";
import type { FactSource, Logger } from "@ctxmesh/model";
import type { ContextClient, KeyCandidates } from "@ctxmesh/sdk";
import { Server } from "@modelcontextprotocol/sdk/server";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
// oxlint-disable-next-line import/extensions -- the export paths of the library end in .js
import {
  CallToolRequestSchema,
  ErrorCode,
  ListResourceTemplatesRequestSchema,
  ListResourcesRequestSchema,
  ListToolsRequestSchema,
  McpError,
  ReadResourceRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { factTools } from "./fact-tools.ts";
import { MemoryGraph } from "./graph.ts";
import { memoryTools } from "./memory-tools.ts";
import { Resources } from "./resources.ts";
import { Subscriptions } from "./subscriptions.ts";
import { callTool, describeTool } from "./tool.ts";
import type { Tool } from "./tool.ts";
import { FACT_TEMPLATE } from "./uri.ts";

/** What a server is about. */
export interface McpOptions {
  /** The node. */
  readonly client: ContextClient;
  /** The document of the knowledge graph. */
  readonly document: string;
  /** Of the program. */
  readonly version: string;
  /** Says in one sentence why a key shows what it shows. */
  readonly explain: (found: KeyCandidates) => string;
  /** Must not write to stdout, where over stdio only the protocol goes. */
  readonly logger: Logger;
}

/** A conversation under way. */
export interface Session {
  /** Resolves when either end has closed it and what it watched is let go. */
  readonly closed: Promise<void>;
  close(): Promise<void>;
}

const INSTRUCTIONS =
  "Facts and a knowledge graph of a mesh: whatever is written here reaches all other nodes, and all of them keep who said what. " +
  "Use create_entities, add_observations and search_nodes for memory, and get, put and search for facts; explain tells where a fact comes from, and decide records what you concluded from which facts.";
/** As much of a client's name as a fact's source may hold (`LIMITS.tagBytes`), in UTF-16 units of up to three bytes. */
const NAME_LENGTH = 40;

/** A text of a client's as part of a source; undefined when nothing is left of it. */
function sourceText(text: string | undefined): string | undefined {
  const short = (text ?? "").slice(0, NAME_LENGTH).toWellFormed();
  return short === "" ? undefined : short;
}

/** In whose name facts are written unless they say otherwise: what the client said about itself. */
function sourceOf(server: Server): FactSource {
  const { name, version } = server.getClientVersion() ?? {};
  const said = sourceText(version);
  return { model: sourceText(name) ?? "mcp", ...(said === undefined ? {} : { version: said }) };
}

/** Errors of a request that is no tool call are those of JSON-RPC. */
function protocolError(error: unknown): McpError {
  if (error instanceof McpError) return error;
  const { code, message, remedy } = toMeshError(error);
  const wrong = code === "INPUT_INVALID" || code === "LIMIT_EXCEEDED";
  const text = `${code}: ${message}${remedy === undefined ? "" : `; ${remedy}`}`;
  return new McpError(wrong ? ErrorCode.InvalidParams : ErrorCode.InternalError, text);
}

async function answering<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw protocolError(error);
  }
}

function installTools(server: Server, tools: readonly Tool[]): void {
  const byName = new Map(tools.map((tool) => [tool.name, tool]));
  const listed = tools.map(describeTool);
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: listed }));
  server.setRequestHandler(CallToolRequestSchema, ({ params }, { signal }) =>
    callTool(byName, params.name, params.arguments, signal),
  );
}

function installResources(
  server: Server,
  resources: Resources,
  subscriptions: Subscriptions,
): void {
  server.setRequestHandler(ListResourcesRequestSchema, ({ params }) =>
    answering(async () => resources.list(params?.cursor)),
  );
  server.setRequestHandler(ListResourceTemplatesRequestSchema, () => ({
    resourceTemplates: [
      {
        uriTemplate: FACT_TEMPLATE,
        name: "fact",
        title: "Fact",
        description: "The visible fact of a key: space by id or name, document, key",
        mimeType: "application/json",
      },
    ],
  }));
  server.setRequestHandler(ReadResourceRequestSchema, ({ params }) =>
    answering(async () => resources.read(params.uri)),
  );
  server.setRequestHandler(SubscribeRequestSchema, ({ params }) =>
    answering(async () => {
      await subscriptions.add(params.uri, await resources.target(params.uri));
      return {};
    }),
  );
  server.setRequestHandler(UnsubscribeRequestSchema, ({ params }) => {
    subscriptions.remove(params.uri);
    return {};
  });
}

/** Begins a conversation over a transport that is not started yet. */
export async function startSession(options: McpOptions, transport: Transport): Promise<Session> {
  const { client, document, version, explain, logger } = options;
  const server = new Server(
    { name: "ctxmesh", version },
    { capabilities: { tools: {}, resources: { subscribe: true } }, instructions: INSTRUCTIONS },
  );
  const source = (): FactSource => sourceOf(server);
  const graph = new MemoryGraph({ client, document, source });
  const notify = async (uri: string): Promise<void> => server.sendResourceUpdated({ uri });
  const subscriptions = new Subscriptions({ client, logger, notify });
  installTools(server, [...memoryTools(graph), ...factTools({ client, explain, source })]);
  installResources(server, new Resources(client, graph, document), subscriptions);
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  // oxlint-disable-next-line unicorn/prefer-add-event-listener -- the library has no listeners
  server.onclose = () => {
    void subscriptions.close().finally(resolve);
  };
  // A line that is no message, and the like: the conversation goes on.
  // oxlint-disable-next-line unicorn/prefer-add-event-listener -- as above
  server.onerror = ({ message }) => {
    logger.warn("mcp.message-refused", { message: message.slice(0, 500) });
  };
  await server.connect(transport);
  return {
    closed,
    async close() {
      await server.close();
      await closed;
    },
  };
}
