// SPDX-License-Identifier: Apache-2.0
/**
 * What a hub shows of its log of seals (C2SP tlog-tiles, under `/log`), and what it does as a witness of other logs (C2SP tlog-witness,
 * under `/witness`). Neither asks who wants to know: a log is public, and a checkpoint is signed.
 */
import { createHash } from "node:crypto";
import { LIMITS } from "@ctxmesh/model";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";

/** A page of a log. */
export interface ServedPage {
  readonly bytes: Uint8Array;
  readonly kind: "checkpoint" | "tile" | "entries";
}

/** The pages of a log, as `@ctxmesh/ledger` makes them. */
export interface ServedLog {
  /** The page of a path such as `checkpoint` or `tile/0/000.p/7`; undefined where there is none. */
  page(path: string): Promise<ServedPage | undefined>;
}

/** A witness, as `@ctxmesh/ledger` makes one. */
export interface ServedWitness {
  addCheckpoint(
    body: Uint8Array,
  ): Promise<{ readonly status: number; readonly type: string; readonly body: string }>;
  /** The newest checkpoint cosigned of the log whose origin has this SHA-256, lower-case hex. */
  checkpoint(originHash: string): Promise<string | undefined>;
}

/** What is served; nothing where a part is absent. */
export interface LogRouteOptions {
  readonly log?: ServedLog;
  readonly witness?: ServedWitness;
}

const TEXT = "text/plain; charset=utf-8";
const LOG_PREFIX = "/log/";
/** What a tile or a bundle is never changes. */
const FOR_EVER = "public, max-age=31536000, immutable";
const NOT_WITHOUT_ASKING = "no-cache";

/** Names the content, for `If-None-Match`. */
const tagOf = (bytes: Uint8Array): string =>
  `"${createHash("sha256").update(bytes).digest("base64url")}"`;

/** Whether the client has it: `*`, or one of a list of tags, weak ones too (RFC 9110, 13.1.2). */
function isKnown({ headers }: FastifyRequest, tag: string): boolean {
  const known = headers["if-none-match"];
  if (known === undefined) return false;
  const tags = known.split(",").map((item) => item.trim().replace(/^W\//u, ""));
  return tags.includes(tag) || tags.includes("*");
}

function sendPage(
  request: FastifyRequest,
  reply: FastifyReply,
  { bytes, kind }: ServedPage,
): FastifyReply {
  const tag = tagOf(bytes);
  const isFixed = kind !== "checkpoint";
  void reply
    .header("ETag", tag)
    .header("Cache-Control", isFixed ? FOR_EVER : NOT_WITHOUT_ASKING)
    .header("X-Content-Type-Options", "nosniff");
  if (isKnown(request, tag)) return reply.code(304).send();
  return reply.type(isFixed ? "application/octet-stream" : TEXT).send(Buffer.from(bytes));
}

/** Serves a log. The path is taken as it was sent: nothing is decoded, so a page has one address. */
function addLog(app: FastifyInstance, log: ServedLog): void {
  app.get(`${LOG_PREFIX}*`, async (request, reply) => {
    const page = await log.page(request.raw.url?.slice(LOG_PREFIX.length) ?? "");
    if (page === undefined) {
      reply.callNotFound();
      return reply;
    }
    return sendPage(request, reply, page);
  });
}

/** Serves a witness; a body is of any media type, since the protocol names none. */
function addWitness(app: FastifyInstance, witness: ServedWitness): void {
  app.get("/witness/:origin/checkpoint", async (request, reply) => {
    const { origin } = request.params as { readonly origin: string };
    const text = await witness.checkpoint(origin);
    if (text === undefined) {
      reply.callNotFound();
      return reply;
    }
    return sendPage(request, reply, { bytes: Buffer.from(text), kind: "checkpoint" });
  });
  void app.register((scope, _options, done) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, parsed) => {
      parsed(null, body);
    });
    scope.post(
      "/witness/add-checkpoint",
      { bodyLimit: LIMITS.checkpointBytes },
      async (request, reply) => {
        const body = request.body instanceof Uint8Array ? request.body : new Uint8Array(0);
        const answer = await witness.addCheckpoint(body);
        const type = answer.type === "text/plain" ? TEXT : answer.type;
        return reply.code(answer.status).type(type).send(Buffer.from(answer.body));
      },
    );
    done();
  });
}

/** Adds what there is of both. */
export function addLogRoutes(app: FastifyInstance, { log, witness }: LogRouteOptions): void {
  if (log !== undefined) addLog(app, log);
  if (witness !== undefined) addWitness(app, witness);
}
