// SPDX-License-Identifier: Apache-2.0
/** The time that whoever connects has to say who it is. It runs from the first packet: slow TLS and slow HTTP are part of it. */
import type { Server } from "node:http";
import type { Socket } from "node:net";
import { LIMITS } from "@ctxmesh/model";

/** One connection's time. */
export interface Arrival {
  /** Calls `onOver` when the time is over, in place of cutting the connection. */
  expect(onOver: () => void): void;
  /** It is known who it is, or somebody else's business. */
  end(): void;
}

/** A connection's time, from construction. */
export class Timed implements Arrival {
  readonly #timer: NodeJS.Timeout;
  #onOver: () => void;

  constructor(onOver: () => void) {
    this.#onOver = onOver;
    this.#timer = setTimeout(() => this.#onOver(), LIMITS.handshakeMs);
  }

  expect(onOver: () => void): void {
    this.#onOver = onOver;
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  /** Its time is over now. */
  cut(): void {
    this.end();
    this.#onOver();
  }
}

type Ends = Pick<Socket, "remoteAddress" | "remotePort">;

/** The same for a TCP socket and for the TLS socket over it. */
const nameOf = ({ remoteAddress = "", remotePort = 0 }: Ends): string =>
  `${remoteAddress} ${String(remotePort)}`;

/** The connections of a server that have not said who they are. */
export class Arrivals {
  readonly #server: Server;
  readonly #waiting = new Map<string, Timed>();

  constructor(server: Server) {
    this.#server = server;
  }

  /** Begins to time new connections. */
  start(): void {
    this.#server.on("connection", this.#onConnection);
    this.#server.on("request", this.#onRequest);
  }

  /** Times no more, and cuts who has not said anything: whoever closes the server would wait for them. */
  stop(): void {
    this.#server.off("connection", this.#onConnection);
    this.#server.off("request", this.#onRequest);
    for (const arrival of this.#waiting.values()) arrival.cut();
  }

  /** Hands over the time of a connection; a new one for who was there before it was timed. */
  take(socket: Ends): Arrival {
    const name = nameOf(socket);
    const arrival = this.#waiting.get(name) ?? new Timed(() => undefined);
    this.#waiting.delete(name);
    return arrival;
  }

  readonly #onConnection = (socket: Socket): void => {
    const name = nameOf(socket);
    const arrival = new Timed(() => {
      this.#waiting.delete(name);
      socket.destroy();
    });
    this.#waiting.set(name, arrival);
    socket.once("close", () => {
      // The name may be another's by now.
      if (this.#waiting.get(name) === arrival) this.#waiting.delete(name);
      arrival.end();
    });
  };

  /** Who asks for something else, such as a probe, has the time of the HTTP server. */
  readonly #onRequest = ({ socket }: { readonly socket: Ends }): void => {
    this.take(socket).end();
  };
}
