// SPDX-License-Identifier: Apache-2.0
/** WebSocket listeners, made safe against a connection that sends nothing. */
import type { Server, Socket } from "node:net";
import { LIMITS } from "@ctxmesh/model";
import type { Listener } from "@libp2p/interface";

/**
 * The library waits for the first byte of a connection for ever, and forgets that it does: a listener with such a
 * connection never closes. Here one that has not become a WebSocket in time (`LIMITS.handshakeMs`) is destroyed, and so are those
 * that have not when the listener closes.
 */
export function guardWebSockets(listeners: readonly Listener[]): void {
  for (const listener of listeners) {
    const { server } = listener as { readonly server?: Server };
    const isWebSocket = "wsServer" in listener;
    if (server === undefined || !isWebSocket) continue;
    const waiting = new Map<Socket, NodeJS.Timeout>();
    const settle = (socket: Socket): void => {
      clearTimeout(waiting.get(socket));
      waiting.delete(socket);
    };
    server.on("connection", (socket: Socket) => {
      socket.on("error", () => undefined);
      const timer = setTimeout(() => {
        if (socket.bytesWritten === 0) socket.destroy();
      }, LIMITS.handshakeMs);
      timer.unref();
      waiting.set(socket, timer);
      socket.on("close", () => {
        settle(socket);
      });
    });
    const close = listener.close.bind(listener);
    listener.close = async () => {
      const closing = close();
      for (const socket of waiting.keys()) socket.destroy();
      await closing;
    };
  }
}
