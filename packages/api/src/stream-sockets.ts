// SPDX-License-Identifier: Apache-2.0
/**
 * The streams of the local API over WebSockets (RFC 6455), for browsers and whoever prefers them: `GET /v1/watch` and `GET /v1/events?follow=1` with the same
 * parameters and an upgrade. Each text message is one item as JSON: a `ChangeEvent`; a `FactEvent`, `{"begin": position}`, or `{"rejudged": true}`. The server closes with
 * 1012 when it stops, 1013 when the reader is too slow and may come again, 1011 for other failures, 1000 when all is told; the reason is the error's code.
 * Clients send nothing.
 */
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import type { ChangeEvent, ContextService, EventService, MeshErrorCode } from "@ctxmesh/model";
import { parseEventRequest } from "./event-requests.ts";
import { PROBLEM_MEDIA_TYPE, problemOf } from "./problem.ts";
import type { Problem } from "./problem.ts";
import { changeText } from "./readers.ts";
import type { Readers } from "./readers.ts";
import { parseWatchQuery } from "./requests.ts";

/** One WebSocket on which only the server speaks. */
export interface StreamSocket {
  /** Bytes given to `send` that are not on the wire yet. */
  readonly bufferedBytes: number;
  /** Sends a text message; resolves once it is on the wire, or the socket is closed. */
  send(text: string): Promise<void>;
  /** Resolves once it is closed, from whichever side. Never rejects. */
  readonly closed: Promise<unknown>;
  /** Closes it, by force when the other end does not answer. Idempotent. */
  close(code: number, reason: string): Promise<void>;
}

/** Makes a WebSocket of an upgrade request. */
export type AcceptSocket = (
  request: IncomingMessage,
  connection: Duplex,
  head: Buffer,
) => Promise<StreamSocket>;

/** What streams are made of. */
export interface StreamSocketsOptions {
  readonly service: Pick<ContextService, "watch">;
  readonly events: EventService | undefined;
  readonly accept: AcceptSocket;
  readonly readers: Readers;
  /** How long a reader of events may take nothing; `LIMITS.eventStallMs` by default. */
  readonly stallMs?: number;
}

const CLOSE_CODES: Partial<Record<MeshErrorCode, number>> = { CLOSED: 1012, LIMIT_EXCEEDED: 1013 };
const NORMAL = 1000;
const FAILED = 1011;

/** Says what to do with a socket until it is closed. */
type Stream = (socket: StreamSocket) => Promise<void>;

/** Takes the upgrade requests of servers. */
export class StreamSockets {
  readonly #options: StreamSocketsOptions;
  readonly #open = new Set<StreamSocket>();
  readonly #closing = new AbortController();

  constructor(options: StreamSocketsOptions) {
    this.#options = options;
  }

  /** Takes those of a server; `problemOf` says why one may not come in. */
  attach(server: Server, problemOfVisit?: (request: IncomingMessage) => Problem | undefined): void {
    server.on("upgrade", (request, connection, head) => {
      connection.on("error", () => undefined);
      const problem = problemOfVisit?.(request);
      if (problem !== undefined) turnAway(connection, problem);
      else void this.#take(request, connection, head);
    });
  }

