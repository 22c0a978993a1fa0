// SPDX-License-Identifier: Apache-2.0
/** Bare `node:http` on a Unix socket: reads are one text, writes are answered with one, and told to who watches. Nothing is kept. */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { serveCalls } from "./calls.ts";

/** How it is started. */
export interface EchoStart {
  readonly socketPath: string;
  /** What a read answers, and a write. */
  readonly read: string;
  readonly write: string;
}

const watchers = new Set<ServerResponse>();
let texts: EchoStart = { socketPath: "", read: "", write: "" };

const answer = (response: ServerResponse, text: string): void => {
  response.writeHead(200, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
};

function watch(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(": watching\n\n");
  watchers.add(response);
  response.on("close", () => watchers.delete(response));
}

function take(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body = Buffer.concat(chunks).toString("utf8");
    answer(response, texts.write);
    for (const watcher of watchers) watcher.write(`event: change\ndata: ${body}\n\n`);
  });
}

const server = createServer((request, response) => {
  if (request.method === "POST") take(request, response);
  else if (request.url === "/v1/watch") watch(response);
  else answer(response, texts.read);
});

serveCalls(
  {
    start: async (options: EchoStart) => {
      texts = options;
      const { promise, resolve } = Promise.withResolvers<void>();
      server.listen(options.socketPath, resolve);
      await promise;
    },
  },
  async () => {
    server.closeAllConnections();
    server.close();
  },
);
