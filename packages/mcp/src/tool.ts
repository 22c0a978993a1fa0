// SPDX-License-Identifier: Apache-2.0
/** What a tool is, and what becomes of a call. */
import { MeshError, toMeshError } from "@ctxmesh/model";
import type { CallToolResult, Tool as ToolDescription } from "@modelcontextprotocol/sdk/types.js";
import { UnknownEntityError } from "./graph.ts";
import { problemsOf } from "./schema.ts";
import type { ObjectSchema } from "./schema.ts";

/** Arguments that are as the tool's schema says. */
export type Arguments = Readonly<Record<string, unknown>>;

/** What a tool answers. */
export interface Answer {
  /** For models: JSON, or a sentence. */
  readonly text: string;
  readonly structured: { readonly [name: string]: unknown };
}

/** One tool. */
export interface Tool {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly inputSchema: ObjectSchema;
  readonly outputSchema: ObjectSchema;
  /** Changes nothing; deletes something; does no more when called again. */
  readonly hints: {
    readonly readOnly: boolean;
    readonly destructive: boolean;
    readonly idempotent: boolean;
  };
  /** Rejects with what the caller is told. */
  call(args: Arguments, signal: AbortSignal): Promise<Answer>;
}

/** JSON for models to read. */
export const pretty = (value: unknown): string => JSON.stringify(value, null, 2);

/** An answer whose text is its structure. */
export const structuredAnswer = (structured: Answer["structured"]): Answer => ({
  text: pretty(structured),
  structured,
});

/** A tool as `tools/list` names it. */
export function describeTool(tool: Tool): ToolDescription {
  const { name, title, description, inputSchema, outputSchema, hints } = tool;
  return {
    name,
    title,
    description,
    // Plain JSON, which the types of the library describe more narrowly than the protocol does.
    inputSchema: inputSchema as ToolDescription["inputSchema"],
    outputSchema: outputSchema as NonNullable<ToolDescription["outputSchema"]>,
    annotations: {
      readOnlyHint: hints.readOnly,
      destructiveHint: hints.destructive,
      idempotentHint: hints.idempotent,
      openWorldHint: false,
    },
  };
}

const failed = (text: string): CallToolResult => ({
  content: [{ type: "text", text }],
  isError: true,
});

/** What the caller, most often a model, can do something with: the code, what is wrong, and the remedy. */
function messageOf(error: unknown): string {
  if (error instanceof UnknownEntityError) return error.message;
  const { code, message, remedy } = toMeshError(error);
  return `${code}: ${message}${remedy === undefined ? "" : `; ${remedy}`}`;
}

/**
 * Calls one of the tools. What goes wrong is a result with `isError`, so that a model sees it: a tool that does not exist,
 * arguments of another shape (both in the words of the reference memory server), and what the tool rejects with.
 */
export async function callTool(
  tools: ReadonlyMap<string, Tool>,
  name: string,
  args: unknown,
  signal: AbortSignal,
): Promise<CallToolResult> {
  const tool = tools.get(name);
  if (tool === undefined) return failed(`MCP error -32602: Tool ${name.slice(0, 128)} not found`);
  const given = args ?? {};
  const problems = problemsOf(tool.inputSchema, given);
  if (problems.length > 0) {
    const problem = problems.join("\n");
    return failed(
      `MCP error -32602: Input validation error: Invalid arguments for tool ${name}: ${problem}`,
    );
  }
  try {
    const { text, structured } = await tool.call(given as Arguments, signal);
    return { content: [{ type: "text", text }], structuredContent: { ...structured } };
  } catch (error) {
    return failed(messageOf(error));
  }
}

/** Nothing is stored under that name; `remedy` says how to find what is. */
export const notFound = (doc: string, key: string): MeshError =>
  new MeshError("NOT_FOUND", `${doc} has no fact ${JSON.stringify(key)}`, { field: "key" });