  /** Ends all streams with `CLOSED`. */
  async close(): Promise<void> {
    const closed = new MeshError("CLOSED", "the node is shutting down");
    this.#closing.abort(closed);
    await Promise.all(Array.from(this.#open, async (socket) => end(socket, closed)));
  }

  async #take(request: IncomingMessage, connection: Duplex, head: Buffer): Promise<void> {
    let stream: Stream;
    let leave: () => void;
    try {
      if (this.#closing.signal.aborted) throw this.#closing.signal.reason;
      stream = this.#streamOf(request);
      leave = this.#options.readers.enter();
    } catch (error) {
      turnAway(connection, problemOf(error));
      return;
    }
    // Also of one that never comes to be a WebSocket.
    connection.once("close", leave);
    const socket = await this.#options.accept(request, connection, head);
    this.#open.add(socket);
    try {
      await stream(socket);
    } catch (error) {
      await end(socket, error);
    } finally {
      this.#open.delete(socket);
    }
  }

  /** Throws what is wrong with the request. */
  #streamOf({ url = "" }: IncomingMessage): Stream {
    const { service, events } = this.#options;
    const { pathname, searchParams } = new URL(url, "http://localhost");
    const query = queryOf(searchParams);
    if (pathname === "/v1/watch") {
      const wanted = parseWatchQuery(query);
      // A query that the service refuses still gets a plain error response.
      service.watch(wanted, () => undefined)();
      return async (socket) => watch(socket, (listener) => service.watch(wanted, listener));
    }
    if (pathname === "/v1/events" && events !== undefined) {
      const { form, query: wanted } = parseEventRequest(query, undefined);
      if (form === "page") {
        throw new MeshError("INPUT_INVALID", "a page of events needs no WebSocket", {
          field: "follow",
          remedy: "add follow=1, or stream=1",
        });
      }
      return async (socket) =>
        this.#tell(socket, (signal) =>
          events.events(wanted, { follow: form === "follow", signal }),
        );
    }
    throw new MeshError("NOT_FOUND", "no WebSocket endpoint is here", {
      remedy: "see /v1/openapi.json",
    });
  }

  async #tell(
    socket: StreamSocket,
    start: (signal: AbortSignal) => ReturnType<EventService["events"]>,
  ): Promise<void> {
    const { stallMs = LIMITS.eventStallMs } = this.#options;
    const gone = new AbortController();
    const leave = async (): Promise<void> => {
      await socket.closed;
      gone.abort(new MeshError("CLOSED", "the caller has gone"));
    };
    void leave();
    const signal = AbortSignal.any([gone.signal, this.#closing.signal]);
    for await (const part of start(signal)) {
      const sent = part.map(async (item) => socket.send(JSON.stringify(item)));
      await inTime(Promise.all(sent), stallMs);
    }
    await socket.close(NORMAL, "");
  }
}

/** Sends changes as they come. What waits is bounded by `LIMITS.channelBufferBytes`. */
async function watch(
  socket: StreamSocket,
  follow: (listener: (event: ChangeEvent) => void) => () => void,
): Promise<void> {
  const { promise: tooSlow, reject } = Promise.withResolvers<never>();
  const unwatch = follow((event) => {
    void socket.send(changeText(event));
    if (socket.bufferedBytes > LIMITS.channelBufferBytes) {
      reject(new MeshError("LIMIT_EXCEEDED", "the watcher read too slowly"));
    }
  });
  try {
    await Promise.race([socket.closed, tooSlow]);
  } finally {
    unwatch();
  }
}

async function inTime(sent: Promise<unknown>, stallMs: number): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    reject(
      new MeshError("LIMIT_EXCEEDED", `the reader has taken nothing for ${String(stallMs)} ms`),
    );
  }, stallMs);
  try {
    await Promise.race([sent, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function end(socket: StreamSocket, error: unknown): Promise<void> {
  const { code } = toMeshError(error);
  await socket.close(CLOSE_CODES[code] ?? FAILED, code);
}

/** As Fastify gives it: what is there several times is a list. */
function queryOf(params: URLSearchParams): Readonly<Record<string, string | readonly string[]>> {
  return Object.fromEntries(
    [...new Set(params.keys())].map((name) => {
      const [first = "", ...more] = params.getAll(name);
      return [name, more.length === 0 ? first : [first, ...more]];
    }),
  );
}

/** Answers an upgrade request that is not followed. */
function turnAway(connection: Duplex, problem: Problem): void {
  const body = JSON.stringify(problem);
  const head = [
    `HTTP/1.1 ${String(problem.status)} ${problem.title}`,
    ...(problem.status === 401 ? ["WWW-Authenticate: Bearer"] : []),
    "Connection: close",
    `Content-Type: ${PROBLEM_MEDIA_TYPE}`,
    `Content-Length: ${String(Buffer.byteLength(body))}`,
  ];
  // The server has let go of it: who does not close it at the other end would keep it for ever.
  connection.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => connection.destroy());
}
