// SPDX-License-Identifier: Apache-2.0
/** WebSockets for who bears a token: browsers and services, on the same port as agents. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { Inbox } from "@ctxmesh/channel";
import { LIMITS } from "@ctxmesh/model";
import type { Guest, GuestSocket, Logger } from "@ctxmesh/model";
import { WebSocketServer } from "ws";
import type { WebSocket } from "ws";
import type { Arrival } from "./arrivals.ts";
import { keepAlive } from "./heartbeat.ts";
import { bytesOf, CLOSE_CODES, closeSocket, describeClose, SOCKET_OPTIONS } from "./sockets.ts";
import { turnAway } from "./turn-away.ts";

/** An endpoint for them. */
export interface GuestEndpoint {
  /** What paths begin with that are for it, such as `/yjs/`. */
  readonly prefix: string;
  /** The subprotocol that it speaks, chosen where it is offered. */
  readonly protocol: string;
  /** Pages, such as `https://editor.example.org`, that may connect, besides those of the server's own host; who is no browser names none. */
  readonly origins: readonly string[] | "any";
  /** Takes care of a guest from now on, until its socket is closed. */
  readonly welcome: (guest: Guest) => void;
}

/** Guests that have not shown who they are; with one more the oldest has to go. */
const PENDING_GUESTS = 1_024;

/** Takes upgrade requests for one endpoint. */
export class Guests {
  readonly #endpoint: GuestEndpoint;
  readonly #logger: Logger;
  readonly #server: WebSocketServer;
  /** Those that are not admitted, oldest first. */
  readonly #pending = new Map<WebSocketGuest, Arrival>();
  readonly #open = new Set<WebSocketGuest>();
  #draining = false;

  constructor(endpoint: GuestEndpoint, logger: Logger) {
    this.#endpoint = endpoint;
    this.#logger = logger;
    this.#server = new WebSocketServer({
      ...SOCKET_OPTIONS,
      noServer: true,
      clientTracking: false,
      handleProtocols: (offered) => (offered.has(endpoint.protocol) ? endpoint.protocol : false),
    });
  }

  /** Whether a path is for this endpoint. */
  owns(path: string): boolean {
    return path.startsWith(this.#endpoint.prefix);
  }

  /** Takes an upgrade request whose path it owns. */
  take(request: IncomingMessage, connection: Duplex, head: Buffer, arrival: Arrival): void {
    const address = `${request.socket.remoteAddress ?? "unknown"}:${String(request.socket.remotePort ?? 0)}`;
    if (this.#draining) {
      arrival.end();
      turnAway(connection, "503 Service Unavailable", "the hub stops");
      return;
    }
    if (!this.#admitsOrigin(request)) {
      arrival.end();
      const reason = "a page of an origin that is not admitted";
      this.#logger.warn("guest.refused", { code: "AUTH_FAILED", reason, address });
      turnAway(connection, "403 Forbidden", `${reason}; yjs.origins lists those that are`);
      return;
    }
    this.#server.handleUpgrade(request, connection, head, (socket) => {
      this.#add(socket, request, address, arrival);
    });
  }

  #admitsOrigin({ headers: { origin, host } }: IncomingMessage): boolean {
    const { origins } = this.#endpoint;
    if (origin === undefined || origins === "any" || origins.includes(origin)) return true;
    return URL.canParse(origin) && new URL(origin).host === host;
  }

  #add(socket: WebSocket, request: IncomingMessage, address: string, arrival: Arrival): void {
    const guest = new WebSocketGuest(socket);
    const [oldest] = this.#pending.keys();
    if (this.#pending.size >= PENDING_GUESTS) this.#giveUp(oldest, "others are waiting");
    this.#pending.set(guest, arrival);
    this.#open.add(guest);
    arrival.expect(() =>
      this.#giveUp(guest, `not authenticated after ${String(LIMITS.handshakeMs)} ms`),
    );
    void this.#forgetWhenClosed(guest);
    const { authorization, "sec-websocket-protocol": offered = "" } = request.headers;
    this.#endpoint.welcome({
      target: request.url ?? "",
      ...(authorization === undefined ? {} : { authorization }),
      protocols: offered.split(",").flatMap((name) => (name.trim() === "" ? [] : [name.trim()])),
      address,
      socket: guest,
      admit: () => {
        this.#settle(guest);
        guest.read();
      },
    });
  }

  #giveUp(guest: WebSocketGuest | undefined, reason: string): void {
    if (guest === undefined || !this.#settle(guest)) return;
    void guest.close(CLOSE_CODES.unauthorized, reason);
  }

  #settle(guest: WebSocketGuest): boolean {
    this.#pending.get(guest)?.end();
    return this.#pending.delete(guest);
  }

  async #forgetWhenClosed(guest: WebSocketGuest): Promise<void> {
    await guest.closed;
    this.#settle(guest);
    this.#open.delete(guest);
  }

  /** Lets nobody else in. */
  drain(): void {
    this.#draining = true;
  }

  /** Closes those that are there, so that they go elsewhere. */
  async stop(): Promise<void> {
    this.drain();
    await Promise.all(
      Array.from(this.#open, (guest) => guest.close(CLOSE_CODES.restart, "the hub stops")),
    );
  }
}

/** A guest's WebSocket, which it owns. Nothing is read before {@link WebSocketGuest.read}. */
class WebSocketGuest implements GuestSocket {
  readonly closed: Promise<string>;
  readonly #socket: WebSocket;
  readonly #inbox: Inbox;
  #reason: string | undefined;
  #closing: Promise<void> | undefined;

  constructor(socket: WebSocket) {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.closed = promise;
    this.#socket = socket;
    this.#inbox = new Inbox(() => {
      if (socket.isPaused) socket.resume();
    });
    socket.pause();
    socket.on("message", (data, isBinary) => {
      if (!isBinary) {
        void this.close(CLOSE_CODES.unsupportedData, "a message is a binary frame");
        return;
      }
      this.#inbox.push(bytesOf(data));
      if (this.#inbox.full) socket.pause();
    });
    socket.on("error", (error) => {
      this.#reason ??= error.message;
    });
    socket.once("close", (code, reason) => {
      this.#inbox.end(false);
      resolve(this.#reason ?? describeClose(code, reason));
    });
    keepAlive(socket, (reason) => {
      this.#reason ??= reason;
    });
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  /** Begins to read. */
  read(): void {
    this.#socket.resume();
  }

  send(message: Uint8Array): void {
    // What fails closes the socket, which is heard of there.
    if (this.#socket.readyState === this.#socket.OPEN) {
      this.#socket.send(message, { binary: true }, () => undefined);
    }
  }

  receive(): AsyncIterable<Uint8Array> {
    return this.#inbox.drain();
  }

  close(code: number, reason: string): Promise<void> {
    this.#reason ??= reason;
    this.#inbox.end(true);
    // Unread messages are dropped, but the other end's close is behind them.
    this.#socket.resume();
    this.#closing ??= closeSocket(this.#socket, code, reason);
    return this.#closing;
  }
}
