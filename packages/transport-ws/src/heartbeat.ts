// SPDX-License-Identifier: Apache-2.0
/** Cuts WebSockets whose other end has gone without a word. */
import type { WebSocket } from "ws";

const PING_MS = 30_000;

/**
 * Pings, and cuts a socket on which nothing came for a whole interval, unless that is because it is not read; `onCut` is told why first. Ends
 * with the socket.
 */
export function keepAlive(socket: WebSocket, onCut: (reason: string) => void): void {
  let heard = true;
  const hear = (): void => {
    heard = true;
  };
  socket.on("message", hear);
  socket.on("pong", hear);
  const timer = setInterval(() => {
    if (!heard && !socket.isPaused) {
      onCut(`nothing was received for ${String(PING_MS)} ms`);
      socket.terminate();
      return;
    }
    heard = false;
    if (socket.readyState === socket.OPEN) socket.ping();
  }, PING_MS);
  socket.once("close", () => clearInterval(timer));
}
