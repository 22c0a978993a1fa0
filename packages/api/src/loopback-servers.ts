// SPDX-License-Identifier: Apache-2.0
/** The TCP servers over the routes of the local API. */
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { FastifyInstance } from "fastify";
import { answerBroken } from "./door-errors.ts";
import { listenTcp } from "./listen.ts";
import { LoopbackGuard, assertLoopback, createLoopbackServer } from "./loopback.ts";
import type { LoopbackOptions } from "./loopback.ts";
import type { StreamSockets } from "./stream-sockets.ts";
import { isStreamUpgrade } from "./upgrades.ts";

/** How long responses under way may take to end when the server is closed, in milliseconds. */
const LINGER_MS = 5_000;

/** Those that listen. */
export class LoopbackServers {
  readonly #app: FastifyInstance;
  readonly #sockets: StreamSockets | undefined;
  readonly #servers: Server[] = [];

  constructor(app: FastifyInstance, sockets: StreamSockets | undefined) {
    this.#app = app;
    this.#sockets = sockets;
  }

  /** See `ControlServer.listenLoopback`. The routes have to be ready. */
  async listen({ host, port, ...who }: LoopbackOptions): Promise<AddressInfo> {
    assertLoopback(host);
    const guard = new LoopbackGuard(who);
    const { server: unix } = this.#app;
    const { headersTimeout, requestTimeout, keepAliveTimeout } = unix;
    const settings = {
      headersTimeout,
      requestTimeout,
      keepAliveTimeout,
      shouldUpgradeCallback: isStreamUpgrade,
    };
    const server = createLoopbackServer(guard, settings, (request, response) => {
      this.#app.routing(request, response);
    });
    server.on("clientError", answerBroken);
    this.#sockets?.attach(server, (request) => guard.problemOf(request));
    const bound = await listenTcp(server, host, port);
    this.#servers.push(server);
    return bound;
  }

  /** Stops listening, and waits for requests under way. */
  async close(): Promise<void> {
    await Promise.all(
      this.#servers.splice(0).map(async (server) => {
        const closed = once(server, "close");
        server.close();
        server.closeIdleConnections();
        const timer = setTimeout(() => server.closeAllConnections(), LINGER_MS);
        await closed;
        clearTimeout(timer);
      }),
    );
  }
}
