// SPDX-License-Identifier: Apache-2.0
/** One client of the relay as a process: writes a load, or measures what arrives of another's. */
import { once } from "node:events";
import { WebSocket } from "ws";
import type { RawData } from "ws";
import { serveCalls } from "./calls.ts";
import { Inbox, writeAll } from "./load.ts";
import type { Load, Reading, Span } from "./load.ts";

const inbox = new Inbox();
let socket: WebSocket | undefined;

async function start(url: string): Promise<void> {
  socket = new WebSocket(url, { perMessageDeflate: false });
  socket.on("message", (message: RawData) => {
    const { value } = JSON.parse((message as Buffer).toString()) as { readonly value: Reading };
    inbox.arrived(value);
  });
  await once(socket, "open");
}

const send = async (key: string, value: Reading): Promise<void> =>
  new Promise((resolve, reject) => {
    socket?.send(JSON.stringify({ key, value }), (error) => {
      if (error instanceof Error) reject(error);
      else resolve();
    });
  });

serveCalls(
  {
    start,
    write: async (load: Load) => writeAll(load, send),
    expect: ({ load, own }: { readonly load: Span; readonly own?: Span }) => {
      inbox.expect(load, own);
    },
    collect: async (timeoutMs: number) => inbox.collect(timeoutMs),
  },
  async () => {
    socket?.terminate();
    await Promise.resolve();
  },
);
