// SPDX-License-Identifier: Apache-2.0
/**
 * One watcher's stream of server-sent events (WHATWG HTML, section 9.2):
 *
 * ```
 * : watching                                   once the watch is in place, and every 15 s of silence
 * event: change   data: ChangeEvent as JSON    one per change, in order
 * event: error    data: Problem as JSON        the last event of a stream that the server ends
 * ```
 *
 * Events that the reader has not taken wait here, up to `LIMITS.watchQueueEvents` events and
 * `LIMITS.channelBufferBytes` bytes; past either the stream ends with `LIMIT_EXCEEDED`, so that a
 * reader that stands still costs a bounded amount and knows that it missed something.
 */
import type { ServerResponse } from "node:http";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { ChangeEvent } from "@ctxmesh/model";
import { toProblem } from "./problem.ts";
import { changeText } from "./readers.ts";

const KEEP_ALIVE_MS = 15_000;
/** How long an ended stream may take to hand over its last bytes before it is cut. */
const LINGER_MS = 5_000;

/** The sending end of one watch. */
export interface WatchStream {
  /** Queues a change. Never blocks and never throws. */
  push(event: ChangeEvent): void;
  /** Ends the stream with an error event after what is queued. Idempotent. */
  fail(error: MeshError): void;
}

/** Starts a stream on a response. `onEnd` is called once, when either end has closed it. */
export function createWatchStream(response: ServerResponse, onEnd: () => void): WatchStream {
  let queue: string[] = [];
  let queuedBytes = 0;
  let flushing = false;
  let blocked = false;
  let ended = false;

  const finish = (): void => {
    if (ended) return;
    ended = true;
    clearInterval(keepAlive);
    queue = [];
    onEnd();
  };
  const flush = (): void => {
    flushing = false;
    if (ended || blocked || queue.length === 0) return;
    const text = queue.join("");
    queue = [];
    queuedBytes = 0;
    blocked = !response.write(text);
  };
  const fail = (error: MeshError): void => {
    if (ended) return;
    queue.push(`event: error\ndata: ${JSON.stringify(toProblem(error))}\n\n`);
    response.end(queue.join(""));
    finish();
    setTimeout(() => response.destroy(), LINGER_MS).unref();
  };
  const keepAlive = setInterval(() => {
    if (!blocked) blocked = !response.write(": keep-alive\n\n");
  }, KEEP_ALIVE_MS).unref();

  response.on("drain", () => {
    blocked = false;
    flush();
  });
  response.on("close", finish);
  response.on("error", finish);
  response.writeHead(200, {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
  });
  response.write(": watching\n\n");

  return {
    fail,
    push(event) {
      if (ended) return;
      const text = `event: change\ndata: ${changeText(event)}\n\n`;
      queue.push(text);
      queuedBytes += text.length;
      if (queue.length > LIMITS.watchQueueEvents || queuedBytes > LIMITS.channelBufferBytes) {
        queue = [];
        fail(tooSlow());
      } else if (!flushing && !blocked) {
        flushing = true;
        // Changes of one batch arrive in one turn: they go out in one write.
        queueMicrotask(flush);
      }
    },
  };
}

const tooSlow = (): MeshError =>
  new MeshError(
    "LIMIT_EXCEEDED",
    `the watcher read too slowly: more than ${String(LIMITS.watchQueueEvents)} events or ${String(LIMITS.channelBufferBytes)} bytes were waiting`,
    { remedy: "watch again and list the facts once to catch up, or watch a narrower prefix" },
  );
