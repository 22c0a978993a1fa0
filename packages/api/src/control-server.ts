// SPDX-License-Identifier: Apache-2.0
/**
 * The local API of a node: HTTP on a Unix socket, so that the file's mode is the access control; on loopback TCP for who bears a token (loopback.ts).
 *
 * ```
 * POST /v1/facts               {doc, facts: [FactInput]}     -> WriteReceipt
 * POST /v1/facts/delete        {doc, keys: [string]}         -> WriteReceipt
 * POST /v1/batch               {doc, put, delete}            -> WriteReceipt: both as one unit
 * POST /v1/edits               {doc, edits: [RootEdit]}      -> WriteReceipt: of rich content
 * POST /v1/retractions         {doc, key, writer, reason}    -> WriteReceipt
 * GET  /v1/facts               ?doc &prefix &pattern &source &tag &after &limit
 *                                                            -> {facts: [VisibleFact]}
 * GET  /v1/fact                ?doc &key                     -> VisibleFact, or 404 NOT_FOUND
 * GET  /v1/fact                ?doc &key &all=1              -> {fact?: VisibleFact, candidates: [Candidate]}
 * GET  /v1/facts               as above, with doc, &at       -> {facts: [VisibleFact]}, as of a moment
 * GET  /v1/fact                ?doc &key &at                 -> VisibleFact, or 404 NOT_FOUND, as of a moment
 * GET  /v1/history             ?doc &key &limit &before      -> KeyHistory, newest first
 * GET  /v1/documents           ?prefix &after &limit         -> {documents: [DocumentSummary]}
 * GET  /v1/content             ?doc                          -> {content: [RootContent]}
 * GET  /v1/openapi.json                                      -> the description of all of this (local-openapi.ts)
 * GET  /v1/watch               ?doc &prefix                  -> text/event-stream (watch-stream.ts)
 * GET  /v1/events              ?since &until &doc &prefix &pattern &source &minConfidence &priority &model
 *                              &limit, or &stream=1 or &follow=1, &rate
 *                                                            -> [FactEvent], or text/event-stream (event-routes.ts)
 * GET  /v1/status              ?digest=1                     -> NodeStatus
 * GET  /v1/membership                                        -> MembershipReport
 * POST /v1/membership          {records: [base64]}           -> ActsReceipt
 * GET  /v1/space                                             -> the text of a space file
 * GET  /v1/evidence                                          -> {evidence: [EvidenceReport]}
 * GET  /v1/backup              (one at a time)               -> the bytes of a backup (backup-stream.ts)
 * GET  /v1/keys                                              -> KeysReport
 * POST /v1/keys/rotate         {}                            -> {ended: number}
 * POST /v1/keys/rewrap         {to}                          -> RewrapReport
 * POST /v1/scrub               {}                            -> ScrubReport, as the check begins
 * GET  /v1/omissions           ?doc &before &proof=1         -> OmissionReport: what is left out here
 * POST /v1/fetches             {doc, key?, before?}          -> FetchReport: some of that was asked for; go on with its next
 * POST /v1/decisions           {model, inputs, checks, output} (agent) -> DecisionReceipt
 * POST /v1/outcomes            {of, outcome} (agent)         -> DecisionReceipt
 * POST /v1/seals               {after?} (hub)                -> SealReceipt
 * GET  /v1/bundles/:sequence   ?batches=1 (hub; a number, or latest) -> the bundle's bytes
 * ```
 *
 * A read of facts may have `consistency`, and what belongs to it, and so may a write with a condition: level-routes.ts.
 *
 * A read of facts may have `covers`, the `token` of a write's answer, from any node: it is answered once that write is here;
 * 504 READ_BEHIND when it is not in time.
 *
 * The body of a write may also have `ack` ("local", "hub" or "sealed") and `timeoutMs`: the answer comes once the write
 * has got so far, and says so in `acknowledged`; 504 ACK_TIMEOUT when it has not in time. In the body, since it
 * belongs to the write as much as what is written, and is checked like it.
 *
 * A moment (`at`) is a date and time with zone (RFC 3339) or Unix milliseconds; one before what is kept is a 410
 * HISTORY_PRUNED. What reads the past ends when its caller goes away.
 *
 * These writes take an `Idempotency-Key`; a read of a fact has its version as `ETag`, and a write of one fact takes that in `If-Match`
 * (preconditions.ts). Streams are there over WebSockets, too (stream-sockets.ts).
 *
 * Errors are problem details (problem.ts). Unknown fields and parameters are refused; a body has
 * `LIMITS.requestBytes` at most.
 */
