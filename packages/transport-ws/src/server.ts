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
import { Arrivals } from "./arrivals.ts";
import type { Arrival } from "./arrivals.ts";
import { Authentication } from "./authentication.ts";
import type { AuthenticationFailure } from "./authentication.ts";
import { SocketChannel } from "./channel.ts";
import { SYNC_PATH } from "./dialling.ts";
import { Guests } from "./guests.ts";
import type { GuestEndpoint } from "./guests.ts";
import { Handshake } from "./handshake.ts";
import { AWAY_MS, CLOSE_CODES, closeSocket, SOCKET_OPTIONS } from "./sockets.ts";
import { securityOf, shownCertificate } from "./tls.ts";
import type { ShownCertificate } from "./tls.ts";
import { turnAway } from "./turn-away.ts";

/** WebSockets that are not yet authenticated; with one more the oldest has to go, which has had its time: an honest one takes moments. */
const PENDING_CONNECTIONS = 1_024;

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
  /** `authorized`: clients show a certificate of their device's key that an authority of the server vouches for. `own`: nobody has to. None by default. */
  readonly clientCertificate?: "own" | "authorized";
  /** An endpoint for who bears a token; none by default. */
  readonly guests?: GuestEndpoint;
  readonly verifier: SignatureVerifier;
  readonly random: RandomSource;
  readonly logger: Logger;
}

/**
 * Creates the transport; `start` begins to take upgrade requests. One channel per device: a newer one replaces it. Who shows a TLS
 * certificate, asked for or not, has to be the device whose key it is of.
 */
export function createWsServer(options: WsServerOptions): WsServerTransport {
  return new WsServer(options);
}

/** A transport that can be closed to newcomers first. */
export interface WsServerTransport extends Transport {
  /** Turns newcomers away; who is there stays until it is closed, and is then asked to come back. */
  drain(): void;
}

/** For each channel that is closed by a restart, time in which another one may come back, in milliseconds: so many handshakes a hub has time for. */
const SPREAD_MS = 10;

