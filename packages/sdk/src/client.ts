// SPDX-License-Identifier: Apache-2.0
/** The operations of a node, as calls over its local API. */
import type {
  ActsReceipt,
  Candidate,
  DecisionOptions,
  DecisionReceipt,
  DecisionRequest,
  EvidenceReport,
  FetchQuery,
  FetchReport,
  JsonValue,
  KeyHistory,
  KeysReport,
  LinkReport,
  MembershipReport,
  NodeStatus,
  OmissionQuery,
  OmissionReport,
  RewrapReport,
  ScrubReport,
  SealReceipt,
  VisibleFact,
  WatchQuery,
  WriteOptions,
  WriteReceipt,
} from "@ctxmesh/model";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { receiveBackup } from "./backup.ts";
import { toBase64 } from "./base64.ts";
import { createConnection } from "./connection.ts";
import type { CallOptions, Connection } from "./connection.ts";
import { createDocuments } from "./documents.ts";
import type { DocumentCalls } from "./documents.ts";
import { createEvents } from "./events.ts";
import type { EventCalls } from "./events.ts";
import { createLevels } from "./levels.ts";
import type { LevelCalls } from "./levels.ts";
import { createReads } from "./reads.ts";
import type { HistoryOptions, ListOptions, ReadOptions } from "./reads.ts";
import { createSchemas } from "./schemas.ts";
import type { SchemaCalls } from "./schemas.ts";
import type { Transport } from "./transport.ts";
import type { PutCall, TypedFact, Untyped } from "./types.ts";
import { createView } from "./view.ts";
import type { View, ViewOptions } from "./view.ts";
import { createWatch } from "./watch.ts";
import type { Watch } from "./watch.ts";

/** How calls are made. */
export interface ClientOptions {
  /** A call without an answer for this long ends with `ABORTED`; default 30,000. Seals and the past get five minutes. */
  readonly timeoutMs?: number;
  /**
   * How often a call is made again while the node is away, after pauses of random length that grow up to 2 s; default 3. Reads are, writes with an
   * `idempotencyKey`, and calls that never got as far as the node.
   */
  readonly retries?: number;
}

/** What every call takes. */
export interface CallControl {
  /** Ends the call with `ABORTED`; whether a write was made is then not known. */
  readonly signal?: AbortSignal;
}

/** How to write. */
export interface PutOptions extends WriteOptions, CallControl {}

/** How to record a decision: with an `idempotencyKey` once, however often the call is made. */
export interface DecideOptions extends DecisionOptions, CallControl {}

/** One key with everything known about it. */
export interface KeyCandidates {
  /** Absent when nothing is visible. */
  readonly fact?: VisibleFact;
  /** Every writer's candidate, newest first. */
  readonly candidates: readonly Candidate[];
}

/**
 * A node's operations. All reject with a `MeshError`: the node's own (same code, field and remedy), `UNREACHABLE` when no node
 * answers, `ABORTED` when time runs out or the call's signal aborts. After five calls in a row that the node did not answer, all reject at
 * once for a second, and then one at a time tries. `Types` says what values the keys have: see `ValueOf`.
 */