import type { AddressInfo } from "node:net";
import { LIMITS, MeshError, formatInstant } from "@ctxmesh/model";
import type {
  CallOff,
  CareService,
  ContextService,
  DecisionService,
  DocumentService,
  EventService,
  HistoryService,
  LeveledFact,
  LevelService,
  Logger,
  MembershipService,
  MeshErrorCode,
  PartialService,
  ReadLevel,
  ReadOrigin,
  SchemaService,
  SealingService,
  VisibleFact,
} from "@ctxmesh/model";
import { fastify } from "fastify";
import type { FastifyInstance, FastifyReply } from "fastify";
import { sendBackup } from "./backup-stream.ts";
import { installDocumentRoutes } from "./document-routes.ts";
import { installEventRoutes } from "./event-routes.ts";
import { describeRoutes, installDescription } from "./local-openapi.ts";
import { LoopbackServers } from "./loopback-servers.ts";
import type { LoopbackOptions } from "./loopback.ts";
import {
  IDEMPOTENT,
  etagOf,
  expectedOf,
  idempotencyOf,
  installIdempotencyCheck,
  isKnown,
} from "./preconditions.ts";
import { putIf } from "./put-if.ts";
import { StreamSockets } from "./stream-sockets.ts";
import type { AcceptSocket } from "./stream-sockets.ts";
import { installLevelRoutes, parseLevel } from "./level-routes.ts";
import { listenUnix } from "./listen.ts";
import { parseDecisionRequest, parseOutcomeRequest } from "./decision-requests.ts";
import { PROBLEM_MEDIA_TYPE, problemOf, toProblem } from "./problem.ts";
import {
  parseActsRequest,
  parseBundleQuery,
  parseBundleSequence,
  parseDeleteRequest,
  parseEmptyRequest,
  parseFetchRequest,
  parseGetRequest,
  parseHistoryRequest,
  parseListQuery,
  parseNoQuery,
  parseOmissionQuery,
  parsePutRequest,
  parseRetractRequest,
  parseRewrapRequest,
  parseSealRequest,
  parseStatusQuery,
  parseWatchQuery,
} from "./requests.ts";
import { installSchemaRoutes } from "./schema-routes.ts";
import { createWatchStream } from "./watch-stream.ts";
import type { WatchStream } from "./watch-stream.ts";

/** What the local API carries. */
export interface ControlServerOptions {
  readonly service: ContextService & HistoryService & MembershipService;
  /** Hub only. */
  readonly sealing?: SealingService;
  /** Agent only. */
  readonly decisions?: DecisionService;
  /** Of a node with a log of its own. */
  readonly events?: EventService;
  /** Of a node that can decide, or have decided, writes with a condition. */
  readonly levels?: LevelService;
  /** Of a node with a replica of its own. */
  readonly documents?: DocumentService;
  /** Makes WebSockets of upgrade requests; without it there are none. */
  readonly acceptSocket?: AcceptSocket;
  /** The schemas of the node's space. */
  readonly schemas?: SchemaService;
  /** Of a node with a store of its own. */
  readonly care?: CareService;
  /** Of a node that can fetch what it leaves out. */
  readonly partial?: PartialService;
  /** The bytes of a backup of the node's store as it is at the first of them; leaving the iteration ends it. */
  readonly backup?: () => AsyncGenerator<Uint8Array, void, undefined>;
  /** Of the program; sent in the `server` response header. */
  readonly version: string;
  readonly logger: Logger;
}

/** The local API server. */
export interface ControlServer {
  /** Listens on a Unix socket, mode 0600. Throws `ADDRESS_UNAVAILABLE`. */
  listenUnix(path: string): Promise<void>;
  /** Listens on TCP, too, and returns what was bound. Throws `ADDRESS_UNAVAILABLE`, `CONFIG_INVALID` for an address that others can reach. */
  listenLoopback(options: LoopbackOptions): Promise<AddressInfo>;
  /** Ends watches and backups with `CLOSED`, waits for requests under way, removes the socket. Idempotent. */
  close(): Promise<void>;
}

