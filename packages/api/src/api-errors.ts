// SPDX-License-Identifier: Apache-2.0
/** Bodies of the local API, and its errors, all as problem details: of handlers, of paths that are not there, and of bytes that are no HTTP. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { Logger, MeshErrorCode } from "@ctxmesh/model";
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { PROBLEM_MEDIA_TYPE, problemOf, toProblem } from "./problem.ts";

/** Codes with a status of 500 or more that are no failure of the node. */
const UNLOGGED: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>(["CLOSED", "ACK_TIMEOUT"]);
/** A value's own depth, and what is around it in a body. */
const MAX_NESTING = LIMITS.depth + 8;
const [QUOTE, BACKSLASH, OPENING, CLOSING] = [0x22, 0x5c, [0x5b, 0x7b], [0x5d, 0x7d]] as const;

/** Refuses what is nested so deep that functions which call themselves, such as `JSON.stringify`, would run out of stack. */
function assertShallow(json: Uint8Array): void {
  let [depth, inString] = [0, false];
  for (let i = 0; i < json.length; i++) {
    const byte = json[i];
    if (inString) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte === OPENING[0] || byte === OPENING[1]) depth++;
    else if (byte === CLOSING[0] || byte === CLOSING[1]) depth--;
    if (depth <= MAX_NESTING) continue;
    throw new MeshError("LIMIT_EXCEEDED", `the body is nested deeper than ${String(MAX_NESTING)}`, {
      field: "body",
    });
  }
}

/** Takes JSON only, and valid UTF-8 only. What its values may hold is for the service to say. */
export function installParser(app: FastifyInstance): void {
  const utf8 = new TextDecoder("utf-8", { fatal: true });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    "application/json",
    { parseAs: "buffer" },
    (_request, body: Buffer, done) => {
      try {
        assertShallow(body);
        done(null, JSON.parse(utf8.decode(body)));
      } catch (error) {
        if (error instanceof MeshError) {
          done(error);
          return;
        }
        const message = "the body is not JSON in UTF-8";
        done(new MeshError("INPUT_INVALID", message, { field: "body", cause: error }));
      }
    },
  );
}

function sendProblem(reply: FastifyReply, problem: ReturnType<typeof toProblem>): FastifyReply {
  // As bytes: the type stays as it is, without a charset parameter that RFC 9457 does not define.
  const body = Buffer.from(JSON.stringify(problem));
  return reply.code(problem.status).type(PROBLEM_MEDIA_TYPE).send(body);
}

/** Answers what the framework refuses before it looks for a route, such as a path that can't be decoded. */
export const answerUnrouted = (
  error: FastifyError,
  _request: FastifyRequest,
  reply: FastifyReply,
): void => {
  void sendProblem(reply, problemOf(error));
};

/** Has errors, and requests for what is not there, answered with problems. */
export function installErrors(app: FastifyInstance, logger: Logger): void {
  app.setErrorHandler((error, request, reply) => {
    const problem = problemOf(error);
    const fields = { method: request.method, url: request.url, code: problem.code, error };
    if (problem.status >= 500 && !UNLOGGED.has(problem.code)) logger.error("api.failed", fields);
    return sendProblem(reply, problem);
  });
  app.setNotFoundHandler((request, reply) => {
    const message = `no such operation: ${request.method} ${request.url.slice(0, 200)}`;
    return sendProblem(reply, toProblem(new MeshError("INPUT_INVALID", message), 404));
  });
}
