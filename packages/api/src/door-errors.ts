// SPDX-License-Identifier: Apache-2.0
/** Errors at a hub's door, all as problem details: of handlers, of paths that are not there, and of bytes that are no HTTP. */
import type { Socket } from "node:net";
import { MeshError } from "@ctxmesh/model";
import type { FastifyInstance, FastifyReply } from "fastify";
import { PROBLEM_MEDIA_TYPE, problemOf, toProblem } from "./problem.ts";
import type { Problem } from "./problem.ts";

const answer = async (reply: FastifyReply, problem: Problem): Promise<void> =>
  reply
    .code(problem.status)
    .type(PROBLEM_MEDIA_TYPE)
    .send(Buffer.from(JSON.stringify(problem)));

/** Has errors answered so. */
export function addDoorErrors(app: FastifyInstance): void {
  app.setErrorHandler(async (error, _request, reply) => answer(reply, problemOf(error)));
  app.setNotFoundHandler(async ({ method, url }, reply) => {
    const path = url.split("?", 1)[0]?.slice(0, 100) ?? "";
    const detail = `${method} ${path} is not served here`;
    await answer(
      reply,
      toProblem(new MeshError("NOT_FOUND", detail, { remedy: "see /v1/openapi.json" })),
    );
  });
}

const STATUS_OF_BREAK: Readonly<Record<string, readonly [status: number, phrase: string]>> = {
  HPE_HEADER_OVERFLOW: [431, "Request Header Fields Too Large"],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "Request Timeout"],
};

/** Answers what is no HTTP request, or not in time, and ends the connection. */
export function answerBroken(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy(error);
    return;
  }
  const [status, phrase] = STATUS_OF_BREAK[error.code ?? ""] ?? [400, "Bad Request"];
  const body = JSON.stringify(toProblem(new MeshError("INPUT_INVALID", phrase), status));
  const head = [
    `HTTP/1.1 ${String(status)} ${phrase}`,
    "Connection: close",
    `Content-Type: ${PROBLEM_MEDIA_TYPE}`,
    `Content-Length: ${String(Buffer.byteLength(body))}`,
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}
