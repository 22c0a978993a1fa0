// SPDX-License-Identifier: Apache-2.0
/** A bare WebSocket relay as a process: passes every message on to every other client. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import { serveCalls } from "./calls.ts";

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
const listening = once(server, "listening");
server.on("connection", (socket) => {
  socket.on("message", (message, binary) => {
    for (const other of server.clients) if (other !== socket) other.send(message, { binary });
  });
});

serveCalls(
  {
    start: async () => {
      await listening;
      return `ws://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
    },
    peers: () => server.clients.size,
  },
  async () => {
    for (const client of server.clients) client.terminate();
    await Promise.resolve(server.close());
  },
);
