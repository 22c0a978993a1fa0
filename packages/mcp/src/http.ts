// SPDX-License-Identifier: Apache-2.0
/** A server on loopback TCP (streamable HTTP of the protocol): several clients of this machine, each with a session. */
import { hash, randomUUID, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { Logger } from "@ctxmesh/model";
// oxlint-disable-next-line import/extensions -- the export paths of the library end in .js
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { startSession } from "./session.ts";
import type { McpOptions, Session } from "./session.ts";

/** Where to listen, and for whom. */
export interface HttpOptions {
  /** On 127.0.0.1; 0 for any free one. */
  readonly port: number;
  /** What clients have to send as a bearer token (RFC 6750, section 2.1). */
  readonly token: string;
  /** How long a client may take nothing of an answer, in milliseconds; `LIMITS.eventStallMs` by default. */
  readonly stallMs?: number;
}

/** A server that listens. */
export interface HttpServer {
  /** Such as `http://127.0.0.1:8765/mcp`. */
  readonly url: string;
  /** Ends all sessions and stops listening. */
  close(): Promise<void>;
}

const HOST = "127.0.0.1";
const PATH = "/mcp";
/** Names of this machine that a request may be for; any other one has been made to point here (DNS rebinding). */
const HOSTS: ReadonlySet<string> = new Set([HOST, "localhost", "[::1]"]);
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** JSON-RPC error of servers' own. */
const SERVER_ERROR = -32_000;

interface HttpSession {
  readonly transport: StreamableHTTPServerTransport;
  readonly session: Session;
}

function refuse(response: ServerResponse, status: number, message: string): void {
  const body = { jsonrpc: "2.0", error: { code: SERVER_ERROR, message }, id: null };
  response.writeHead(status, {
    "content-type": "application/json",
    ...(status === 401 ? { "www-authenticate": "Bearer" } : {}),
  });
  response.end(JSON.stringify(body));
}

/** Compares in a time that says nothing of the token. */
function isToken(header: string | undefined, token: string): boolean {
  const given = /^Bearer ([\u0021-\u007e]+)$/iu.exec(header ?? "")?.[1] ?? "";
  return timingSafeEqual(hash("sha256", given, "buffer"), hash("sha256", token, "buffer"));
}

function hostnameOf(host: string | undefined): string | undefined {
  try {
    return new URL(`http://${host ?? ""}`).hostname;
  } catch {
    return undefined;
  }
}

/** Cuts a client that does not read: what it is told of waits in memory, and the library sets no limit to that. One that is told nothing stays. */
function cutStalled(response: ServerResponse, stallMs: number, logger: Logger): void {
  response.setTimeout(stallMs, () => {
    if (!response.writableNeedDrain) return;
    logger.warn("mcp.reader-stalled", { stallMs });
    response.destroy();
  });
}

/** Answers what may not come in; whether it did. */
function turnedAway(request: IncomingMessage, response: ServerResponse, token: string): boolean {
  const { host, origin, authorization } = request.headers;
  if (!HOSTS.has(hostnameOf(host) ?? "")) {
    refuse(response, 403, "Host: this server is for 127.0.0.1 and localhost alone");
  } else if (origin !== undefined && origin !== `http://${host ?? ""}`) {
    refuse(response, 403, "Origin: pages of other sites have no business here");
  } else if (!isToken(authorization, token)) {
    refuse(response, 401, "Authorization: the bearer token is missing or wrong");
  } else if ((request.url ?? "").split("?", 1)[0] !== PATH) {
    refuse(response, 404, `the only path is ${PATH}`);
  } else {
    return false;
  }
  return true;
}

/** The sessions of a server, the one used longest ago first. */
class Sessions {
  readonly #options: McpOptions;
  readonly #byId = new Map<string, HttpSession>();

  constructor(options: McpOptions) {
    this.#options = options;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const id = request.headers["mcp-session-id"];
    if (id === undefined) {
      await this.#begin(request, response);
      return;
    }
    const known = typeof id === "string" ? this.#byId.get(id) : undefined;
    if (known === undefined || typeof id !== "string") {
      refuse(response, 404, "Session not found: begin another one");
      return;
    }
    this.#byId.delete(id);
    this.#byId.set(id, known);
    await known.transport.handleRequest(request, response);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#byId.values()].map(async ({ session }) => session.close()));
  }

  /** A request without a session may only begin one; the transport refuses any other. */
  async #begin(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let begun: string | undefined;
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      maxRequestBodySize: LIMITS.requestBytes,
      onsessioninitialized: (id) => {
        begun = id;
        this.#byId.set(id, { transport, session });
        void session.closed.then(() => this.#byId.delete(id));
        void this.#makeRoom();
      },
    });
    const session = await startSession(this.#options, transport);
    await transport.handleRequest(request, response);
    if (begun === undefined) await session.close();
  }

  /** Clients that went away without a word leave sessions behind. */
  async #makeRoom(): Promise<void> {
    const [oldest] = this.#byId;
    if (oldest === undefined || this.#byId.size <= LIMITS.mcpSessions) return;
    const [id, { session }] = oldest;
    this.#byId.delete(id);
    await session.close();
  }
}

async function listen(server: Server, port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject).listen(port, HOST, resolve);
  try {
    await promise;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new MeshError("ADDRESS_UNAVAILABLE", `can't listen on ${HOST}:${String(port)}: ${code}`, {
      remedy: "choose another port, or 0 for any free one",
      cause: error,
    });
  }
  return (server.address() as AddressInfo).port;
}

/**
 * Serves clients on 127.0.0.1 that bear the token, under `/mcp`: up to `LIMITS.mcpSessions` of them, past which the session used
 * longest ago is ended. A client that takes nothing of an answer for a minute is cut. Requests for other hosts, of pages of other origins, or without the token are refused before anything of
 * them is read. Throws `ADDRESS_UNAVAILABLE`.
 */
export async function serveHttp(
  options: McpOptions,
  { port, token, stallMs = LIMITS.eventStallMs }: HttpOptions,
): Promise<HttpServer> {
  const sessions = new Sessions(options);
  const server = createServer(
    { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
    (request, response) => {
      if (turnedAway(request, response, token)) return;
      cutStalled(response, stallMs, options.logger);
      sessions.handle(request, response).catch((error: unknown) => {
        options.logger.error("mcp.request-failed", { error });
        if (response.headersSent) response.destroy();
        else refuse(response, 500, "the request failed");
      });
    },
  );
  const bound = await listen(server, port);
  return {
    url: `http://${HOST}:${String(bound)}${PATH}`,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      await sessions.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