/** Codes with a status of 500 or more that are no failure of the node. */
const UNLOGGED: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>(["CLOSED", "ACK_TIMEOUT"]);
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** An idle connection stays this long; clients are told, so that they never write into a closing one. */
const KEEP_ALIVE_MS = 60_000;

/** Creates the server; nothing listens yet. */
export function createControlServer(options: ControlServerOptions): ControlServer {
  const { service, sealing, backup, version, logger } = options;
  const app = fastify({
    bodyLimit: LIMITS.requestBytes,
    forceCloseConnections: "idle",
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    http: { headersTimeout: HEADERS_TIMEOUT_MS },
  });
  const routes = describeRoutes(app);
  const watchers = new Set<WatchStream>();
  const closing = new AbortController();
  installParser(app);
  installErrors(app, logger);
  const server = `ctxmesh/${version}`;
  app.addHook("onRequest", (_request, reply, done) => {
    reply.header("server", server);
    done();
  });
  installIdempotencyCheck(app);
  installFactRoutes(app, service, options.levels);
  installDocumentRoutes(app, options.documents);
  installReadRoutes(app, options, closing.signal);
  installLevelRoutes(app, options.levels, (reply) => callOffOf(reply, closing.signal));
  installMembershipRoutes(app, service);
  installWatchRoute(app, service, watchers);
  installSealRoutes(app, sealing);
  installDecisionRoutes(app, options.decisions);
  installEventRoutes(app, options.events, closing.signal);
  installSchemaRoutes(app, options.schemas);
  installCareRoutes(app, options.care);
  installPartialRoutes(app, options.partial);
  const backupEnd = installBackupRoute(app, backup, logger, closing.signal);
  installDescription(app, routes, version);
  const { events, acceptSocket: accept } = options;
  const sockets = accept && new StreamSockets({ service, events, accept });
  sockets?.attach(app.server);
  const tcp = new LoopbackServers(app, sockets);
  return {
    async listenUnix(path) {
      await app.ready();
      await listenUnix(app.server, path);
      logger.info("api.listening", { path });
    },
    async listenLoopback(where) {
      await app.ready();
      const bound = await tcp.listen(where);
      logger.info("api.listening", { host: bound.address, port: bound.port });
      return bound;
    },
    async close() {
      const closed = new MeshError("CLOSED", "the node is shutting down");
      for (const watcher of watchers) watcher.fail(closed);
      closing.abort(closed);
      await backupEnd();
      await sockets?.close();
      await Promise.all([tcp.close(), app.close()]);
    },
  };
}

