// SPDX-License-Identifier: Apache-2.0
/** Where pages connect to an agent: the WebSocket endpoint that hubs have, on a port of its own, without TLS, which a proxy adds. */
import { once } from "node:events";
import { createServer } from "node:http";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { Transport } from "@ctxmesh/model";
import { createWsServer } from "@ctxmesh/transport-ws";
import type { WsServerOptions } from "@ctxmesh/transport-ws";

/** How often slow requests are looked for, in milliseconds. */
const CHECK_MS = 1_000;

/** What it is made of. */
export interface PageDoorOptions extends Pick<
  WsServerOptions,
  "device" | "isMember" | "logger" | "random" | "space" | "verifier"
> {
  readonly host: string;
  /** 0 takes any free one. */
  readonly port: number;
}

/** Creates the transport. `start` throws `ADDRESS_UNAVAILABLE`. */
export function createPageDoor({ host, port, ...options }: PageDoorOptions): Transport {
  const server = createServer(
    {
      headersTimeout: LIMITS.handshakeMs,
      requestTimeout: LIMITS.handshakeMs,
      connectionsCheckingInterval: CHECK_MS,
    },
    (_, response) => {
      response.writeHead(404).end();
    },
  );
  // A page's device is an agent, and hubs dial agents nowhere.
  const transport = createWsServer({ ...options, server, isHub: () => false });
  return {
    async start(onChannel) {
      await transport.start(onChannel);
      try {
        server.listen(port, host);
        await once(server, "listening");
      } catch (error) {
        await transport.stop();
        const at = `${host}:${String(port)}`;
        throw new MeshError("ADDRESS_UNAVAILABLE", `can't listen for pages on ${at}`, {
          field: "pages",
          remedy: "choose a free port on an address of this machine",
          cause: error,
        });
      }
      // Of a connection that could not be taken, such as for want of file descriptors; the next one may be.
      server.on("error", (error) => {
        options.logger.warn("pages.listen-failed", { reason: error.message });
      });
    },
    addresses: () => (server.listening ? transport.addresses() : []),
    async stop() {
      await transport.stop();
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
