// SPDX-License-Identifier: Apache-2.0
/** The hub's end: channels from agents and other hubs, on an HTTP server that is someone else's. */
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import type {
  Channel,
  DeviceSigner,
  Logger,
  RandomSource,
  SignatureVerifier,
  SpaceId,
  Transport,
} from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";
import type { WebSocket } from "ws";
import { WebSocketServer } from "ws";
import { Authentication } from "./authentication.ts";
import { SocketChannel } from "./channel.ts";
import { Handshake } from "./handshake.ts";
import { CLOSE_CODES, closeSocket, SOCKET_OPTIONS } from "./sockets.ts";

/** The path of the sync endpoint. */
export const SYNC_PATH = "/v1/sync";
/** Connections that are not yet authenticated; more are turned away with 503. */
const PENDING_CONNECTIONS = 256;

/** What a hub's WebSocket transport is made of. */
export interface WsServerOptions {
  /**
   * The server whose upgrade requests to `/v1/sync` are taken; listening, TLS and its own limits (set
   * `headersTimeout` to `LIMITS.handshakeMs`) are its owner's business.
   */
  readonly server: Server;
  readonly device: DeviceSigner;
  readonly space: SpaceId;
  /** Whether a device, hex, may connect. */
  readonly isMember: (device: string) => boolean;
  /** Whether a device, hex, is a hub, which connects as agents do. */
  readonly isHub: (device: string) => boolean;
  readonly verifier: SignatureVerifier;
  readonly random: RandomSource;
  readonly logger: Logger;
}

/** Creates the transport; `start` begins to take upgrade requests. One channel per device: a newer one replaces it. */
export function createWsServer(options: WsServerOptions): Transport {
  return new WsServer(options);
}

class WsServer implements Transport {
  readonly #options: WsServerOptions;
  readonly #sockets = new WebSocketServer({
    ...SOCKET_OPTIONS,
    noServer: true,
    clientTracking: false,
  });
  readonly #pending = new Set<WebSocket>();
  /** All that are not closed yet; the newest of each device is in `#newest`, too. */
  readonly #channels = new Set<SocketChannel>();
  readonly #newest = new Map<string, SocketChannel>();
  #onChannel: ((channel: Channel) => void) | undefined;

  constructor(options: WsServerOptions) {
    this.#options = options;
  }

  start(onChannel: (channel: Channel) => void): Promise<void> {
    if (this.#onChannel !== undefined) {
      return Promise.reject(new MeshError("INTERNAL", "the WebSocket server is already started"));
    }
    this.#onChannel = onChannel;
    this.#options.server.on("upgrade", this.#onUpgrade);
    return Promise.resolve();
  }

  addresses(): readonly string[] {
    const address = this.#options.server.address();
    if (this.#onChannel === undefined || address === null || typeof address === "string") return [];
    const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
    return [`ws://${host}:${String(address.port)}${SYNC_PATH}`];
  }

  async stop(): Promise<void> {
    this.#onChannel = undefined;
    this.#options.server.off("upgrade", this.#onUpgrade);
    const reason = "the hub stops";
    const pending = Array.from(this.#pending, (socket) =>
      closeSocket(socket, CLOSE_CODES.goingAway, reason),
    );
    const open = Array.from(this.#channels, (channel) => channel.close(reason));
    await Promise.all([...pending, ...open]);
  }

  readonly #onUpgrade = (request: IncomingMessage, connection: Duplex, head: Buffer): void => {
    const [path] = (request.url ?? "").split("?", 1);
    if (path !== SYNC_PATH) {
      // Another listener may want it; if there is none, nobody else would answer.
      if (this.#options.server.listenerCount("upgrade") === 1)
        turnAway(connection, "404 Not Found");
    } else if (this.#pending.size >= PENDING_CONNECTIONS) {
      turnAway(connection, "503 Service Unavailable");
    } else {
      this.#sockets.handleUpgrade(request, connection, head, (socket) => {
        const { remoteAddress = "unknown", remotePort = 0 } = request.socket;
        this.#authenticate(socket, connection, `${remoteAddress}:${String(remotePort)}`);
      });
    }
  };

  #authenticate(socket: WebSocket, connection: Duplex, address: string): void {
    const { device, space, isMember, verifier, random, logger } = this.#options;
    this.#pending.add(socket);
    socket.once("close", () => this.#pending.delete(socket));
    const handshake = new Handshake({
      role: "server",
      device,
      space,
      accepts: isMember,
      verifier,
      random,
    });
    const authentication = new Authentication(socket, handshake, {
      onDone: (remote) => {
        this.#pending.delete(socket);
        this.#add(socket, remote, address);
      },
      onFailed: ({ kind, reason }) => {
        if (kind === "refused")
          logger.warn("peer.refused", { code: "AUTH_FAILED", reason, address });
        else logger.debug("peer.left", { reason, address });
      },
    });
    authentication.begin(connection);
  }

  #add(socket: WebSocket, device: string, address: string): void {
    const { logger, isHub } = this.#options;
    const old = this.#newest.get(device);
    const channel = new SocketChannel(socket, {
      device,
      address,
      direction: "inbound",
      role: isHub(device) ? "hub" : "agent",
    });
    this.#channels.add(channel);
    this.#newest.set(device, channel);
    void old?.close("replaced by a newer channel");
    void this.#forgetWhenClosed(device, channel);
    logger.info("channel.opened", { device, address });
    this.#onChannel?.(channel);
  }

  async #forgetWhenClosed(device: string, channel: SocketChannel): Promise<void> {
    const reason = await channel.closed;
    this.#channels.delete(channel);
    if (this.#newest.get(device) === channel) this.#newest.delete(device);
    this.#options.logger.info("channel.closed", { device, reason });
  }
}

function turnAway(connection: Duplex, status: string): void {
  connection.on("error", () => undefined);
  connection.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