export interface ContextClient<Types = Untyped>
  extends DocumentCalls, EventCalls, LevelCalls, SchemaCalls {
  /**
   * Writes one fact, or several as one unit. Resolves when they are on the node's disk, or, with `ack`, when a hub has
   * them (`hub`), or a hub's seal covers them (`sealed`). After `timeoutMs` without that it rejects with `ACK_TIMEOUT`:
   * the write is on the node's disk and goes on by itself, so don't make it again. With `increment` the value is added to
   * this node's own number under the key. `priority` says what goes first, and last, over a link with a backlog.
   */
  readonly put: PutCall<Types, PutOptions>;
  /**
   * The visible fact, or undefined; with `at` what it was at a moment: of what had been said by then, is known to the
   * node and counts now. Then also `HISTORY_PRUNED` for a moment before what the node keeps. With `consistency` `bounded`, and `maxStalenessMs`, it
   * knows everything that a hub had so long ago, else `STALE`; with `strong` the hub answers, else `UNREACHABLE`.
   */
  get<const Key extends string>(
    doc: string,
    key: Key,
    options?: ReadOptions,
  ): Promise<TypedFact<Types, Key> | undefined>;
  /** The visible fact beside every writer's candidate. */
  candidates(doc: string, key: string, options?: CallControl): Promise<KeyCandidates>;
  /** Visible facts by document, key prefix or pattern, source, tag, in document and key order; `at` as in {@link get}. */
  list(query?: ListOptions): Promise<readonly VisibleFact[]>;
  /** What was said about a key, whether it counts or not, newest first, page by page. */
  history(doc: string, key: string, query?: HistoryOptions): Promise<KeyHistory>;
  /** Deletes this node's own statements about the keys. `options` as in {@link put}. */
  delete(doc: string, keys: readonly string[], options?: PutOptions): Promise<WriteReceipt>;
  /**
   * Rules that what a writer (device key, 64 hex digits) has said about a key so far does not count; it stays
   * among the candidates. `POLICY_REFUSED` without the role `manage`, `NOT_FOUND` when it has said nothing.
   * `ack` as in {@link put}.
   */
  retract(
    doc: string,
    key: string,
    writer: string,
    reason: string,
    options?: Omit<PutOptions, "priority">,
  ): Promise<WriteReceipt>;
  /** Changes from now on; starts at once. Ends with an error when the node is away: {@link view} and {@link events} go on by themselves. */
  watch(query?: WatchQuery, options?: CallControl): Watch;
  /** A value that is made of facts and follows them, through restarts of the node too, until it is disposed of; starts at once. */
  view<Mapped>(options: ViewOptions<Mapped>): View<Mapped>;
  status(options?: CallControl & { readonly digest?: boolean }): Promise<NodeStatus>;
  /** The node's links to its peers, and how busy they are. */
  links(options?: CallControl): Promise<readonly LinkReport[]>;
  /** Who belongs to the space, as the node knows it. */
  membership(options?: CallControl): Promise<MembershipReport>;
  /**
   * Hands signed membership acts (CBOR records) to the node: in effect there once it resolves, and passed on to
   * the other nodes. What the node refused is in the receipt.
   */
  addActs(records: readonly Uint8Array[], options?: CallControl): Promise<ActsReceipt>;
  /** The text of a space file with every act that the node knows. */
  spaceFile(options?: CallControl): Promise<string>;
  /** Proofs of forked chains. */
  evidence(options?: CallControl): Promise<readonly EvidenceReport[]>;
  /** How the node's store is encrypted. */
  keys(options?: CallControl): Promise<KeysReport>;
  /** Ends the epochs of all data keys of the store: what is written from now on gets new ones. Resolves with their number. */
  rotateKeys(options?: CallControl): Promise<number>;
  /**
   * Protects the node's store with another key, of a location such as `file:/etc/ctxmesh/store.key` on the node's
   * machine. Its configuration has to name that key before the next start.
   */
  rewrapKeys(to: string, options?: CallControl): Promise<RewrapReport>;
  /** Begins a check of the node's whole store, unless one is under way; the status tells how it goes. */
  scrub(options?: CallControl): Promise<ScrubReport>;
  /** What is left out on the node; the sections of one document, page by page. */
  omissions(query?: OmissionQuery, options?: CallControl): Promise<OmissionReport>;
  /** Has the node ask its peers for some of what is left out of a document; to be called again with the `next` of the answer. */
  fetch(query: FetchQuery, options?: CallControl): Promise<FetchReport>;
  /**
   * Signs what a model read, checked and concluded, and keeps it as a fact; agent only. The agent looks the inputs up and
   * records version, age and hash of each. Resolves once it is on the agent's disk.
   */
  decide(request: DecisionRequest, options?: DecideOptions): Promise<DecisionReceipt>;
  /** Signs and keeps what became of a decision, named by its id; agent only. */
  recordOutcome(of: string, outcome: JsonValue, options?: DecideOptions): Promise<DecisionReceipt>;
  /** Seals the space; hub only. `after` is the number of the newest seal that anybody has, for a hub that was restored or healed. */
  seal(options?: CallControl & { readonly after?: number }): Promise<SealReceipt>;
  /** The file bytes of a seal's bundle, the newest without a number, with `batches` the signed batches behind its facts, too; hub only. */
  bundle(
    sequence?: number,
    options?: CallControl & { readonly batches?: boolean },
  ): Promise<Uint8Array>;
  /**
   * The bytes of a backup of the node's store, as it is when the first of them is asked for, to be kept as a file.
   * Iterate once; leaving the loop ends the backup. Whether it is whole and right, the file itself tells:
   * `readBackup` of `@ctxmesh/service`. Throws the node's error (`STORE_CORRUPT`, `STORE_FAILED`, `CLOSED`;
   * `ABORTED` while another backup is under way) or `UNREACHABLE`.
   */
  backup(options?: CallControl): AsyncIterable<Uint8Array>;
  /** Ends every connection; calls and watches under way fail. */
  close(): void;
}

