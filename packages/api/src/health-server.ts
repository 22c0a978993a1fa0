// SPDX-License-Identifier: Apache-2.0
/**
 * The HTTP server that a hub shows to the network: `/livez`, `/readyz` and `/startupz` for orchestrators, `/metrics` for Prometheus, and the
 * `node:http` server to which a WebSocket endpoint attaches its upgrades.
 */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { LIMITS } from "@ctxmesh/model";
import type { Logger } from "@ctxmesh/model";
import { fastify } from "fastify";
import type { FastifyInstance, FastifyServerOptions } from "fastify";
import { addDoorErrors, answerBroken } from "./door-errors.ts";
import { listenTcp } from "./listen.ts";
import { addLogRoutes } from "./log-routes.ts";
import type { LogRouteOptions } from "./log-routes.ts";
import { LoopWatch } from "./loop-watch.ts";
import { METRICS_MEDIA_TYPE, metricsText } from "./metrics.ts";
import type { NodeMetrics } from "./metrics.ts";
import { OPENAPI, OPENAPI_PATH } from "./openapi.ts";
import { tlsOptionsOf } from "./tls.ts";
import type { DoorTls } from "./tls.ts";

/** What the health server asks and where it logs. */
export interface HealthServerOptions extends LogRouteOptions {
  /** Whether `/readyz` answers 200 (else 503). */
  readonly ready: () => boolean;
  /** Whether `/startupz` answers 200 (else 503): the start is over, whatever came of readiness since. As `ready` by default. */
  readonly started?: () => boolean;
  /** What `/metrics` shows of the node, asked for once a second at most; undefined before it is complete. */
  readonly metrics?: () => Promise<NodeMetrics> | undefined;
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
/** Whoever does not read its answers is cut when nothing has moved for so long, or twice as long, in milliseconds; a WebSocket has limits of its own. */
const STUCK_MS = 5_000;
/** Probes carry no body. */
const BODY_BYTES = 1_024;

/** Creates the server; nothing listens yet. Throws `KEY_INVALID` and `POLICY_REFUSED` for settings of TLS. */
export function createHealthServer(options: HealthServerOptions): HealthServer {
  const { tls } = options;
  const secure = tls === undefined ? undefined : tlsOptionsOf(tls);
  const common = {
    bodyLimit: BODY_BYTES,
    forceCloseConnections: "idle",
    clientErrorHandler: answerBroken,
    requestTimeout: HTTP_OPTIONS.requestTimeout,
    keepAliveTimeout: HTTP_OPTIONS.keepAliveTimeout,
    connectionTimeout: STUCK_MS,
  } as const;
  const app =
    secure === undefined
      ? fastify({ ...common, http: HTTP_OPTIONS })
      : // Of the two servers' types everything here uses what they share.
        fastify({ ...common, https: { ...HTTP_OPTIONS, ...secure } } as FastifyServerOptions);
  addDoorErrors(app);
  const loop = new LoopWatch();
  addProbes(app, options, loop);
  addMetrics(app, options, loop);
  addLogRoutes(app, options);
  app.get(OPENAPI_PATH, (_request, reply) => reply.send(OPENAPI));
  return {
    server: app.server,
    async listen(host, port) {
      await app.ready();
      const bound = await listenTcp(app.server, host, port);
      options.logger.info("http.listening", { host: bound.address, port: bound.port });
      return bound;
    },
    close: async () => {
      loop.stop();
      await app.close();
    },
  };
}

/** `/livez`: restart it when this fails; `/readyz`: send it nobody while this fails; `/startupz`: wait with both. */
function addProbes(
  app: FastifyInstance,
  { ready, started = ready }: HealthServerOptions,
  loop: LoopWatch,
): void {
  const probes = [
    ["/livez", () => loop.isAlive, "late"],
    ["/readyz", ready, "not ready"],
    ["/startupz", started, "starting"],
  ] as const;
  for (const [path, holds, otherwise] of probes) {
    app.get(path, (_request, reply) => {
      const isGood = holds();
      return reply.code(isGood ? 200 : 503).send({ status: isGood ? "ok" : otherwise });
    });
  }
}

/** How long an answer is given again, in milliseconds: counting takes time, and anybody may ask. */
const METRICS_MS = 1_000;

function addMetrics(app: FastifyInstance, { metrics }: HealthServerOptions, loop: LoopWatch): void {
  let askedMs = Number.NEGATIVE_INFINITY;
  let node: Promise<NodeMetrics> | undefined;
  app.get("/metrics", async (_request, reply) => {
    if (performance.now() - askedMs >= METRICS_MS) {
      askedMs = performance.now();
      node = metrics?.();
    }
    const { rss, heapUsed } = process.memoryUsage();
    const { user, system } = process.cpuUsage();
    const text = metricsText(await node, {
      loopLateMs: loop.lateMs,
      residentBytes: rss,
      heapBytes: heapUsed,
      cpuSeconds: (user + system) / 1_000_000,
      uptimeSeconds: process.uptime(),
    });
    return reply.type(METRICS_MEDIA_TYPE).send(text);
  });
}
