// SPDX-License-Identifier: Apache-2.0
/** The composition root of `ctxmesh mcp`. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { serveHttp, serveStdio } from "@ctxmesh/mcp";
import type { McpOptions } from "@ctxmesh/mcp";
import { MeshError, parseDocumentName } from "@ctxmesh/model";
import { connect } from "@ctxmesh/sdk";
import { runDaemon } from "../daemon.ts";
import { explain } from "../explain.ts";
import { readSmallFile } from "../files.ts";
import { createLogger } from "../logging.ts";
import { findSocket } from "../socket.ts";
import { readVersion } from "../version.ts";

/** Options of `ctxmesh mcp`. */
export interface McpCommandOptions {
  readonly socket?: string;
  readonly document: string;
  /** A port: HTTP instead of stdin and stdout. */
  readonly http?: number;
  readonly tokenFile?: string;
}

const TOKEN_BYTES = 32;
/** What can stand behind `Bearer` in a header (RFC 6750, section 2.1), long enough not to be guessed. */
const TOKEN = /^[A-Za-z0-9._~+/-]{16,512}=*$/u;

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
  const token = await readToken(tokenFile);
  await runDaemon(async () => {
    const server = await serveHttp(mcp, { port, token });
    mcp.logger.info("mcp.listening", { url: server.url, tokenFile });
    return { stop: async () => server.close() };
  }, mcp.logger);
}

/** The token of a file, which is made, readable by this user alone, when there is none. */
async function readToken(path: string): Promise<string> {
  const made = randomBytes(TOKEN_BYTES).toString("base64url");
  try {
    await writeFile(path, `${made}\n`, { flag: "wx", mode: 0o600 });
    return made;
  } catch {
    // It is there, or can't be written; reading tells which.
  }
  const token = (await readSmallFile(path, "token file", "FILE_UNAVAILABLE")).trim();
  if (TOKEN.test(token)) return token;
  throw new MeshError(
    "INPUT_INVALID",
    `${path} holds no token: 16 to 512 letters, digits and . _ ~ + / -`,
    {
      field: "--token-file",
      remedy: "remove the file, and another one is made",
    },
  );
}
