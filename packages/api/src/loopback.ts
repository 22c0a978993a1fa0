// SPDX-License-Identifier: Apache-2.0
/**
 * The local API on TCP, for browsers and whoever can't use a Unix socket: on addresses of this machine alone, for who bears the token. Whatever asks
 * is looked at before anything of it is read or routed:
 *
 * - `Host` has to name this machine; else a name was made to point here (DNS rebinding).
 * - `Origin`, which browsers send, has to be one of those that the configuration lists. Those get CORS headers (WHATWG Fetch, section 3.2).
 * - `Authorization: Bearer <token>` (RFC 6750), compared in a time that says nothing of it; of WebSockets also the subprotocol
 *   `ctxmesh.token.<token>`, since browsers can't set headers there. Not in a URL, which would be logged.
 */
import { hash, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { isIP } from "node:net";
import { MeshError } from "@ctxmesh/model";
import { PROBLEM_MEDIA_TYPE, toProblem } from "./problem.ts";
import type { Problem } from "./problem.ts";

/** Where to listen, and for whom. */
export interface LoopbackOptions {
  /** An address of this machine alone: `127.0.0.1` to `127.255.255.255`, `::1`, or `localhost`. */
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  /** What clients have to send as a bearer token. */
  readonly token: string;
  /** Origins of pages that may ask, such as `http://localhost:5173`. */
  readonly origins: readonly string[];
}

const TOKEN_PROTOCOL = "ctxmesh.token.";
const PREFLIGHT_SECONDS = 600;
const ALLOWED_HEADERS = [
  "authorization",
  "content-type",
  "idempotency-key",
  "if-match",
  "if-none-match",
  "last-event-id",
];

const isLoopback = (name: string): boolean =>
  name === "localhost" || name === "::1" || (isIP(name) === 4 && name.startsWith("127."));

/** Throws `CONFIG_INVALID` for an address that others can reach. */
export function assertLoopback(host: string): void {
  if (isLoopback(host)) return;
  throw new MeshError("CONFIG_INVALID", `the local API does not listen on ${host}: it has no TLS`, {
    field: "api.listen",
    remedy: "listen on 127.0.0.1, and put a proxy with TLS in front of it",
  });
}

/** The name in a `Host` header, without brackets and port. */
function hostnameOf(host: string | undefined): string {
  try {
    return new URL(`http://${host ?? ""}`).hostname.replaceAll(/[[\]]/gu, "");
  } catch {
    return "";
  }
}

/** What is wrong with a request, and its status; undefined when nothing is. */
type Refusal = readonly [status: number, error: MeshError];

const refusal = (status: number, field: string, message: string, remedy: string): Refusal => [
  status,
  new MeshError("AUTH_FAILED", message, { field, remedy }),
];

/** Looks at who asks. */
export class LoopbackGuard {
  readonly #tokenHash: Buffer;
  readonly #origins: ReadonlySet<string>;

  constructor({ token, origins }: Pick<LoopbackOptions, "token" | "origins">) {
    this.#tokenHash = hash("sha256", token, "buffer");
    this.#origins = new Set(origins);
  }

  /** Why a request may not come in, as the problem to answer; undefined when it may. */
  problemOf(request: IncomingMessage): Problem | undefined {
    const refused = this.#strange(request) ?? this.#nameless(request);
    return refused === undefined ? undefined : toProblem(refused[1], refused[0]);
  }

  /** Answers what may not come in, and what browsers ask first; whether the request is to be followed. */
  admits(request: IncomingMessage, response: ServerResponse): boolean {
    const { origin } = request.headers;
    const strange = this.#strange(request);
    if (strange === undefined && origin !== undefined) {
      response.setHeader("access-control-allow-origin", origin);
      response.setHeader("access-control-expose-headers", "etag");
      response.setHeader("vary", "origin");
      if (request.method === "OPTIONS") {
        answerPreflight(response);
        return false;
      }
    }
    const refused = strange ?? this.#nameless(request);
    if (refused === undefined) return true;
    sendProblem(response, toProblem(refused[1], refused[0]));
    return false;
  }

  #strange({ headers: { host, origin } }: IncomingMessage): Refusal | undefined {
    if (!isLoopback(hostnameOf(host))) {
      const message = "Host names another machine than this one";
      return refusal(403, "Host", message, "use 127.0.0.1, [::1] or localhost");
    }
    if (origin === undefined || this.#origins.has(origin)) return undefined;
    const message = `pages of ${origin.slice(0, 100)} are not admitted`;
    return refusal(403, "Origin", message, "api.origins of the configuration lists those that are");
  }

  #nameless({ headers }: IncomingMessage): Refusal | undefined {
    const bearer = /^bearer +(\S+) *$/iu.exec(headers.authorization ?? "")?.[1];
    const offered = (headers["sec-websocket-protocol"] ?? "")
      .split(",")
      .map((name) => name.trim())
      .find((name) => name.startsWith(TOKEN_PROTOCOL));
    const given = bearer ?? offered?.slice(TOKEN_PROTOCOL.length);
    const isIt =
      given !== undefined && timingSafeEqual(hash("sha256", given, "buffer"), this.#tokenHash);
    if (isIt) return undefined;
    const message = `the bearer token is ${given === undefined ? "missing" : "wrong"}`;
    const remedy = "send Authorization: Bearer with what is in api.tokenFile of the configuration";
    return refusal(401, "Authorization", message, remedy);
  }
}

function answerPreflight(response: ServerResponse): void {
  response.writeHead(204, {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": ALLOWED_HEADERS.join(", "),
    "access-control-max-age": String(PREFLIGHT_SECONDS),
  });
  response.end();
}

function sendProblem(response: ServerResponse, problem: Problem): void {
  response.writeHead(problem.status, {
    "content-type": PROBLEM_MEDIA_TYPE,
    ...(problem.status === 401 ? { "www-authenticate": "Bearer" } : {}),
    // What else it sends is not read.
    connection: "close",
  });
  response.end(JSON.stringify(problem));
}

/** A server that hands on what the guard lets in. Nothing listens yet. */
export function createLoopbackServer(
  guard: LoopbackGuard,
  timeouts: Parameters<typeof createServer>[0] & object,
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): Server {
  return createServer(timeouts, (request, response) => {
    if (guard.admits(request, response)) handle(request, response);
  });
}
