// SPDX-License-Identifier: Apache-2.0
/** HTTP over the Unix socket of a node, with one keep-alive agent. Node.js only. */
import { Agent, request as httpRequest } from "node:http";
import type { IncomingMessage } from "node:http";
import { systemCode, timedOut, transportError } from "./transport.ts";
import type { NodeRequest, NodeResponse, Transport } from "./transport.ts";

/** Opens no connection yet; the first request does. */
export function createSocketTransport(socketPath: string): Transport {
  const agent = new Agent({ keepAlive: true });
  return {
    place: socketPath,
    send: async (request) =>
      responseOf(await send(agent, socketPath, request, request.method === "GET")),
    close: () => agent.destroy(),
  };
}

const responseOf = (message: IncomingMessage): NodeResponse => ({
  status: message.statusCode ?? 0,
  trailer: (name) => message.trailers[name],
  [Symbol.asyncIterator]: () => (message as AsyncIterable<Uint8Array>)[Symbol.asyncIterator](),
});

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
