// SPDX-License-Identifier: Apache-2.0
/** The routes of facts: writes, reads, the past, and changes as they come. */
import { MeshError, formatInstant } from "@ctxmesh/model";
import type {
  CallOff,
  ContextService,
  HistoryService,
  LeveledFact,
  LevelService,
  ReadLevel,
  ReadOrigin,
  VisibleFact,
} from "@ctxmesh/model";
import type { FastifyInstance, FastifyReply } from "fastify";
import { factsText } from "./facts-text.ts";
import { parseLevel } from "./level-routes.ts";
import {
  CONDITIONAL,
  IDEMPOTENT,
  etagOf,
  expectedOf,
  idempotencyOf,
  isKnown,
} from "./preconditions.ts";
import { putIf } from "./put-if.ts";
import {
  parseDeleteRequest,
  parseGetRequest,
  parseHistoryRequest,
  parseListQuery,
  parseNoQuery,
  parsePutRequest,
  parseRetractRequest,
  parseStatusQuery,
  parseWatchQuery,
} from "./requests.ts";
import type { Readers } from "./readers.ts";
import { createWatchStream } from "./watch-stream.ts";
import type { WatchStream } from "./watch-stream.ts";

/** Installs the writes of facts, and what a node says of itself. */
export function installFactRoutes(
  app: FastifyInstance,
  service: ContextService,
  levels: LevelService | undefined,
): void {
  app.post("/v1/facts", CONDITIONAL, (request, reply) => {
    const { doc, facts, ...options } = parsePutRequest(request.body);
    const expected = expectedOf(request.headers);
    if (expected !== undefined) {
      const current = (key: string): string | undefined => service.get(doc, key)?.version;
      return putIf(request, reply, { levels, current, doc, facts, expected, options });
    }
    return service.put(doc, facts, { ...options, ...idempotencyOf(request.headers) });
  });
  app.post("/v1/facts/delete", IDEMPOTENT, (request) => {
    const { doc, keys, ...options } = parseDeleteRequest(request.body);
    return service.delete(doc, keys, { ...options, ...idempotencyOf(request.headers) });
  });
  app.post("/v1/retractions", IDEMPOTENT, (request) => {
    const { doc, key, writer, reason, ...options } = parseRetractRequest(request.body);
    const how = { ...options, ...idempotencyOf(request.headers) };
    return service.retract(doc, key, writer, reason, how);
  });
  app.get("/v1/status", (request) => service.status(parseStatusQuery(request.query)));
  app.get("/v1/links", (request) => {
    parseNoQuery(request.query);
    return { links: service.links() };
  });
}

/** What ends a read of the past: its caller has gone, or the server closes. */
export function callOffOf(reply: FastifyReply, closing: AbortSignal): CallOff {
  const gone = new AbortController();
  reply.raw.once("close", () => {
    gone.abort(new MeshError("CLOSED", "the caller has gone"));
  });
  return { signal: AbortSignal.any([gone.signal, closing]) };
}

/** How to read, and what ends it; what is read at once needs nothing that does. */
const howOf = (
  level: ReadLevel | undefined,
  reply: FastifyReply,
  closing: AbortSignal,
): ReadLevel | undefined => level && { ...level, ...callOffOf(reply, closing) };

/** A fact with where it comes from. */
async function answerOf(
  reading: Promise<LeveledFact>,
): Promise<(VisibleFact & ReadOrigin) | undefined> {
  const { fact, ...origin } = await reading;
  return fact && { ...fact, ...origin };
}

/** Installs the reads of facts, now and as of a moment; `closing` ends them. */
export function installReadRoutes(
  app: FastifyInstance,
  service: ContextService & HistoryService,
  levels: LevelService | undefined,
  closing: AbortSignal,
): void {
  app.get("/v1/facts", async (request, reply) => {
    const { at, covers, level, ...query } = parseListQuery(request.query);
    if (covers !== undefined) await service.covered(covers, callOffOf(reply, closing));
    const answer =
      at !== undefined
        ? { facts: await service.listAt(query, at, callOffOf(reply, closing)) }
        : levels === undefined
          ? { facts: service.list(query) }
          : await levels.readAll(query, howOf(parseLevel(level), reply, closing));
    return reply.type("application/json").send(Buffer.from(factsText(answer)));
  });
  app.get("/v1/fact", async (request, reply) => {
    const { doc, key, all, at, covers, level } = parseGetRequest(request.query);
    if (covers !== undefined) await service.covered(covers, callOffOf(reply, closing));
    const how = howOf(parseLevel(level), reply, closing);
    const fact =
      at === undefined
        ? all || levels === undefined
          ? service.get(doc, key)
          : await answerOf(levels.read(doc, key, how))
        : await service.getAt(doc, key, at, callOffOf(reply, closing));
    if (all) {
      const candidates = service.candidates(doc, key);
      return fact === undefined ? { candidates } : { fact, candidates };
    }
    if (fact !== undefined) {
      reply.header("etag", etagOf(fact.version));
      return isKnown(request.headers, fact.version) ? reply.code(304).send() : fact;
    }
    const when = at === undefined ? "has no" : `at ${formatInstant(at)} had no`;
    throw new MeshError("NOT_FOUND", `${doc} ${when} fact ${JSON.stringify(key)}`, {
      field: "key",
    });
  });
  app.get("/v1/history", (request, reply) => {
    const { doc, key, ...query } = parseHistoryRequest(request.query);
    return service.history(doc, key, query, callOffOf(reply, closing));
  });
}

/** What streams have in common. */
export interface Streams {
  readonly readers: Readers;
  /** Those of changes that are under way. */
  readonly watchers: Set<WatchStream>;
  /** Aborts when the server closes. */
  readonly closing: AbortSignal;
}

/** Installs the stream of changes. */
export function installWatchRoute(
  app: FastifyInstance,
  service: ContextService,
  { readers, watchers, closing }: Streams,
): void {
  app.get("/v1/watch", { exposeHeadRoute: false }, (request, reply) => {
    const query = parseWatchQuery(request.query);
    closing.throwIfAborted();
    const leave = readers.enter();
    let stream: WatchStream | undefined;
    let unwatch: () => void;
    try {
      // The watch first: a query that the service refuses still gets a plain error response.
      unwatch = service.watch(query, (event) => stream?.push(event));
    } catch (error) {
      leave();
      throw error;
    }
    reply.hijack();
    const opened = createWatchStream(reply.raw, () => {
      unwatch();
      leave();
      watchers.delete(opened);
    });
    stream = opened;
    watchers.add(opened);
  });
}