const CALL_TIMEOUT_MS = 30_000;
const SEAL_TIMEOUT_MS = 300_000;
/** Each of a few peers may take half a minute not to answer. */
const FETCH_TIMEOUT_MS = 300_000;
/** A million data keys take a minute. */
const KEYS_TIMEOUT_MS = 600_000;
const DEFAULT_RETRIES = 3;

/** A client over a way to a node. Opens no connection by itself. */
export function createClient(transport: Transport, options: ClientOptions): ContextClient {
  const { timeoutMs = CALL_TIMEOUT_MS, retries = DEFAULT_RETRIES } = options;
  const connection = createConnection(transport, retries);
  const json = createJsonCaller(connection, timeoutMs);
  const reads = createReads(json);
  const watch: ContextClient["watch"] = (query = {}, { signal } = {}) =>
    createWatch(connection, query, signal);
  return {
    ...createWrites(json, timeoutMs),
    ...reads,
    ...createEvents(connection),
    ...createDocuments(json, timeoutMs),
    ...createLevels(json, timeoutMs),
    ...createSchemas(json),
    watch,
    view: (how) => createView({ list: reads.list, watch }, how),
    ...createReports(json),
    ...createMembership(connection, json, timeoutMs),
    ...createCare(json),
    ...createSealing(connection, json),
    backup: ({ signal } = {}) => receiveBackup(connection, signal),
    close: () => connection.close(),
  };
}

/** Statements, and what takes them back. */
function createWrites(
  json: JsonCaller,
  timeoutMs: number,
): Pick<ContextClient, "delete" | "put" | "retract"> {
  const write = (path: string, body: object, how: PutOptions = {}): Promise<WriteReceipt> => {
    const { ack, timeoutMs: ackMs, priority, idempotencyKey, signal } = how;
    // The node gives up first, since it knows how far the write has got.
    const waitMs = ack === undefined || ack === "local" ? 0 : (ackMs ?? LIMITS.ackDefaultMs);
    return json("POST", path, {
      body: { ...body, ack, timeoutMs: ackMs, priority },
      timeoutMs: timeoutMs + waitMs,
      idempotencyKey,
      signal,
    });
  };
  return {
    put: (doc, facts, how) => write("/v1/facts", { doc, facts: [facts].flat() }, how),
    delete: (doc, keys, how) => write("/v1/facts/delete", { doc, keys }, how),
    retract: (doc, key, writer, reason, how) =>
      write("/v1/retractions", { doc, key, writer, reason }, how),
  };
}

/** What a node says of itself and of single keys. */
const createReports = (
  json: JsonCaller,
): Pick<ContextClient, "candidates" | "links" | "status"> => ({
  candidates: (doc, key, { signal } = {}) =>
    json("GET", "/v1/fact", { query: { doc, key, all: 1 }, signal }),
  status: ({ digest = false, signal } = {}) =>
    json("GET", "/v1/status", { query: { digest: digest ? 1 : undefined }, signal }),
  links: async ({ signal } = {}) =>
    (await json<{ links: readonly LinkReport[] }>("GET", "/v1/links", { signal })).links,
});

