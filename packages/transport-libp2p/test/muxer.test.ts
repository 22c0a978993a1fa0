// SPDX-License-Identifier: Apache-2.0
import { multiaddrConnectionPair } from "@libp2p/utils";
import { expect, test } from "vitest";
import { createMuxer } from "../src/muxer.ts";

test("a stream that is opened on a connection that has just closed throws nothing that nobody can catch", async () => {
  const uncaught: unknown[] = [];
  const note = (error: unknown): void => {
    uncaught.push(error);
  };
  const others = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException").on("uncaughtException", note);
  try {
    for (const end of ["abort", "close"] as const) {
      const [connection] = multiaddrConnectionPair();
      const muxer = createMuxer({})().createStreamMuxer(connection);
      const opening = Promise.resolve(muxer.createStream()).catch(() => undefined);
      if (end === "abort") connection.abort(new Error("cut"));
      else void connection.close().catch(() => undefined);
      await opening;
      // A turn of the event loop lets microtasks, and what they throw, come out.
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
  } finally {
    process.removeAllListeners("uncaughtException");
    for (const listener of others) process.on("uncaughtException", listener);
  }
  expect(uncaught).toEqual([]);
});