/** JSON only, and valid UTF-8 only. What its values may hold is for the service to say. */
function installParser(app: FastifyInstance): void {
  const utf8 = new TextDecoder("utf-8", { fatal: true });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    "application/json",
    { parseAs: "buffer" },
    (_request, body: Buffer, done) => {
      try {
        done(null, JSON.parse(utf8.decode(body)));
      } catch (error) {
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

function installErrors(app: FastifyInstance, logger: Logger): void {
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

function installFactRoutes(
  app: FastifyInstance,
  service: ContextService,
  levels: LevelService | undefined,
): void {
  app.post("/v1/facts", IDEMPOTENT, (request, reply) => {
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
function callOffOf(reply: FastifyReply, closing: AbortSignal): CallOff {
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

function installReadRoutes(
  app: FastifyInstance,
  { service, levels }: Pick<ControlServerOptions, "levels" | "service">,
  closing: AbortSignal,
): void {
  app.get("/v1/facts", async (request, reply) => {
    const { at, covers, level, ...query } = parseListQuery(request.query);
    if (covers !== undefined) await service.covered(covers, callOffOf(reply, closing));
    if (at === undefined && levels !== undefined) {
      return levels.readAll(query, howOf(parseLevel(level), reply, closing));
    }
    if (at === undefined) return { facts: service.list(query) };
    return { facts: await service.listAt(query, at, callOffOf(reply, closing)) };
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

function installMembershipRoutes(app: FastifyInstance, service: MembershipService): void {
  app.get("/v1/membership", (request) => {
    parseNoQuery(request.query);
    return service.membership();
  });
  app.post("/v1/membership", (request) => service.addActs(parseActsRequest(request.body)));
  app.get("/v1/space", (request, reply) => {
    parseNoQuery(request.query);
    return reply.type("application/json").send(Buffer.from(service.spaceFile()));
  });
  app.get("/v1/evidence", (request) => {
    parseNoQuery(request.query);
    return { evidence: service.evidence() };
  });
}

function installWatchRoute(
  app: FastifyInstance,
  service: ContextService,
  watchers: Set<WatchStream>,
): void {
  app.get("/v1/watch", { exposeHeadRoute: false }, (request, reply) => {
    const query = parseWatchQuery(request.query);
    let stream: WatchStream | undefined;
    // The watch first: a query that the service refuses still gets a plain error response.
    const unwatch = service.watch(query, (event) => stream?.push(event));
    reply.hijack();
    const opened = createWatchStream(reply.raw, () => {
      unwatch();
      watchers.delete(opened);
    });
    stream = opened;
    watchers.add(opened);
  });
}

function installSealRoutes(app: FastifyInstance, sealing: SealingService | undefined): void {
  const sealer = (): SealingService => {
    if (sealing !== undefined) return sealing;
    throw new MeshError("INPUT_INVALID", "this node is an agent, and only a hub makes seals", {
      remedy: "use the socket of a hub",
    });
  };
  app.post("/v1/seals", (request) => sealer().seal(parseSealRequest(request.body ?? {})));
  app.get<{ Params: { sequence: string } }>("/v1/bundles/:sequence", async (request, reply) => {
    const { sequence } = request.params;
    const bytes = await sealer().bundle(
      parseBundleSequence(sequence),
      parseBundleQuery(request.query),
    );
    return reply
      .type("application/json")
      .send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  });
}

function installDecisionRoutes(app: FastifyInstance, decisions: DecisionService | undefined): void {
  const recorder = (): DecisionService => {
    if (decisions !== undefined) return decisions;
    throw new MeshError("POLICY_REFUSED", "this node is a hub, and only an agent decides", {
      remedy: "use the socket of an agent",
    });
  };
  app.post("/v1/decisions", (request) => recorder().decide(parseDecisionRequest(request.body)));
  app.post("/v1/outcomes", (request) => {
    const { of, outcome } = parseOutcomeRequest(request.body);
    return recorder().recordOutcome(of, outcome);
  });
}

function installCareRoutes(app: FastifyInstance, care: CareService | undefined): void {
  if (care === undefined) return;
  app.get("/v1/keys", (request) => {
    parseNoQuery(request.query);
    return care.keys();
  });
  app.post("/v1/keys/rotate", (request) => {
    parseEmptyRequest(request.body);
    return care.rotateKeys().then((ended) => ({ ended }));
  });
  app.post("/v1/keys/rewrap", (request) => care.rewrapKeys(parseRewrapRequest(request.body)));
  app.post("/v1/scrub", (request) => {
    parseEmptyRequest(request.body);
    return care.scrub();
  });
}

function installPartialRoutes(app: FastifyInstance, partial: PartialService | undefined): void {
  if (partial === undefined) return;
  app.get("/v1/omissions", (request) => partial.omissions(parseOmissionQuery(request.query)));
  app.post("/v1/fetches", (request) => partial.fetchOmitted(parseFetchRequest(request.body)));
}

/** Returns what waits for the end of a backup under way. */
function installBackupRoute(
  app: FastifyInstance,
  backup: ControlServerOptions["backup"],
  logger: Logger,
  closing: AbortSignal,
): () => Promise<void> {
  let underWay: PromiseWithResolvers<void> | undefined;
  if (backup === undefined) return async () => Promise.resolve();
  app.get("/v1/backup", { exposeHeadRoute: false }, async (request, reply) => {
    parseNoQuery(request.query);
    if (underWay !== undefined) {
      throw new MeshError("ABORTED", "a backup of this node is under way already", {
        remedy: "try again when that one has ended",
      });
    }
    const { resolve } = (underWay = Promise.withResolvers<void>());
    try {
      const bytes = backup();
      // What fails this early gets a plain error response.
      const first = await bytes.next();
      reply.hijack();
      const error = await sendBackup(reply.raw, first.value ?? new Uint8Array(), bytes, closing);
      if (error !== undefined) logger.error("backup.failed", { error });
    } finally {
      underWay = undefined;
      resolve();
    }
  });
  return async () => underWay?.promise;
}