/** Who belongs to the space. */
const createMembership = (
  connection: Connection,
  json: JsonCaller,
  timeoutMs: number,
): Pick<ContextClient, "addActs" | "evidence" | "membership" | "spaceFile"> => ({
  membership: ({ signal } = {}) => json("GET", "/v1/membership", { signal }),
  addActs: (records, { signal } = {}) =>
    json("POST", "/v1/membership", { body: { records: records.map(toBase64) }, signal }),
  async spaceFile({ signal } = {}) {
    const file = await connection.call("GET", "/v1/space", { timeoutMs, signal });
    return new TextDecoder().decode(file);
  },
  async evidence({ signal } = {}) {
    type Answer = { readonly evidence: readonly EvidenceReport[] };
    return (await json<Answer>("GET", "/v1/evidence", { signal })).evidence;
  },
});

/** Keys, checks, and what is left out. */
const createCare = (
  json: JsonCaller,
): Pick<ContextClient, "fetch" | "keys" | "omissions" | "rewrapKeys" | "rotateKeys" | "scrub"> => ({
  keys: ({ signal } = {}) => json("GET", "/v1/keys", { signal }),
  async rotateKeys({ signal } = {}) {
    const how = { body: {}, timeoutMs: KEYS_TIMEOUT_MS, signal };
    return (await json<{ ended: number }>("POST", "/v1/keys/rotate", how)).ended;
  },
  rewrapKeys: (to, { signal } = {}) =>
    json("POST", "/v1/keys/rewrap", { body: { to }, timeoutMs: KEYS_TIMEOUT_MS, signal }),
  scrub: ({ signal } = {}) => json("POST", "/v1/scrub", { body: {}, signal }),
  omissions: ({ proof = false, ...query } = {}, { signal } = {}) =>
    json("GET", "/v1/omissions", { query: { ...query, proof: proof ? 1 : undefined }, signal }),
  fetch: (query, { signal } = {}) =>
    json("POST", "/v1/fetches", { body: query, timeoutMs: FETCH_TIMEOUT_MS, signal }),
});

/** What is sealed, and what is meant to be. */
const createSealing = (
  connection: Connection,
  json: JsonCaller,
): Pick<ContextClient, "bundle" | "decide" | "recordOutcome" | "seal"> => ({
  decide: (request, how = {}) => json("POST", "/v1/decisions", { body: request, ...how }),
  recordOutcome: (of, outcome, how = {}) =>
    json("POST", "/v1/outcomes", { body: { of, outcome }, ...how }),
  seal: ({ signal, ...how } = {}) =>
    json("POST", "/v1/seals", { body: how, timeoutMs: SEAL_TIMEOUT_MS, signal }),
  bundle: (sequence, { batches = false, signal } = {}) =>
    connection.call("GET", `/v1/bundles/${String(sequence ?? "latest")}`, {
      query: { batches: batches ? 1 : undefined },
      timeoutMs: SEAL_TIMEOUT_MS,
      signal,
    }),
});

/** Makes a call whose answer is JSON. */
export type JsonCaller = <Answer>(
  method: "GET" | "POST",
  path: string,
  options: Partial<CallOptions>,
) => Promise<Answer>;

function createJsonCaller(connection: Connection, timeoutMs: number): JsonCaller {
  return async <Answer>(
    method: "GET" | "POST",
    path: string,
    options: Partial<CallOptions>,
  ): Promise<Answer> => {
    const body = await connection.call(method, path, { timeoutMs, ...options });
    try {
      return JSON.parse(new TextDecoder().decode(body)) as Answer;
    } catch (error) {
      throw new MeshError("PROTOCOL_VIOLATION", "the node's answer is not JSON", { cause: error });
    }
  };
}
