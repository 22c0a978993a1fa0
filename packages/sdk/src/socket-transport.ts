// SPDX-License-Identifier: Apache-2.0
/** HTTP over the Unix socket of a node, with one keep-alive agent. Node.js only. */
import { Agent, request as httpRequest } from "node:http";
import type { IncomingMessage } from "node:http";
import { pause, pauseMs } from "./retry.ts";
import { systemCode, timedOut, transportError } from "./transport.ts";
import type { NodeRequest, NodeResponse, Transport } from "./transport.ts";

/** Opens no connection yet; the first request does. */
export function createSocketTransport(socketPath: string): Transport {
  const agent = new Agent({ keepAlive: true });
  return {
    place: socketPath,
    send: async (request) => responseOf(await sendWithRoom(agent, socketPath, request)),
    close: () => agent.destroy(),
  };
}

const responseOf = (message: IncomingMessage): NodeResponse => ({
  status: message.statusCode ?? 0,
  trailer: (name) => message.trailers[name],
  [Symbol.asyncIterator]: () => (message as AsyncIterable<Uint8Array>)[Symbol.asyncIterator](),
});

/** After so many doublings pauses stay as they are: up to 200 ms. */
const MAX_GROWTH = 2;

/**
 * Sends a request, again and again while the system has no room for one more connection that the node has yet to accept (`EAGAIN`): nothing of it
 * was sent, and the node is there. In the time that the node has to say something.
 */
async function sendWithRoom(
  agent: Agent,
  socketPath: string,
  request: NodeRequest,
): Promise<IncomingMessage> {
  const endMs = performance.now() + request.timeoutMs;
  for (let n = 0; ; n++) {
    try {
      return await send(agent, socketPath, request, request.method === "GET");
    } catch (error) {
      const code = error instanceof Error ? systemCode(error.cause) : undefined;
      if (code !== "EAGAIN" || performance.now() >= endMs) throw error;
    }
    await pause(pauseMs(Math.min(n, MAX_GROWTH), Math.random), request.signal);
  }
}

async function send(
  agent: Agent,
  socketPath: string,
  request: NodeRequest,
  mayRepeat: boolean,
): Promise<IncomingMessage> {
  const { method, target, headers, body, signal, timeoutMs } = request;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const outgoing = httpRequest({
    agent,
    socketPath,
    method,
    path: target,
    timeout: timeoutMs,
    headers: {
      ...headers,
      ...(body === undefined ? {} : { "content-length": Buffer.byteLength(body) }),
    },
    ...(signal === undefined ? {} : { signal }),
  });
  outgoing.once("response", resolve);
  outgoing.on("error", reject);
  outgoing.once("timeout", () => outgoing.destroy(timedOut(timeoutMs)));
  outgoing.end(body);
  try {
    return await promise;
  } catch (error) {
    // The node closed an idle connection in the moment we took it: a fresh one tells the truth.
    if (mayRepeat && outgoing.reusedSocket && systemCode(error) === "ECONNRESET") {
      return send(agent, socketPath, request, false);
    }
    throw transportError(error, socketPath, request);
  }
}
