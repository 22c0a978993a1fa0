// SPDX-License-Identifier: Apache-2.0
/** The composition root of `ctxmesh mcp`. */
import { serveHttp, serveStdio } from "@ctxmesh/mcp";
import type { McpOptions } from "@ctxmesh/mcp";
import { MeshError, parseDocumentName } from "@ctxmesh/model";
import { connect } from "@ctxmesh/sdk";
import { runDaemon } from "../daemon.ts";
import { explain } from "../explain.ts";
import { createLogger } from "../logging.ts";
import { findSocket } from "../socket.ts";
import { readTokenFile } from "../token-file.ts";
import { readVersion } from "../version.ts";

/** Options of `ctxmesh mcp`. */
export interface McpCommandOptions {
  readonly socket?: string;
  readonly document: string;
  /** A port: HTTP instead of stdin and stdout. */
  readonly http?: number;
  readonly tokenFile?: string;
}

/** Serves until the client ends its streams, or a signal ends the process. Throws `USAGE`, and what the start throws. */
export async function runMcp(options: McpCommandOptions): Promise<void> {
  const { http, tokenFile } = options;
  const document = parseDocumentName(options.document);
  const socketPath = findSocket(options.socket, "agent");
  if (http === undefined && tokenFile !== undefined) {
    throw new MeshError("USAGE", "--token-file is for --http");
  }
  const logger = createLogger("info", "mcp", process.stderr);
  const client = connect({ socketPath });
  const mcp: McpOptions = { client, document, version: readVersion(), explain, logger };
  try {
    if (http === undefined) await serveStdin(mcp);
    else await serveTcp(mcp, http, tokenFile);
  } finally {
    client.close();
  }
}

async function serveStdin(mcp: McpOptions): Promise<void> {
  const session = await serveStdio(mcp, { input: process.stdin, output: process.stdout });
  const stop = (): void => {
    void session.close();
  };
  process.once("SIGINT", stop).once("SIGTERM", stop);
  await session.closed;
  process.off("SIGINT", stop).off("SIGTERM", stop);
  // A pipe that is left open at the other end would keep the process.
  process.stdin.destroy();
}

async function serveTcp(
  mcp: McpOptions,
  port: number,
  tokenFile: string | undefined,
): Promise<void> {
  if (tokenFile === undefined) {
    throw new MeshError(
      "USAGE",
      "--http needs a token, since every user of this machine can connect",
      {
        remedy: "give --token-file FILE; the file is made when there is none",
      },
    );
  }
  const token = await readTokenFile(tokenFile, "--token-file");
  await runDaemon(async () => {
    const server = await serveHttp(mcp, { port, token });
    mcp.logger.info("mcp.listening", { url: server.url, tokenFile });
    return { stop: async () => server.close() };
  }, mcp.logger);
}
