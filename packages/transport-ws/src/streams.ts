// SPDX-License-Identifier: Apache-2.0
/** WebSockets on which only the server speaks, for who follows a stream. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer } from "ws";
import type { WebSocket } from "ws";
import { keepAlive } from "./heartbeat.ts";
import { CLOSE_CODES, closeSocket, describeClose, SOCKET_OPTIONS } from "./sockets.ts";

/** One of them. */
export interface StreamSocket {
  /** Bytes given to `send` that are not on the wire yet. */
  readonly bufferedBytes: number;
  /** Sends a text message; resolves once it is on the wire, or the socket is closed. */
  send(text: string): Promise<void>;
  /** Resolves with the reason once it is closed, from whichever side. Never rejects. */
  readonly closed: Promise<string>;
  /** Closes it, by force when the other end does not answer. `code` is one of RFC 6455, 7.4. Idempotent. */
  close(code: number, reason: string): Promise<void>;
}

/** The subprotocol, chosen where it is offered: browsers that offer others as well, such as a token, want one of them chosen. */
const SUBPROTOCOL = "ctxmesh.stream";
/** Whoever follows has nothing to say. */
const MESSAGE_BYTES = 1_024;

/** What makes such a WebSocket of an upgrade request; what is no such request is answered, and never resolves. */
export function createStreamAcceptor(): (
  request: IncomingMessage,
  connection: Duplex,
  head: Buffer,
) => Promise<StreamSocket> {
  const server = new WebSocketServer({
    ...SOCKET_OPTIONS,
    maxPayload: MESSAGE_BYTES,
    noServer: true,
    clientTracking: false,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  });
  return async (request, connection, head) => {
    const { promise, resolve } = Promise.withResolvers<StreamSocket>();
    server.handleUpgrade(request, connection, head, (socket) => {
      resolve(streamOver(socket));
    });
    return promise;
  };
}

function streamOver(socket: WebSocket): StreamSocket {
  const { promise: closed, resolve } = Promise.withResolvers<string>();
  let cut: string | undefined;
  let closing: Promise<void> | undefined;
  const stream: StreamSocket = {
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    send: async (text) =>
      new Promise((sent) => {
        // What fails closes the socket, which is heard of there.
        if (socket.readyState === socket.OPEN) socket.send(text, () => sent());
        else sent();
      }),
    closed,
    close: async (code, reason) => (closing ??= closeSocket(socket, code, reason)),
  };
  socket.on("message", () => {
    void stream.close(CLOSE_CODES.unsupportedData, "nothing is read here");
  });
  socket.on("error", (error) => {
    cut ??= error.message;
  });
  socket.once("close", (code, reason) => {
    resolve(cut ?? describeClose(code, reason));
  });
  keepAlive(socket, (reason) => {
    cut ??= reason;
  });
  return stream;
}