class WsServer implements WsServerTransport {
  readonly #options: WsServerOptions;
  readonly #sockets = new WebSocketServer({
    ...SOCKET_OPTIONS,
    noServer: true,
    clientTracking: false,
  });
  readonly #arrivals: Arrivals;
  readonly #guests: Guests | undefined;
  /** By the handshake that is under way, oldest first. */
  readonly #pending = new Map<WebSocket, Authentication>();
  /** All that are not closed yet; the newest of each device is in `#newest`, too. */
  readonly #channels = new Set<SocketChannel>();
  readonly #newest = new Map<string, SocketChannel>();
  #onChannel: ((channel: Channel) => void) | undefined;
  #draining = false;

  constructor(options: WsServerOptions) {
    this.#options = options;
    this.#arrivals = new Arrivals(options.server);
    this.#guests = options.guests && new Guests(options.guests, options.logger);
  }

  start(onChannel: (channel: Channel) => void): Promise<void> {
    if (this.#onChannel !== undefined) {
      return Promise.reject(new MeshError("INTERNAL", "the WebSocket server is already started"));
    }
    this.#onChannel = onChannel;
    this.#draining = false;
    this.#arrivals.start();
    this.#options.server.on("upgrade", this.#onUpgrade);
    return Promise.resolve();
  }

  addresses(): readonly string[] {
    const address = this.#options.server.address();
    if (this.#onChannel === undefined || address === null || typeof address === "string") return [];
    const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
    const scheme = "setSecureContext" in this.#options.server ? "wss" : "ws";
    return [`${scheme}://${host}:${String(address.port)}${SYNC_PATH}`];
  }

  drain(): void {
    this.#draining = true;
    this.#guests?.drain();
    for (const channel of this.#channels) channel.prepareRestart(this.#comeBackMs());
  }

  /** When somebody is asked to come back, in milliseconds: at random, within a time that is enough for all. */
  #comeBackMs(): number {
    const [a = 0, b = 0] = this.#options.random.bytes(2);
    const spreadMs = Math.min(AWAY_MS, SPREAD_MS * this.#channels.size);
    return Math.floor((spreadMs * (a * 256 + b)) / 65_536);
  }

  async stop(): Promise<void> {
    this.drain();
    this.#onChannel = undefined;
    this.#options.server.off("upgrade", this.#onUpgrade);
    const reason = "the hub stops";
    this.#arrivals.stop();
    const pending = Array.from(this.#pending.keys(), (socket) =>
      closeSocket(socket, CLOSE_CODES.goingAway, reason),
    );
    const open = Array.from(this.#channels, (channel) => channel.close(reason));
    await Promise.all([...pending, ...open, this.#guests?.stop()]);
  }

  readonly #onUpgrade = (request: IncomingMessage, connection: Duplex, head: Buffer): void => {
    const [path] = (request.url ?? "").split("?", 1);
    const arrival = this.#arrivals.take(request.socket);
    if (path !== SYNC_PATH) {
      if (this.#guests?.owns(path ?? "") === true) {
        this.#guests.take(request, connection, head, arrival);
        return;
      }
      arrival.end();
      // Another listener may want it; if there is none, nobody else would answer.
      if (this.#options.server.listenerCount("upgrade") === 1)
        turnAway(connection, "404 Not Found", this.#notHere());
      return;
    }
    if (this.#draining) {
      arrival.end();
      turnAway(connection, "503 Service Unavailable", "the hub stops");
      return;
    }
    // Where a page comes from (its Origin) is not looked at: no cookie or token is, either, so a page of whatever origin has what any stranger
    // has, and gets no further than one. Who gets in has proven a device key of its own, which other origins can't read.
    const shown = shownCertificate(request.socket);
    const reason = this.#problemOf(shown);
    if (reason !== undefined) {
      arrival.end();
      const address = addressOf(request);
      this.#options.logger.warn("peer.refused", { code: "AUTH_FAILED", reason, address });
      turnAway(connection, "403 Forbidden", reason);
      return;
    }
    this.#sockets.handleUpgrade(request, connection, head, (socket) => {
      this.#authenticate(socket, connection, { request, arrival, shown });
    });
  };

  #notHere(): string {
    return this.#guests === undefined
      ? "no WebSocket endpoint is here; /yjs is there once the hub accepts tokens: configure auth, or start it with --dev"
      : "no WebSocket endpoint is here";
  }

  /** Why an upgrade is refused; undefined when it is not. */
  #problemOf(shown: ShownCertificate | undefined): string | undefined {
    const { clientCertificate } = this.#options;
    if (clientCertificate === undefined) return undefined;
    if (shown === undefined) return "no client certificate";
    const isVouched = clientCertificate === "own" || shown.isAuthorized;
    return isVouched ? undefined : "nobody vouches for its certificate";
  }

  #authenticate(socket: WebSocket, connection: Duplex, { request, arrival, shown }: Visit): void {
    const { device, space, isMember, verifier, random, logger } = this.#options;
    const address = addressOf(request);
    const handshake = new Handshake({
      role: "server",
      device,
      space,
      accepts: (remote) => isMember(remote) && (shown === undefined || shown.device === remote),
      verifier,
      random,
    });
    const hooks = {
      onDone: (remote: string) => {
        this.#pending.delete(socket);
        this.#add(socket, remote, request);
      },
      onFailed: ({ kind, reason }: AuthenticationFailure) => {
        this.#pending.delete(socket);
        if (kind === "refused")
          logger.warn("peer.refused", { code: "AUTH_FAILED", reason, address });
        else logger.debug("peer.left", { reason, address });
      },
    };
    const authentication = new Authentication(socket, handshake, hooks, arrival);
    const [oldest] = this.#pending.values();
    if (this.#pending.size >= PENDING_CONNECTIONS) oldest?.refuse("others are waiting");
    this.#pending.set(socket, authentication);
    authentication.begin(connection);
  }

  #add(socket: WebSocket, device: string, request: IncomingMessage): void {
    const { logger, isHub } = this.#options;
    const address = addressOf(request);
    const security = securityOf(request.socket);
    const old = this.#newest.get(device);
    const channel = new SocketChannel(socket, {
      device,
      address,
      direction: "inbound",
      role: isHub(device) ? "hub" : "agent",
      ...(security === undefined ? {} : { security }),
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

/** Whoever asks for an upgrade. */
interface Visit {
  readonly request: IncomingMessage;
  readonly arrival: Arrival;
  readonly shown: ShownCertificate | undefined;
}

const addressOf = ({ socket }: IncomingMessage): string =>
  `${socket.remoteAddress ?? "unknown"}:${String(socket.remotePort ?? 0)}`;
