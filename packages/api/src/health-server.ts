// SPDX-License-Identifier: Apache-2.0
/**
 * The HTTP server that a hub shows to the network: `/livez` and `/readyz` for orchestrators, and the
 * `node:http` server to which a WebSocket endpoint attaches its upgrades.
 */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { LIMITS } from "@ctxmesh/model";
import type { Logger } from "@ctxmesh/model";
import { fastify } from "fastify";
import type { FastifyServerOptions } from "fastify";
import { listenTcp } from "./listen.ts";
import { PROBLEM_MEDIA_TYPE, problemOf } from "./problem.ts";
import { tlsOptionsOf } from "./tls.ts";
import type { DoorTls } from "./tls.ts";

/** What the health server asks and where it logs. */
export interface HealthServerOptions {
  /** Whether `/readyz` answers 200 (else 503). */
  readonly ready: () => boolean;
  /** Without it everything is in plain text. */
  readonly tls?: DoorTls;
  readonly logger: Logger;
}

/** The server on TCP. */
export interface HealthServer {
  /** For `upgrade` listeners; upgraded sockets are theirs to close. */
  readonly server: Server;
  /** Listens (port 0: any free one) and returns what was bound. Throws `ADDRESS_UNAVAILABLE`. */
  listen(host: string, port: number): Promise<AddressInfo>;
  /** Stops listening and waits for requests under way. Idempotent. */
  close(): Promise<void>;
}

/** A client that sends its headers, or its whole request, slower than this is cut. */
const HTTP_OPTIONS = {
  headersTimeout: LIMITS.handshakeMs,
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
} as const;
/** Probes carry no body. */
const BODY_BYTES = 1_024;

/** Creates the server; nothing listens yet. Throws `KEY_INVALID` and `POLICY_REFUSED` for settings of TLS. */
export function createHealthServer(options: HealthServerOptions): HealthServer {
  const { tls } = options;
  const secure = tls === undefined ? undefined : tlsOptionsOf(tls);
  const common = {
    bodyLimit: BODY_BYTES,
    forceCloseConnections: "idle",
    requestTimeout: HTTP_OPTIONS.requestTimeout,
    keepAliveTimeout: HTTP_OPTIONS.keepAliveTimeout,
  } as const;
  const app =
    secure === undefined
      ? fastify({ ...common, http: HTTP_OPTIONS })
      : // Of the two servers' types everything here uses what they share.
        fastify({ ...common, https: { ...HTTP_OPTIONS, ...secure } } as FastifyServerOptions);
  app.setErrorHandler((error, _request, reply) => {
    const problem = problemOf(error);
    const body = Buffer.from(JSON.stringify(problem));
    return reply.code(problem.status).type(PROBLEM_MEDIA_TYPE).send(body);
  });
  app.get("/livez", () => ({ status: "ok" }));
  app.get("/readyz", (_request, reply) => {
    const ready = options.ready();
    return reply.code(ready ? 200 : 503).send({ status: ready ? "ok" : "not ready" });
  });
  return {
    server: app.server,
    async listen(host, port) {
      await app.ready();
      const bound = await listenTcp(app.server, host, port);
      options.logger.info("http.listening", { host: bound.address, port: bound.port });
      return bound;
    },
    close: () => app.close(),
  };
}
