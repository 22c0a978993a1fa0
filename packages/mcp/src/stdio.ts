// SPDX-License-Identifier: Apache-2.0
/** A server on standard input and output: one client, which started it. */
import type { Readable, Writable } from "node:stream";
import { LIMITS } from "@ctxmesh/model";
// oxlint-disable-next-line import/extensions -- the export paths of the library end in .js
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { startSession } from "./session.ts";
import type { McpOptions, Session } from "./session.ts";

/** Where messages come from and go to, a line of JSON each. */
export interface StdioStreams {
  readonly input: Readable;
  readonly output: Writable;
}

/**
 * Serves the client at the other end of two streams until it ends its own, or the session is closed. Lines that are no
 * messages are logged and passed over; one without end, past `LIMITS.requestBytes`, ends the session.
 */
export async function serveStdio(
  options: McpOptions,
  { input, output }: StdioStreams,
): Promise<Session> {
  const transport = new StdioServerTransport(input, output, {
    maxBufferSize: LIMITS.requestBytes,
  });
  const session = await startSession(options, transport);
  const end = (): void => {
    void session.close();
  };
  input.once("end", end).once("close", end);
  return session;
}
