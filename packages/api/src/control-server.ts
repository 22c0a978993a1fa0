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
import { LIMITS, MeshError } from "@ctxmesh/model";
import type {
  CareService,
  ContextService,
  DecisionService,
  DocumentService,
  EventService,
  HistoryService,
  LevelService,
  Logger,
  MembershipService,
  PartialService,
  SchemaService,
  SealingService,
} from "@ctxmesh/model";
import { fastify } from "fastify";
import type { FastifyInstance } from "fastify";
import { answerUnrouted, installErrors, installParser } from "./api-errors.ts";
import { installBackupRoute } from "./backup-route.ts";
import { installDocumentRoutes } from "./document-routes.ts";
import { answerBroken } from "./door-errors.ts";
import { installEventRoutes } from "./event-routes.ts";
import {
  callOffOf,
  installFactRoutes,
  installReadRoutes,
  installWatchRoute,
} from "./fact-routes.ts";
import { installLevelRoutes } from "./level-routes.ts";
import { listenUnix } from "./listen.ts";
import { describeRoutes, installDescription } from "./local-openapi.ts";
import { LoopbackServers } from "./loopback-servers.ts";
import type { LoopbackOptions } from "./loopback.ts";
import {
  installCareRoutes,
  installDecisionRoutes,
  installMembershipRoutes,
  installPartialRoutes,
  installSealRoutes,
} from "./node-routes.ts";
import { installHeaderCheck } from "./preconditions.ts";
import { Readers } from "./readers.ts";
import { installSchemaRoutes } from "./schema-routes.ts";
import { StreamSockets } from "./stream-sockets.ts";
import type { AcceptSocket } from "./stream-sockets.ts";
import { isStreamUpgrade } from "./upgrades.ts";
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

const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** An idle connection stays this long; clients are told, so that they never write into a closing one. */
const KEEP_ALIVE_MS = 60_000;

const createApp = (): FastifyInstance =>
  fastify({
    bodyLimit: LIMITS.requestBytes,
    forceCloseConnections: "idle",
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    clientErrorHandler: answerBroken,
    frameworkErrors: answerUnrouted,
    http: { headersTimeout: HEADERS_TIMEOUT_MS, shouldUpgradeCallback: isStreamUpgrade },
  });

/** Creates the server; nothing listens yet. */
export function createControlServer(options: ControlServerOptions): ControlServer {
  const { service, version, logger, events, acceptSocket: accept } = options;
  const app = createApp();
  const routes = describeRoutes(app);
  const readers = new Readers();
  const watchers = new Set<WatchStream>();
  const closing = new AbortController();
  installParser(app);
  installErrors(app, logger);
  const server = `ctxmesh/${version}`;
  app.addHook("onRequest", (_request, reply, done) => {
    reply.header("server", server);
    done();
  });
  installHeaderCheck(app);
  const streams = { readers, watchers, closing: closing.signal };
  installWatchRoute(app, service, streams);
  installEventRoutes(app, events, streams);
  installOperations(app, options, closing.signal);
  const backupEnd = installBackupRoute(app, options.backup, logger, closing.signal);
  installDescription(app, routes, version);
  const sockets = accept && new StreamSockets({ service, events, accept, readers });
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
      closing.abort(closed);
      for (const watcher of watchers) watcher.fail(closed);
      await backupEnd();
      await sockets?.close();
      await Promise.all([tcp.close(), app.close()]);
    },
  };
}

/** What is answered once. */
function installOperations(
  app: FastifyInstance,
  options: ControlServerOptions,
  closing: AbortSignal,
): void {
  const { service, levels } = options;
  installFactRoutes(app, service, levels);
  installDocumentRoutes(app, options.documents);
  installReadRoutes(app, service, levels, closing);
  installLevelRoutes(app, levels, (reply) => callOffOf(reply, closing));
  installMembershipRoutes(app, service);
  installSealRoutes(app, options.sealing);
  installDecisionRoutes(app, options.decisions);
  installSchemaRoutes(app, options.schemas);
  installCareRoutes(app, options.care);
  installPartialRoutes(app, options.partial);
}
