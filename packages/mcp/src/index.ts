// SPDX-License-Identifier: Apache-2.0
/**
 * The Model Context Protocol (revision 2025-06-18 and what the official library speaks besides) over a node: its facts as tools
 * and resources, and a knowledge graph with the tools of the reference memory server.
 */
export { serveHttp } from "./http.ts";
export type { HttpOptions, HttpServer } from "./http.ts";
export { serveStdio } from "./stdio.ts";
export type { StdioStreams } from "./stdio.ts";
export type { McpOptions, Session } from "./session.ts";
