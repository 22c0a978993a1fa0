// SPDX-License-Identifier: Apache-2.0
/** Goal: a reader of events over a WebSocket that takes nothing is cut, and the node reads no further for it. Method: a socket that never sends. */
import { createServer } from "node:http";
import { PassThrough } from "node:stream";
import { waitFor } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { Readers } from "../src/readers.ts";
import { StreamSockets } from "../src/stream-sockets.ts";
import type { StreamSocket, StreamSocketsOptions } from "../src/stream-sockets.ts";
import { RecordingService } from "./raw.ts";

test("one that takes nothing is closed with 1013, after one part", async () => {
  const closes: (readonly [number, string])[] = [];
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  const stuck: StreamSocket = {
    bufferedBytes: 0,
    send: async () => new Promise(() => undefined),
    closed,
    close: async (code, reason) => {
      closes.push([code, reason]);
      resolve();
    },
  };
  let parts = 0;
  let left = false;
  const events: StreamSocketsOptions["events"] = {
    async *events() {
      try {
        for (;;) {
          parts++;
          yield [{ rejudged: true }];
        }
      } finally {
        left = true;
      }
    },
  };
  const sockets = new StreamSockets({
    service: new RecordingService(),
    events,
    accept: async () => stuck,
    readers: new Readers(),
    stallMs: 20,
  });
  const server = createServer();
  sockets.attach(server);
  const request = { url: "/v1/events?follow=1", headers: {} };
  server.emit("upgrade", request, new PassThrough(), Buffer.alloc(0));
  await waitFor(() => closes.length > 0, { timeoutMs: 5_000, what: "the end of the stream" });
  expect(closes).toEqual([[1013, "LIMIT_EXCEEDED"]]);
  expect([parts, left]).toEqual([1, true]);
});
